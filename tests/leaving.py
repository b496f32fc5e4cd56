"""Clients that leave when it is so, however long that takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from tests.gateways import settled


@asynccontextmanager
async def cancelled_once(condition: Callable[[], bool]) -> AsyncIterator[None]:
    """Cancel the block when this has come true, as the leaving of a client does."""
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await settled(condition)
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        yield
        raise AssertionError("it has ended before")
