"""Streams that are read on after their client has left, for the provider's own figures.

The exchange keeps its stream, its hold and the duty to settle; what it gets here is a task to do
that in, under a cap an account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from engine.nurseries import open_tasks


class Drains:
    """Made by `open_drains`."""

    def __init__(self, nursery: trio.Nursery, per_account_max: int) -> None:
        self._nursery = nursery
        self.per_account_max = per_account_max
        """So many of one account at once; those beyond it go on where it is lowered."""
        self._open: Counter[str] = Counter()
        self._closing = False

    @property
    def open(self) -> int:
        """How many are under way."""
        return self._open.total()

    def adopt(
        self, account_id: str, run: Callable[[], Awaitable[None]], *, needed: bool = False
    ) -> bool:
        """Start `run`, which bounds itself and raises nothing but Cancelled.

        It runs at least to its first checkpoint, also if all is cancelled now: what it does in a
        `finally` is done. False, and nothing is started, over the account's cap, unless it is
        `needed`, or at the end.
        """
        if self._closing:
            return False
        if not needed and self._open[account_id] >= self.per_account_max:
            return False
        self._open[account_id] += 1
        self._nursery.start_soon(self._own, account_id, run)
        return True

    async def _own(self, account_id: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        finally:
            self._open[account_id] -= 1
            self._open += Counter()  # drops what is zero

    def close(self) -> None:
        """Start no more, and end those that run."""
        self._closing = True
        self._nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_drains(per_account_max: int) -> AsyncIterator[Drains]:
    """For the block; at its end the drains under way are cancelled, and have settled."""
    async with open_tasks() as nursery:
        drains = Drains(nursery, per_account_max)
        try:
            yield drains
        finally:
            drains.close()
