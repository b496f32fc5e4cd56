"""The part of the ledger that knows which things at providers are whose."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import trio

from engine.errors import UnavailableError
from engine.ledger import owned_jobs
from engine.ledger.books import Books
from engine.ledger.entries import Owned
from engine.ledger.filing import Filing
from engine.ledger.journal import Journal
from engine.ledger.owned_rows import OwnedPage, OwnedQuery, OwnedRow
from engine.ledger.records import LedgerSettings, Ticket
from engine.ledger.sqlite import Store
from engine.owned import is_storable

log = logging.getLogger("parshall.ledger")

_REMEMBERED_MAX: Final = 4_096
"""Rows that were looked up not long ago."""

_Key = tuple[str, str]
"""An account and an id."""


class Owning(Filing):
    """Ids by account: nobody is told of another's. Whoever was the first stays the owner."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store)
        self._unwritten: dict[str, Ticket] = {}
        """Ids that are not durable yet: who asks for one waits for that."""
        self._unwritten_order: deque[tuple[Ticket, str]] = deque()
        self._remembered: OrderedDict[_Key, OwnedRow] = OrderedDict()
        self._looked_up: dict[_Key, object] = {}
        """What is being read, and by whom last; taken out where it changes meanwhile."""

    @trio.lowlevel.enable_ki_protection
    def own_nowait(self, rows: Sequence[OwnedRow]) -> Ticket:
        """Record that an account has these from now on; of what it has already, the model and the
        context are written anew. What is another's stays that one's."""
        rows = self._ownable(rows)
        return self._owned_with(self._journal.append(Owned(rows)), rows)

    async def own(self, rows: Sequence[OwnedRow]) -> None:
        """As `own_nowait`, and wait until it is durable, or `barrier_timeout_s`. Raises
        UnavailableError: it is not yet."""
        await self._wait_written(self.own_nowait(rows))

    async def find_owned(self, account_id: str, ids: Collection[str]) -> Mapping[str, OwnedRow]:
        """Those of the ids that this account has, by id.

        Raises:
            UnavailableError: the database cannot be read, or written, now.
        """
        tickets = [self._unwritten[each] for each in ids if each in self._unwritten]
        if tickets:
            await self._wait_written(max(tickets))
        found, unknown = {}, []
        for each in dict.fromkeys(ids):
            row = self._remembered.get((account_id, each))
            if row is None:
                unknown.append(each)
            else:
                self._remembered.move_to_end((account_id, each))
                found[each] = row
        if unknown:
            found |= await self._read_owned(account_id, unknown)
        return found

    async def _read_owned(self, account_id: str, ids: Sequence[str]) -> dict[str, OwnedRow]:
        reader, keys = object(), [(account_id, each) for each in ids]
        self._looked_up |= dict.fromkeys(keys, reader)
        found: dict[str, OwnedRow] = {}
        try:
            found = await trio.to_thread.run_sync(
                owned_jobs.find_owned, self._settings.path, account_id, ids
            )
        finally:
            for key in keys:
                if self._looked_up.get(key) is reader:
                    del self._looked_up[key]
                    if (row := found.get(key[1])) is not None:
                        self._remembered[key] = row
            while len(self._remembered) > _REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return found

    async def page_owned(self, account_id: str, query: OwnedQuery) -> OwnedPage:
        """A page of what this account has.

        Raises:
            InvalidRequestError: a cursor is none.
            UnavailableError: the database cannot be read now.
        """
        return await trio.to_thread.run_sync(
            owned_jobs.page_owned, self._settings.path, account_id, query
        )

    async def stores_from_before(
        self, before_ms: int, after: tuple[str, int], limit: int
    ) -> list[tuple[int, OwnedRow]]:
        """Vector stores of all accounts that were there before a moment, in order of accounts,
        behind an account's at a place; each with its place. Raises UnavailableError."""
        return await trio.to_thread.run_sync(
            owned_jobs.stores_from_before, self._settings.path, before_ms, after, limit
        )

    async def count_owned(self, account_id: str) -> int:
        """How many ids of this account are kept. Raises UnavailableError."""
        return await trio.to_thread.run_sync(
            owned_jobs.count_owned, self._settings.path, account_id
        )

    async def disown(self, account_id: str, object_id: str) -> None:
        """The account has this no more, nor its parts; they are nobody else's either. Raises
        UnavailableError."""

        def forget(_: None) -> None:
            for key, row in list(self._remembered.items()):
                if object_id in (row.object_id, row.parent_id):
                    self._forget(key)
            self._looked_up.clear()

        await self._journal.run(
            lambda store: owned_jobs.disown(store, account_id, object_id), forget
        )

    async def prune_owned(self, before_ms: int) -> int:
        """Forget responses and items from before a moment, and what was disowned before it; how
        many. Raises UnavailableError."""
        pruned = 0
        while slice_ := await self._journal.run(
            lambda store: owned_jobs.prune_owned(store, before_ms),
            lambda _: self._remembered.clear(),
        ):
            pruned += slice_
        return pruned

    def _ownable(self, rows: Sequence[OwnedRow]) -> tuple[OwnedRow, ...]:
        """Those whose ids can be stored, whatever a provider has called them: an entry is stored as
        a whole or not at all, and money may go with it."""
        fit = tuple(
            row
            for row in rows
            if is_storable(row.object_id) and (row.parent_id is None or is_storable(row.parent_id))
        )
        if len(fit) < len(rows):
            log.error("%d ids of things at a provider cannot be stored", len(rows) - len(fit))
        return fit

    def _owned_with(self, ticket: Ticket, rows: Sequence[OwnedRow]) -> Ticket:
        """The ticket of the entry that these go with."""
        for row in rows:
            self._forget((row.account_id, row.object_id))
            self._unwritten[row.object_id] = ticket
            self._unwritten_order.append((ticket, row.object_id))
        return ticket

    def _forget(self, key: _Key) -> None:
        self._remembered.pop(key, None)
        self._looked_up.pop(key, None)

    async def _wait_written(self, ticket: Ticket) -> None:
        with trio.move_on_after(self._settings.barrier_timeout_s):
            await self._journal.wait_durable(ticket)
        if not self._journal.is_durable(ticket):
            raise UnavailableError("The ledger is behind.", retry_after_s=1)

    def _on_durable(self, durable_ticket: int) -> None:
        super()._on_durable(durable_ticket)
        order = self._unwritten_order
        while order and order[0][0] <= durable_ticket:
            ticket, object_id = order.popleft()
            if self._unwritten.get(object_id) == ticket:
                del self._unwritten[object_id]
