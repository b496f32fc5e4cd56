"""The vocabulary of the ledger: what its callers hand in and get back. Plain values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NewType

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
    """An attempt at the moment it is dispatched.

    Attributes:
        number: counts from 1 within the exchange, as they are dispatched.
        at_ms: milliseconds since 1970.
        role: see the receipt's `Attempt`.
        model: the public name of what it is to serve, whose price is paid; '': as was asked.
    """

    number: int
    provider: str
    upstream_model: str
    at_ms: int
    role: str = "first"
    model: str = ""

    @property
    def path(self) -> str:
        """Its deployment, as people call it: `PROVIDER/MODEL`."""
        return f"{self.provider}/{self.upstream_model}"


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one provider charges the operator for one attempt; several may name one provider."""

    provider: str
    amount_nanodollars: int


@dataclass(frozen=True, slots=True)
class AttemptFigures:
    """What an attempt that has ended has come to, while its exchange goes on with another.

    Attributes:
        won: what it generated is a part of the answer, and its price a part of the charge.
    """

    number: int
    usage: Mapping[str, int]
    price_nanodollars: int
    cost_nanodollars: int
    won: bool = False


@dataclass(frozen=True, slots=True)
class ProgressEntry:
    """How far one stream has come: what would be billed were the process killed now.

    All amounts are totals since the exchange began, not increments.

    Attributes:
        costs: what the providers would charge for it, if that is known.
        number: the attempt whose answer it is now; 0: the last one.
        ended: the other attempts that have come to something; what is left of the totals is of
            the attempt `number`.
    """

    request_id: str
    usage: Mapping[str, int]
    charge_nanodollars: int
    received_output_tokens: int
    delivered_output_tokens: int
    costs: tuple[CostLine, ...] = ()
    number: int = 0
    ended: tuple[AttemptFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as administration sees it. `available` is what a new hold may take; `off` says
    that an operator has switched it off."""

    account_id: str
    name: str
    created_at_ms: int
    balance_nanodollars: int
    held_nanodollars: int
    available_nanodollars: int
    plan: str | None = None
    off: bool = False


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


DEFAULT_SCOPES = ("inference", "read")
"""What a key may do that nothing else was said of."""


@dataclass(frozen=True, slots=True)
class TermsRow:
    """What a key may do, as it is stored. What the values mean is for whoever admits requests.

    Attributes:
        models: names and patterns; None is all that its account may use.
        limits: by the names of `engine.admission.plans.Limits`; one that is left out is none.
        expires_at_ms: from then on it is refused; None: never.
        replaced_by: the key that it was rotated to.
    """

    name: str
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    models: tuple[str, ...] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    expires_at_ms: int | None = None
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as administration sees it."""

    key: KeyRow
    terms: TermsRow
    off: bool
    """Whether an operator has switched it off."""


@dataclass(frozen=True, slots=True)
class AccountPage:
    """Accounts, oldest first; `cursor` leads to the next page, None: there is none."""

    accounts: tuple[AccountView, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Keys, oldest first; `cursor` leads to the next page, None: there is none."""

    keys: tuple[KeyView, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class LogRow:
    """What somebody has ordered, and that it was done.

    Attributes:
        actor: e.g. "cli:uid=1000", "admin:alice", "key:key_…", "signal:SIGHUP".
        peer: the address it came from, where it came over a network.
        detail: what was asked for, as JSON.
    """

    log_id: int
    at_ms: int
    actor: str
    peer: str | None
    action: str
    subject: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogPage:
    """Rows of the log, newest first; `cursor` leads to the next page, None: there is none."""

    rows: tuple[LogRow, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What was used; what was not asked for apart is None here, and summed up.

    Attributes:
        day: since 1970, UTC, of the settlement.
        key_id: empty for what no key has asked for.
        model: the public name; empty for refunds of requests whose receipts are archived.
        input_tokens: cached ones too.
        refunded_nanodollars: of what was charged in that day.
        units: what else there was, by the names of a receipt's usage.
    """

    day: int | None
    key_id: str | None
    model: str | None
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    charged_nanodollars: int
    refunded_nanodollars: int
    units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageView:
    """What an account has used.

    Attributes:
        complete_from_day: what came before may be missing: its receipts had been archived when
            usage began to be summed up. 0 where nothing is missing.
    """

    rows: tuple[UsageRow, ...]
    complete_from_day: int


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
