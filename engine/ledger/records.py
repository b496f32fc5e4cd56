"""The vocabulary of the ledger: what its callers hand in and get back. Plain values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType

from engine.clock import Clock, wall_ms
from engine.errors import ClientError, NotFoundError

Ticket = NewType("Ticket", int)
"""The place of a record in the journal: durable once the journal has reached it."""


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where the ledger is, and the bounds of its journal.

    Attributes:
        path: the SQLite database; the lock file is beside it, with `.lock` added.
        group_max_records: the most records committed together.
        queue_max_records: `hold` and fresh attempts are refused while this many records wait;
            extensions while twice as many do. Settlements are always taken: open holds bound them.
        barrier_timeout_s: a record that waits longer makes the ledger unhealthy.
        retry_min_s, retry_max_s: the pause between tries of a commit that failed; doubles.
        busy_timeout_s: how long one try waits for another process's lock on the database.
        close_timeout_s: how long leaving the ledger waits for the last records to be durable.
        switch_interval_s: the interpreter's switch interval while the ledger is open, unless it is
            shorter already. With Python's default of 5 ms a busy event loop keeps the journal's
            thread from running for seconds, and a group being built stops the loop for 5 ms.
        clock: what entries are dated by; asked from the journal's thread too.
    """

    path: Path
    group_max_records: int = 1_000
    queue_max_records: int = 20_000
    barrier_timeout_s: float = 5.0
    retry_min_s: float = 0.05
    retry_max_s: float = 1.0
    busy_timeout_s: float = 0.25
    close_timeout_s: float = 10.0
    switch_interval_s: float = 0.0002
    clock: Clock = wall_ms


class Hold:
    """Funds reserved for one exchange. Only the ledger changes it; it ends exactly once.

    Attributes:
        amount_nanodollars: what is reserved now, extensions included.
        ticket: the hold is durable once this is.
        open: False once it was posted or voided.
    """

    __slots__ = ("account_id", "amount_nanodollars", "key_id", "open", "request_id", "ticket")

    def __init__(
        self,
        request_id: str,
        account_id: str,
        key_id: str | None,
        amount_nanodollars: int,
        ticket: Ticket,
    ) -> None:
        self.request_id = request_id
        self.account_id = account_id
        self.key_id = key_id
        self.amount_nanodollars = amount_nanodollars
        self.ticket = ticket
        self.open = True

    def __repr__(self) -> str:
        state = "open" if self.open else "ended"
        return f"<Hold {self.request_id} of {self.amount_nanodollars} nanodollars, {state}>"


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's own name of a request.

    Attributes:
        key: visible ASCII.
        digest: of everything that makes two requests the same.
    """

    key: str
    digest: str
    stream: bool


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer in one piece, as its client was given it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt at the moment it is dispatched. `number` counts from 1 within the exchange."""

    number: int
    provider: str
    upstream_model: str
    at_ms: int
    """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one provider charges the operator for one attempt; several may name one provider."""

    provider: str
    amount_nanodollars: int


@dataclass(frozen=True, slots=True)
class ProgressEntry:
    """How far one stream has come: what would be billed were the process killed now.

    All amounts are totals since the exchange began, not increments.
    """

    request_id: str
    usage: Mapping[str, int]
    charge_nanodollars: int
    received_output_tokens: int
    delivered_output_tokens: int
    costs: tuple[CostLine, ...] = ()
    """What the providers would charge for it, if that is known."""


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as administration sees it. `available` is what a new hold may take."""

    account_id: str
    name: str
    created_at_ms: int
    balance_nanodollars: int
    held_nanodollars: int
    available_nanodollars: int


@dataclass(frozen=True, slots=True)
class Correction:
    """A refund or an adjustment, and its account as it is now."""

    account: AccountView
    amount_nanodollars: int
    """What the account gained; negative when it gave."""
    reference: str
    added: bool
    """False when the same reference had done it before."""


@dataclass(frozen=True, slots=True)
class ReconciliationLine:
    """What a provider charges more (negative: less) than we knew, of one item of its report."""

    amount_nanodollars: int
    reason: str
    reference: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key without its secret. `prefix` is what people recognise it by."""

    key_id: str
    account_id: str
    name: str
    digest: str
    prefix: str
    created_at_ms: int
    revoked_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant of the audit: whether it holds, the figure it was judged by, and where not."""

    name: str
    ok: bool
    figure: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """A glance at the ledger, for metrics and the bench."""

    open_holds: int
    held_nanodollars: int
    queued_records: int
    """Taken in, not durable yet."""
    oldest_queued_s: float
    committed_records: int
    groups: int
    commit_errors: int
    rejected_records: int
    epoch: int


class LedgerError(Exception):
    """The ledger cannot be opened or used; the message is written for the operator."""


class LedgerLockedError(LedgerError):
    """Another process owns the database. `pid` is its process id, if it could be read."""

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class EpochLostError(LedgerError):
    """Another process has taken the database over; this one must not write any more."""


class ConflictError(ClientError):
    """The name or reference is taken by something else (409)."""

    status = 409
    code = "conflict"


class ReceiptArchivedError(NotFoundError):
    """The receipt is not in the database any more, but in a file of the operator's (404)."""

    code = "receipt_archived"
