"""A nursery that lets no exception group out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_tasks() -> AsyncIterator[trio.Nursery]:
    """A nursery for an `open_*` function: its block raises one plain exception.

    Of several, the first is raised and the others are its notes; cancellation gives way to any.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        failures = [leaf for leaf in _leaves(group) if not isinstance(leaf, trio.Cancelled)]
        if not failures:
            raise
        first, *others = failures
        for other in others:
            first.add_note(f"at the same time: {other!r}")
        raise first from first.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error
