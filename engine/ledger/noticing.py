"""The part of the ledger that writes notices, and gives them to whoever sends them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import trio

from engine.ledger import notice_jobs as jobs
from engine.ledger.administration import Administration
from engine.ledger.books import Books
from engine.ledger.budgets import Crossing
from engine.ledger.entries import Ended, Noticed
from engine.ledger.journal import Journal
from engine.ledger.notice_jobs import NoticeEnd, PendingNotice
from engine.ledger.notices import Notice, of_budget, of_overrun
from engine.ledger.queries import reading
from engine.ledger.records import LedgerSettings, Ticket
from engine.ledger.windows import day_of

log = logging.getLogger("parshall.ledger")


class Noticing(Administration):
    """Notices are journal entries like any other; each is logged as it is written."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, epoch: int
    ) -> None:
        super().__init__(books, journal, settings, epoch)
        self.clock = settings.clock
        """What entries are dated by."""
        self._last_notice = Ticket(0)
        self._noticed = trio.Event()
        self._overrun_on: dict[str, int] = {}

    def _tell(self, crossings: Iterable[Crossing]) -> None:
        """Write down what nothing else is written for."""
        at_ms = self.clock()
        notices = tuple(of_budget(crossing, at_ms) for crossing in crossings)
        if notices:
            self._written(notices, self._journal.append(Noticed(notices)))

    def _with_notices(self, ended: Ended, crossings: Sequence[Crossing]) -> Ended:
        """The same end of a hold, with what is to be told of it."""
        notices = [of_budget(crossing, ended.at_ms) for crossing in crossings]
        if ended.receipt.overrun_nanodollars:
            account_id, day = ended.receipt.account_id, day_of(ended.at_ms)
            if self._overrun_on.get(account_id) != day:
                self._overrun_on[account_id] = day
                notices.append(of_overrun(ended.receipt, ended.at_ms))
        return replace(ended, notices=tuple(notices)) if notices else ended

    def _written(self, notices: Sequence[Notice], ticket: Ticket) -> None:
        for notice in notices:
            log.warning("notice %s: %s", notice.notice_id, notice.body)
        self._last_notice = ticket
        self._noticed.set()

    async def wait_notices(self) -> None:
        """Wait until another notice has become durable."""
        await self._noticed.wait()
        self._noticed = trio.Event()
        await self._journal.wait_durable(self._last_notice)

    async def pending_notices(self, limit: int) -> list[PendingNotice]:
        """What is to be sent, the soonest due first. Raises UnavailableError."""

        def read() -> list[PendingNotice]:
            with reading(self._settings.path) as db:
                return jobs.pending_notices(db, limit)

        return await trio.to_thread.run_sync(read)

    async def end_notice(self, notice_id: str, outcome: NoticeEnd) -> None:
        """A notice was delivered, or is given up. Raises UnavailableError."""
        await self._journal.run(lambda store: jobs.end_notice(store, notice_id, outcome))

    async def defer_notice(self, notice_id: str, due_at_ms: int) -> None:
        """Sending a notice has failed; try it again then. Raises UnavailableError."""
        await self._journal.run(lambda store: jobs.defer_notice(store, notice_id, due_at_ms))
