"""The part of the ledger that tells others what operators change, and keeps what is switched off.

A change counts in memory once it is durable, also when whoever asked for it has gone meanwhile.
What restricts counts at once, before it is durable: a journal that is stuck must not keep a
revoked key alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import trio

from engine.errors import NotFoundError, UnavailableError
from engine.ledger import plan_jobs
from engine.ledger.admin_log import read_log, standing_order
from engine.ledger.books import Books
from engine.ledger.budgeting import Budgeting
from engine.ledger.changes import AccountSet, Change, Switched, SwitchKind
from engine.ledger.following import Listener
from engine.ledger.journal import Journal
from engine.ledger.loading import load_operations, load_standing
from engine.ledger.records import LedgerSettings, LogPage, UsageView
from engine.ledger.sqlite import Store
from engine.ledger.terms import check_page, check_reason
from engine.ledger.usage_days import Dimension, usage_by

T = TypeVar("T")

_REFUSED = (
    "What this takes away is refused from now on, but that could not be written down: ask again,"
    " or it is undone when the server starts again."
)


class Operating(Budgeting):
    """Followers of changes, switches, the log of what was ordered, and usage by day."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store)
        self._announce(load_standing(store.db))

    def follow(self, listener: Listener) -> None:
        """Call this with every change from now on, in the Trio thread; it must not raise."""
        self._following.add(listener)

    async def load_operations(self) -> tuple[Change, ...]:
        """How everything stands, as the changes that lead there from nothing: plans, prices,
        accounts that have a plan or are off, keys that are not revoked, and what is off.

        Whoever follows before asking misses nothing, and may be told something twice.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(load_operations, self._settings.path)

    def _announce(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._following.announce(change)

    async def _restrict(
        self, changes: Sequence[Change], work: Callable[[Store], T], apply: Callable[[T], None]
    ) -> T:
        """Let changes count at once, then make them durable. A wait that is too long is given up;
        the work stays in the journal then.

        Raises:
            UnavailableError: they count, and are not durable.
            Exception: whatever `work` raises.
        """
        self._announce(changes)
        try:
            with trio.fail_after(self._settings.barrier_timeout_s):
                return await self._journal.run(work, apply)
        except trio.TooSlowError:
            raise UnavailableError(_REFUSED) from None
        except UnavailableError as error:
            raise UnavailableError(f"{_REFUSED} {error.message}") from error

    async def switch(self, kind: SwitchKind, subject: str, *, off: bool, reason: str = "") -> None:
        """Switch something off, which counts at once, or on again; again changes nothing.

        Raises:
            NotFoundError: no such key or account.
            ValueError: the reason is too long, or not printable.
            UnavailableError: the database cannot be written now. What was to be off is off.
        """
        change = Switched(kind, subject, off, check_reason(reason))
        if kind == "account":
            self._books.allowance(subject)  # raises NotFoundError
        was_off = self._following.is_off(kind, subject)

        def work(store: Store) -> None:
            plan_jobs.switch(store, change)

        def apply(_: None) -> None:
            self._announce(self._told(change))

        if not off:
            await self._journal.run(work, apply)
            return
        try:
            await self._restrict(self._told(change), work, apply)
        except NotFoundError:
            if not was_off:
                self._announce([replace(change, off=False)])
            raise

    def _told(self, change: Switched) -> list[Change]:
        if change.kind != "account":
            return [change]
        plan = self._following.plan_of(change.subject)
        return [change, AccountSet(change.subject, plan, change.off)]

    def switched_off(self) -> list[Switched]:
        """What operators have switched off, in the order they did."""
        return self._following.switched_off()

    async def note_order(self) -> None:
        """Write the standing order down, unless something that it did has taken it along: for what
        leaves no rows of its own. Raises UnavailableError."""
        standing = standing_order()
        if standing is not None and not standing.logged:
            await self._journal.run(lambda store: store.run(lambda _: None))

    async def read_log(
        self,
        *,
        subject: str | None = None,
        actor: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> LogPage:
        """A page of what operators have done, newest first.

        Raises:
            InvalidRequestError: the cursor is none.
            ValueError: the limit is not 1 to 200.
            UnavailableError: the database cannot be read now.
        """
        path, rows = self._settings.path, check_page(limit)
        return await trio.to_thread.run_sync(
            lambda: read_log(path, subject=subject, actor=actor, limit=rows, cursor=cursor)
        )

    async def usage(
        self,
        account_id: str,
        from_day: int,
        to_day: int,
        by: Sequence[Dimension] = ("day", "key", "model"),
    ) -> UsageView:
        """What an account has used in the days `[from_day, to_day)`, by days, keys and models.

        Raises:
            InvalidRequestError: more than 366 days, or more rows than are shown at once.
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(
            usage_by, self._settings.path, account_id, from_day, to_day, tuple(by)
        )
