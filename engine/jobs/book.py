"""The jobs that are open: what is known of each, and what becomes of it, recorded once.

Nothing that changes the books has a checkpoint in it. What is in memory here is ahead of the
database by what the journal has not made durable yet.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import trio

from engine.clock import Clock
from engine.errors import JobNotEndedError, no_such_job
from engine.events import Outcome
from engine.job import ENDED, NEXT, JobError, JobKind, JobReport, JobState
from engine.jobs.rows import kept_by, owned_by, record_of
from engine.jobs.settling import (
    NOTHING,
    Figures,
    costs_of,
    ended_receipt,
    owed_of,
    with_attempts,
)
from engine.ledger.job_jobs import StoredJob
from engine.ledger.job_rows import (
    JobAcceptance,
    JobPage,
    JobQuery,
    JobRow,
    JobSubmit,
    JobView,
)
from engine.ledger.ledger import Ledger
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import Receipt
from engine.ledger.records import AttemptRow, Hold, StoredAnswer, Ticket
from engine.telemetry import Telemetry

logger = logging.getLogger(__name__)

Listener = Callable[[JobView, Ticket], None]
"""Is told of a job that has ended, and of the record that says so; must not wait, nor raise."""

_OUTCOMES: dict[JobState, Outcome] = {
    "succeeded": Outcome.COMPLETED,
    "failed": Outcome.UPSTREAM_FAILED,
    "expired": Outcome.DEADLINE,
    "cancelled": Outcome.CLIENT_LEFT,
}
_UNBOUND: frozenset[JobKind] = frozenset({"response"})
"""What may consume more than was held for, as any answer in one piece may."""
_EXPIRED = JobError("expired", "The provider has not made it in time.")
_FAILED = JobError("failed", "The provider could not make it.")
_WORDS: dict[JobState, JobError] = {"failed": _FAILED, "expired": _EXPIRED}
"""Where its provider gives no reason."""


@dataclass(slots=True, eq=False)
class OpenJob:
    """One that has not closed. Only the book changes it.

    Attributes:
        receipt: as far as its exchange had come.
        attempts, submit: of one whose provider may have taken it: `view.acceptance` is None.
        left_at_ms: since when nobody reads what that answers.
        asked: how often its provider was asked how it does, by this process.
        ending: of whoever finds out what its end comes to.
    """

    view: JobView
    hold: Hold
    receipt: Receipt
    attempts: tuple[AttemptRow, ...] = ()
    submit: JobSubmit | None = field(default=None, repr=False)
    left_at_ms: int = 0
    asked: int = 0
    ending: trio.Lock = field(default_factory=trio.Lock, repr=False)

    @property
    def row(self) -> JobRow:
        """What was asked for."""
        return self.view.row

    @property
    def open(self) -> bool:
        """Its hold has not ended."""
        return not self.view.closed


class JobBook:
    """Of one gateway.

    Attributes:
        open: by their ids.
        polls: how often providers were asked how their jobs do.
    """

    def __init__(self, ledger: Ledger, telemetry: Telemetry, clock: Clock) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._clock = clock
        self._listeners: list[Listener] = []
        self._taken: list[Callable[[OpenJob], None]] = []
        self._hinted: list[Callable[[OpenJob], None]] = []
        self._known_as: dict[str, list[OpenJob]] = {}
        """Open jobs by what their providers call them, or what they are a part of."""
        self._closed: deque[tuple[Ticket, JobView]] = deque()
        """Whose end may not be durable yet."""
        self.polls = 0
        self.open: dict[str, OpenJob] = {}
        for stored, hold in ledger.adopted_jobs:
            job = _adopted(stored, hold, clock())
            self.open[job.row.job_id] = job
            self._name(job)
        ledger.adopted_jobs.clear()

    def follow(self, listener: Listener) -> None:
        """Call this when a job ends: once, or twice where it expires first and succeeds then."""
        self._listeners.append(listener)

    def follow_taken(self, listener: Callable[[OpenJob], None]) -> None:
        """Call this with each job that is taken over."""
        self._taken.append(listener)

    def follow_hints(self, listener: Callable[[OpenJob], None]) -> None:
        """Call this with each job that is to be asked about at once."""
        self._hinted.append(listener)

    def open_as(self, provider: str, object_id: str) -> tuple[OpenJob, ...]:
        """The open jobs that are called so at a provider, or are a part of what is called so."""
        jobs = self._known_as.get(object_id, ())
        return tuple([job for job in jobs if _provider_of(job) == provider])

    def hint(self, provider: str, object_id: str) -> None:
        """Somebody has seen that what is called so at a provider has moved on: the job that it is,
        if it is an open one, is asked about now. May be said again and again."""
        for job in self.open_as(provider, object_id):
            for hinted in self._hinted:
                hinted(job)

    def _name(self, job: OpenJob) -> None:
        for name in _names_of(job):
            self._known_as.setdefault(name, []).append(job)

    def _unname(self, job: OpenJob) -> None:
        for name in _names_of(job):
            jobs = [each for each in self._known_as.get(name, ()) if each is not job]
            if jobs:
                self._known_as[name] = jobs
            else:
                self._known_as.pop(name, None)

    # ---- what is shown ------------------------------------------------------------------------

    async def find(self, account_id: str, shown_id: str) -> JobView:
        """A job of this account, as it is now.

        Raises:
            NotFoundError: this account has none of that id, or wants to see it no more.
            UnavailableError: the database cannot be read now.
        """
        found = await self._ledger.find_job(account_id, shown_id)
        if found is None:
            raise no_such_job(shown_id)
        return self._now(found)

    async def page(self, account_id: str, query: JobQuery) -> JobPage:
        """A page of this account's jobs, as they are now. Raises as `Ledger.page_jobs`."""
        page = await self._ledger.page_jobs(account_id, query)
        return replace(page, jobs=tuple([self._now(view) for view in page.jobs]))

    async def find_followed(
        self, account_id: str, kind: JobKind, provider: str, known_as: str
    ) -> JobView | None:
        """A job of this account that its provider calls so, as it is now; None: there is none, or
        it closed long ago. Raises UnavailableError: the database cannot be read now."""
        found = await self._ledger.find_followed(account_id, kind, provider, known_as)
        return None if found is None else self._now(found)

    async def wait_durable(self) -> None:
        """Wait until what has become of the jobs until now is durable, or the journal's time for
        that is over."""
        await self._ledger.wait_all_durable()

    async def known(self, provider: str, ids: Collection[str]) -> frozenset[str]:
        """Which of the provider's ids are those of jobs that we know. Raises UnavailableError."""
        return await self._ledger.known_provider_jobs(provider, ids)

    async def delete(self, account_id: str, shown_id: str) -> JobView:
        """Show a job of this account no more; it has to have ended.

        Raises:
            JobNotEndedError: it has not; a cancelled one has.
            NotFoundError, UnavailableError: as `find`.
        """
        view = await self.find(account_id, shown_id)
        if not view.ended:
            raise JobNotEndedError("The job has not ended; cancel it first, or wait for it.")
        await self._ledger.delete_job(view.row.job_id)
        return view

    def _now(self, stored: JobView) -> JobView:
        job = self.open.get(stored.row.job_id)
        if job is not None:
            return job.view
        while self._closed and self._ledger.is_durable(self._closed[0][0]):
            self._closed.popleft()
        for _, view in self._closed:
            if view.row.job_id == stored.row.job_id:
                return view
        return stored

    # ---- what becomes of them -----------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def hand_over(
        self,
        row: JobRow,
        hold: Hold,
        acceptance: JobAcceptance,
        receipt: Receipt,
        report: JobReport,
        answer: StoredAnswer | None = None,
        owned: Sequence[OwnedRow] = (),
    ) -> Ticket:
        """Take a job over that a provider has taken, with its hold, and with what is `owned` by it;
        `report` is what that said of it then. Returns what the answer to its client waits for.
        Raises as `Ledger.hand_over`."""
        owned = (*owned, *owned_by(row, acceptance))
        ticket = self._ledger.hand_over(hold, acceptance, receipt, answer, owned)
        view = JobView(row, acceptance, "submitted", acceptance.at_ms)
        self._take(OpenJob(view, hold, receipt), report)
        return ticket

    @trio.lowlevel.enable_ki_protection
    def keep(
        self,
        row: JobRow,
        hold: Hold,
        receipt: Receipt,
        attempts: tuple[AttemptRow, ...],
        submit: JobSubmit | None,
    ) -> None:
        """Take a job over whose provider was asked for it, and nobody knows what came of that.
        Raises as `Ledger.keep_job`."""
        self._ledger.keep_job(hold)
        view = JobView(row, None, "submitted", row.created_at_ms)
        self._take(OpenJob(view, hold, receipt, attempts, submit, self._clock()), None)

    @trio.lowlevel.enable_ki_protection
    def found(
        self, job: OpenJob, acceptance: JobAcceptance, receipt: Receipt, report: JobReport
    ) -> Ticket:
        """The provider has taken one, as it turns out."""
        owned = owned_by(job.row, acceptance)
        ticket = self._ledger.hand_over(job.hold, acceptance, receipt, owned=owned)
        job.receipt, job.submit = receipt, None
        job.view = replace(job.view, acceptance=acceptance, changed_at_ms=acceptance.at_ms)
        self._name(job)
        self.report(job, report)
        return ticket

    def _take(self, job: OpenJob, report: JobReport | None) -> None:
        self.open[job.row.job_id] = job
        self._name(job)
        if report is not None:
            self.report(job, report)
        if job.open:
            for taken in self._taken:
                taken(job)

    @trio.lowlevel.enable_ki_protection
    def report(self, job: OpenJob, report: JobReport) -> bool:
        """A provider says this of a job; whether that has moved it. What may not follow the state
        that it is in is passed over."""
        view = job.view
        if not job.open:
            return False
        if report.progress is not None:
            job.view = view = replace(view, progress=min(100, max(0, report.progress)))
        if report.state not in NEXT[view.state]:
            return False
        if report.state in ENDED:
            assert view.acceptance is not None, "somebody has been asked"
            if report.error is None:
                report = replace(report, error=_WORDS.get(report.state))
            self._close(job, report, owed_of(view.acceptance.terms, report))
        else:
            self._move(job, report)
        return True

    @trio.lowlevel.enable_ki_protection
    def expire(self, job: OpenJob) -> None:
        """Its client waits no longer; its funds are held on, for it may be late."""
        if job.open and "expired" in NEXT[job.view.state]:
            self._move(job, JobReport("expired", error=_EXPIRED))

    @trio.lowlevel.enable_ki_protection
    def give_up(self, job: OpenJob, error: JobError | None = None) -> None:
        """Nothing comes of it any more: as expired, where it is that, else as failed."""
        if job.open:
            state: JobState = "expired" if job.view.state == "expired" else "failed"
            self._close(job, JobReport(state, error=error or _EXPIRED), NOTHING)

    @trio.lowlevel.enable_ki_protection
    def cancelled(self, job: OpenJob) -> Ticket | None:
        """Its provider makes it no more. What the client waits for; None: it had ended before."""
        if not job.open or "cancelled" not in NEXT[job.view.state]:
            return None
        return self._close(job, JobReport("cancelled"), NOTHING)

    def _move(self, job: OpenJob, report: JobReport) -> None:
        view = self._moved(job, report, closed=False)
        record = record_of(view)
        ticket = self._ledger.move_job(job.hold, record)
        job.view = view
        if view.ended:
            self._tell(view, ticket)

    def _close(self, job: OpenJob, report: JobReport, figures: Figures) -> Ticket:
        view = self._moved(job, report, closed=True)
        told = view.ended and view.state == job.view.state
        acceptance = view.acceptance
        receipt = ended_receipt(
            job.receipt,
            0 if acceptance is None else acceptance.number,
            _OUTCOMES[view.state],
            view.changed_at_ms,
            figures,
            view.error,
            ("cancelled",) if view.state == "cancelled" else (),
        )
        hold, record, costs = job.hold, record_of(view), costs_of(receipt)
        owned = kept_by(view, report)
        if figures.price_nanodollars:
            posted, overrun = self._covered(job, figures.price_nanodollars)
            ticket = self._ledger.settle(
                hold,
                posted_nanodollars=posted,
                overrun_nanodollars=overrun,
                costs=costs,
                receipt=receipt,
                job=record,
                owned=owned,
            )
            view = replace(view, price_nanodollars=posted)
        else:
            ticket = self._ledger.void(hold, costs=costs, receipt=receipt, job=record, owned=owned)
        job.view = view
        del self.open[view.row.job_id]
        self._unname(job)
        self._closed.append((ticket, view))
        self._telemetry.exchange_ended(receipt)
        if not told:
            self._tell(view, ticket)
        return ticket

    def _covered(self, job: OpenJob, price_nanodollars: int) -> tuple[int, int]:
        """What of a price can be posted, and what of it is above that: no more than was held for,
        where that was all that it could come to."""
        hold = job.hold
        short = price_nanodollars - hold.amount_nanodollars
        if short <= 0 or job.row.kind not in _UNBOUND:
            return min(price_nanodollars, hold.amount_nanodollars), 0
        spendable = self._ledger.spendable_nanodollars(hold.account_id, hold.key_id)
        if spendable > 0:
            self._ledger.extend(hold, min(short, spendable))
        posted = min(price_nanodollars, hold.amount_nanodollars)
        return posted, price_nanodollars - posted

    def _moved(self, job: OpenJob, report: JobReport, *, closed: bool) -> JobView:
        return replace(
            job.view,
            state=report.state,
            changed_at_ms=max(self._clock(), job.view.changed_at_ms),
            progress=100 if report.state == "succeeded" else job.view.progress,
            error=report.error,
            results=report.results,
            units=report.units,
            closed=closed,
            files=report.files,
        )

    def _tell(self, view: JobView, ticket: Ticket) -> None:
        for listener in self._listeners:
            try:
                listener(view, ticket)
            except Exception:
                logger.exception("%s: whoever follows its end has failed", view.row.job_id)


def _provider_of(job: OpenJob) -> str | None:
    acceptance = job.view.acceptance
    return None if acceptance is None else acceptance.provider


def _names_of(job: OpenJob) -> frozenset[str]:
    """Each part of what its provider calls it: of `thread_1/run_2` both."""
    acceptance = job.view.acceptance
    return frozenset() if acceptance is None else frozenset(acceptance.provider_job_id.split("/"))


def _adopted(stored: StoredJob, hold: Hold, now_ms: int) -> OpenJob:
    receipt = stored.receipt
    if stored.view.acceptance is None:
        receipt = with_attempts(receipt, stored.attempts)
    return OpenJob(stored.view, hold, receipt, stored.attempts, stored.submit, now_ms)
