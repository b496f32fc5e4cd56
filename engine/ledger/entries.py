"""What the journal carries from the books to the database: one dataclass a kind of entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.ledger.job_rows import JobAcceptance, JobRecord, JobRow, JobSubmit
from engine.ledger.notices import Notice
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import Receipt
from engine.ledger.records import AttemptRow, IdempotencyKey, ProgressEntry, StoredAnswer
from engine.ledger.transfers import Transfer

HoldEnd = Literal["posted", "voided", "expired"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A hold was taken."""

    request_id: str
    account_id: str
    amount_nanodollars: int
    opening: Receipt
    at_ms: int
    idempotency: IdempotencyKey | None = None
    job: JobRow | None = None


@dataclass(frozen=True, slots=True)
class Extended:
    """A hold grew by this much."""

    request_id: str
    amount_nanodollars: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt was dispatched."""

    request_id: str
    row: AttemptRow
    submit: JobSubmit | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far all streams are, at one tick."""

    entries: Sequence[ProgressEntry]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A hold ended, its money moved, its receipt final."""

    request_id: str
    end: HoldEnd
    amount_nanodollars: int
    """What was posted of the hold."""
    transfers: tuple[Transfer, ...]
    receipt: Receipt
    at_ms: int
    notices: tuple[Notice, ...] = ()
    answer: StoredAnswer | None = None
    """Kept for a request that came with an idempotency key."""
    job: JobRecord | None = None
    """With which its job closes, if it had one."""
    owned: tuple[OwnedRow, ...] = ()
    """What the provider keeps of it for the account."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A provider has taken a job: its hold is the job's from now on, until that closes."""

    request_id: str
    acceptance: JobAcceptance
    receipt: Receipt
    """As far as the exchange has come."""
    answer: StoredAnswer | None = None
    owned: tuple[OwnedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class JobMoved:
    """A job has moved on, and its hold stays what it was."""

    record: JobRecord


@dataclass(frozen=True, slots=True)
class Noticed:
    """The operator is to be told something that no other entry is about."""

    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Owned:
    """An account has these at a provider."""

    rows: tuple[OwnedRow, ...]


Entry = Opened | Extended | Attempted | Progressed | HandedOver | JobMoved | Ended | Noticed | Owned


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry the database refused for what it says, not for its state; kept as evidence."""

    seq: int
    entry: Entry
    error: str
