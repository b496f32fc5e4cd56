"""What proves to a provider whose request it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from engine.nurseries import open_tasks
from engine.wire.http import Headers


class Credentials(Protocol):
    """Of one provider. What expires is renewed beside the requests, never by one of them."""

    signs_body: bool
    """Whether the body is part of the proof, and so has to be in memory."""

    def sign(self, method: str, path: str, body: bytes) -> Headers:
        """The headers that prove this request; `path` is its `:path`, query included.

        Raises:
            UpstreamRejectedError: there is nothing to prove it with now.
        """

    async def keep_fresh(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Renew what expires, for as long as the gateway runs; return where nothing does.

        It has started when the first renewal has succeeded or failed, within a bound. One that
        fails is logged, and tried again; meanwhile `sign` gives what has not expired, or raises.
        """


class KeyCredentials:
    """A key that stays the same, in one header or nowhere."""

    signs_body = False

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def sign(self, method: str, path: str, body: bytes) -> Headers:
        """The same headers for every request."""
        return self._headers

    async def keep_fresh(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Nothing expires."""
        task_status.started()


@asynccontextmanager
async def open_credentials(credentials: Iterable[Credentials]) -> AsyncIterator[None]:
    """Keep all of them fresh for the block, and enter it once each can sign, or has failed to."""
    async with open_tasks() as nursery:
        async with trio.open_nursery() as starting:
            for each in credentials:
                starting.start_soon(nursery.start, each.keep_fresh)
        yield
        nursery.cancel_scope.cancel()
