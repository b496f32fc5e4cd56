"""Whose input file is read when: it is work for this process, however it is shared out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

_AT_ONCE: Final = 2


class Turns:
    """Of one event loop: two files are read at the same time, of one account one. Others wait, and
    each account's in their order."""

    def __init__(self) -> None:
        self._all = trio.CapacityLimiter(_AT_ONCE)
        self._of_account: dict[str, trio.CapacityLimiter] = {}

    def __len__(self) -> int:
        """How many accounts have files that are read, or wait."""
        return len(self._of_account)

    @asynccontextmanager
    async def take(self, account_id: str) -> AsyncIterator[None]:
        """Wait for the account's turn, and have it for the block."""
        own = self._of_account.setdefault(account_id, trio.CapacityLimiter(1))
        try:
            async with own, self._all:
                yield
        finally:
            if not own.borrowed_tokens and not own.statistics().tasks_waiting:
                self._of_account.pop(account_id, None)


_turns = trio.lowlevel.RunVar[Turns]("parshall_batches_read")


def turns() -> Turns:
    """Those of this event loop."""
    try:
        return _turns.get()
    except LookupError:
        found = Turns()
        _turns.set(found)
        return found
