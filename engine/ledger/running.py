"""What the ledger knows in memory of an exchange whose hold is open."""

from __future__ import annotations

from engine.ledger.job_rows import JobRow
from engine.ledger.receipts import Receipt
from engine.ledger.records import AttemptRow, Hold, ProgressEntry, Ticket
from engine.ledger.recovery import OrphanHold


class OpenHold:
    """An open hold, and how far its exchange has come.

    Attributes:
        noted: what the receipt is known to become, if `Ledger.note` was told.
        touched_at: when its exchange last gave a sign of life, on Trio's clock.
        job: that it is held for, where what is asked for outlives the request.
        kept: the hold is the job's, no exchange has to be alive for it.
        taken: the record that a provider has taken the job.
    """

    __slots__ = (
        "attempts", "hold", "job", "kept", "noted", "opening", "progress", "taken",
        "touched_at",
    )  # fmt: skip

    def __init__(self, hold: Hold, opening: Receipt, now: float, job: JobRow | None = None) -> None:
        self.hold = hold
        self.opening = opening
        self.touched_at = now
        self.job = job
        self.kept = False
        self.taken: Ticket | None = None
        self.noted: Receipt | None = None
        self.attempts: list[AttemptRow] = []
        self.progress: ProgressEntry | None = None

    def receipt(self) -> Receipt:
        """The receipt as far as it is known now."""
        receipt, progress = self.noted or self.opening, self.progress
        if progress is None:
            return receipt
        return receipt.replace(
            usage=progress.usage,
            received_output_tokens=progress.received_output_tokens,
            delivered_output_tokens=progress.delivered_output_tokens,
        )

    def orphan(self) -> OrphanHold:
        """What is billed when its exchange is no more."""
        return OrphanHold(
            account_id=self.hold.account_id,
            held_nanodollars=self.hold.amount_nanodollars,
            opening=self.opening,
            attempts=tuple(self.attempts),
            progress=self.progress,
            job_id=None if self.job is None else self.job.job_id,
        )
