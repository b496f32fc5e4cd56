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


class Keeper:
    """Keeps credentials fresh beside the requests; made by `open_credentials`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._kept: dict[Credentials, trio.CancelScope] = {}

    async def keep(self, credentials: Iterable[Credentials]) -> None:
        """From now on; returns once each can sign, or has failed to. Those that are kept already
        stay as they are; who does not wait to the end keeps none of them."""
        begun: dict[Credentials, trio.Event] = {}
        done = False
        try:
            for each in credentials:
                if each not in self._kept:
                    scope = self._kept[each] = trio.CancelScope()
                    ready = begun[each] = trio.Event()
                    self._nursery.start_soon(_keep_within, scope, each, ready)
            for ready in begun.values():
                await ready.wait()
            done = True
        finally:
            if not done:
                self.drop(begun)

    def drop(self, credentials: Iterable[Credentials], after_s: float = 0) -> None:
        """Let these expire, after so long: requests that run may still have to be signed."""
        for each in credentials:
            if (scope := self._kept.pop(each, None)) is not None:
                scope.deadline = trio.current_time() + after_s


async def _keep_within(
    scope: trio.CancelScope, credentials: Credentials, ready: trio.Event
) -> None:
    try:
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(credentials.keep_fresh)
                ready.set()
    finally:
        ready.set()


@asynccontextmanager
async def open_credentials(credentials: Iterable[Credentials]) -> AsyncIterator[Keeper]:
    """Keep all of them fresh for the block, and enter it once each can sign, or has failed to."""
    async with open_tasks() as nursery:
        keeper = Keeper(nursery)
        await keeper.keep(credentials)
        yield keeper
        nursery.cancel_scope.cancel()
