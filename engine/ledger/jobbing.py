"""The part of the ledger that keeps jobs, and the holds that are theirs.

A hold is handed over to its job once a provider has taken that, and ends when the job closes: the
end of the one and of the other are one record of the journal. Holds of jobs outlive the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import trio

from engine.errors import InvalidRequestError
from engine.job import JobError, JobKind
from engine.ledger import job_jobs
from engine.ledger.books import Books
from engine.ledger.entries import Ended, HandedOver, JobMoved
from engine.ledger.job_jobs import StoredJob, stored_open_jobs
from engine.ledger.job_rows import JobAcceptance, JobPage, JobQuery, JobRecord, JobView
from engine.ledger.journal import Journal
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.owning import Owning
from engine.ledger.receipts import Receipt
from engine.ledger.records import Hold, LedgerSettings, StoredAnswer, Ticket
from engine.ledger.running import OpenHold
from engine.ledger.sqlite import Store


class Jobbing(Owning):
    """Jobs by account: nobody is shown another's."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store)
        self._jobs_of: Counter[str] = Counter()
        self.adopted_jobs: list[tuple[StoredJob, Hold]] = [
            (stored, self._adopt(stored)) for stored in stored_open_jobs(store.db)
        ]
        """What earlier processes have left open, with the holds; whoever runs jobs takes them."""

    def open_jobs_of(self, account_id: str) -> int:
        """How many of its jobs are open, those that are being asked for included."""
        return self._jobs_of[account_id]

    @trio.lowlevel.enable_ki_protection
    def hand_over(
        self,
        hold: Hold,
        acceptance: JobAcceptance,
        receipt: Receipt,
        answer: StoredAnswer | None = None,
        owned: Sequence[OwnedRow] = (),
    ) -> Ticket:
        """The job that is held for, and that a provider has taken, goes on without its exchange:
        the hold stays until the job ends it, by `settle` or `void`. What is `owned` with it becomes
        durable with it; nothing else is written again of one that was accepted before.

        Raises:
            ValueError: the hold has ended, or is of no such job; the receipt is of another request.
        """
        opened = self._of_job(hold, acceptance.job_id)
        ticket = opened.taken
        if ticket is None:
            ticket = self._take(opened, acceptance, receipt, answer, owned)
        elif owned:
            ticket = self.own_nowait(owned)
        opened.kept, opened.noted = True, receipt
        return ticket

    @trio.lowlevel.enable_ki_protection
    def accept_job(
        self,
        hold: Hold,
        acceptance: JobAcceptance,
        receipt: Receipt,
        owned: Sequence[OwnedRow] = (),
    ) -> Ticket:
        """A provider has taken the job that is held for, and its exchange is alive: it ends the
        hold, or hands it over. Raises ValueError: as `hand_over`."""
        return self._take(self._of_job(hold, acceptance.job_id), acceptance, receipt, None, owned)

    def _take(
        self,
        opened: OpenHold,
        acceptance: JobAcceptance,
        receipt: Receipt,
        answer: StoredAnswer | None,
        owned: Sequence[OwnedRow],
    ) -> Ticket:
        hold = opened.hold
        if (receipt.request_id, receipt.account_id) != (hold.request_id, hold.account_id):
            raise ValueError("the receipt is of another request or account")
        opened.noted = receipt
        kept = self._room_for(answer)
        rows = self._ownable(owned)
        ticket = self._journal.append(HandedOver(hold.request_id, acceptance, receipt, kept, rows))
        self._answer_waits(ticket, kept)
        opened.taken = self._owned_with(ticket, rows)
        return opened.taken

    def keep_job(self, hold: Hold) -> None:
        """Nobody knows what came of it that its provider was asked for this job: the hold stays
        for whoever finds out, now or at the next start. Raises ValueError: as `hand_over`."""
        self._of_job(hold, None).kept = True

    @trio.lowlevel.enable_ki_protection
    def move_job(self, hold: Hold, record: JobRecord) -> Ticket:
        """Record that a job has moved on, and is still open. Raises ValueError: as `hand_over`."""
        self._of_job(hold, record.job_id)
        if record.closed:
            raise ValueError("a job closes with its hold")
        return self._journal.append(JobMoved(record))

    @trio.lowlevel.enable_ki_protection
    def add_job_files(self, view: JobView, files: tuple[str, ...], at_ms: int) -> Ticket:
        """Record that what a closed job has made is in these files of its account."""
        record = JobRecord(
            view.row.job_id,
            view.state,
            at_ms,
            error=view.error,
            results=view.results,
            units=view.units,
            files=files,
        )
        return self._journal.append(JobMoved(record))

    async def find_job(self, account_id: str, shown_id: str) -> JobView | None:
        """A job as it is stored, if it is this account's and a provider has taken it.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(
            job_jobs.find_job, self._settings.path, account_id, shown_id
        )

    async def find_followed(
        self, account_id: str, kind: JobKind, provider: str, known_as: str
    ) -> JobView | None:
        """An account's job as it is stored, by what its provider calls it.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(
            job_jobs.find_followed, self._settings.path, account_id, kind, provider, known_as
        )

    async def page_jobs(self, account_id: str, query: JobQuery) -> JobPage:
        """A page of this account's jobs, as they are stored.

        Raises:
            InvalidRequestError: there is no job of the id that it is to go on behind.
            UnavailableError: the database cannot be read now.
        """
        page = await trio.to_thread.run_sync(
            job_jobs.page_jobs, self._settings.path, account_id, query
        )
        if page is None:
            raise InvalidRequestError("'after' is no id of a job of yours.", param="after")
        return page

    async def wait_all_durable(self) -> None:
        """Wait until everything until now is durable, or `barrier_timeout_s`. Shielded."""
        with trio.move_on_after(self._settings.barrier_timeout_s, shield=True):
            await self._journal.wait_durable(self._journal.last_ticket)

    async def known_provider_jobs(self, provider: str, ids: Collection[str]) -> frozenset[str]:
        """Which of a provider's ids are those of jobs that it has taken for us, durably or nearly.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        return await self._journal.run(
            lambda store: job_jobs.known_provider_jobs(store.db, provider, ids)
        )

    async def delete_job(self, job_id: str) -> None:
        """Show a job no more, also while it is open. Raises UnavailableError."""
        await self._journal.run(lambda store: job_jobs.delete_job(store, job_id))

    async def prune_jobs(self, before_ms: int) -> int:
        """Remove what closed before a moment; how many jobs. Raises UnavailableError."""
        pruned = 0
        while slice_ := await self._journal.run(
            lambda store: job_jobs.prune_jobs(store, before_ms)
        ):
            pruned += slice_
        return pruned

    def _adopt(self, stored: StoredJob) -> Hold:
        """A hold that an earlier process has left to its job."""
        row, receipt = stored.view.row, stored.receipt
        hold = Hold(
            row.request_id,
            row.account_id,
            row.key_id,
            stored.held_nanodollars,
            Ticket(stored.hold_seq),
        )
        self._books.adopt(row.account_id, row.key_id, stored.held_nanodollars)
        opened = OpenHold(hold, receipt, trio.current_time(), row)
        opened.kept, opened.attempts = True, list(stored.attempts)
        self._open[row.request_id] = opened
        self._jobs_of[row.account_id] += 1
        return hold

    def _of_job(self, hold: Hold, job_id: str | None) -> OpenHold:
        opened = self._open.get(hold.request_id)
        if opened is None or opened.hold is not hold:
            raise ValueError(f"the hold of {hold.request_id} has ended")
        if opened.job is None or job_id not in (None, opened.job.job_id):
            raise ValueError(f"the hold of {hold.request_id} is of no such job")
        return opened

    def _close_job(self, opened: OpenHold, ended: Ended) -> Ended:
        """The end of a hold, with that of the job that it was for: whatever ends the one ends the
        other, in the same record."""
        job = opened.job
        if job is None:
            return ended
        self._jobs_of[job.account_id] -= 1
        self._jobs_of += Counter()  # drops what is zero
        if ended.job is not None:
            return ended
        said = ended.receipt.error
        if ended.receipt.outcome == "completed":
            done = JobRecord(job.job_id, "succeeded", ended.at_ms, closed=True)
            return replace(ended, job=done)
        code, message = ("failed", "It has failed.") if said is None else (said.code, said.message)
        failed = JobRecord(job.job_id, "failed", ended.at_ms, JobError(code, message), closed=True)
        return replace(ended, job=failed)
