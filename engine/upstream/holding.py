"""The block in which a connection lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from .errors import sole_error


class Runnable(Protocol):
    """What `hold_open` needs of a connection."""

    async def run(self) -> None:
        """Its tasks, until it has ended."""

    def close_nowait(self) -> None:
        """End it: streams that are still open are lost."""


@asynccontextmanager
async def hold_open(connection: Runnable, transport: trio.abc.Stream) -> AsyncIterator[None]:
    """Run a connection's tasks for the block, and close its transport after it."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            try:
                yield
            finally:
                connection.close_nowait()
    except BaseExceptionGroup as group:
        error = sole_error(group)
        raise error from error.__cause__
    finally:
        await trio.aclose_forcefully(transport)
