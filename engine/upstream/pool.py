"""Connections by origin: the least loaded one with a free stream, another one past a fill.

What to do is decided in plain code between two waits (`_Group`); the tasks only carry it out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from engine.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from engine.wire.http import Headers

from .bodies import Body, SpooledBody
from .connection import Connection, ConnectionSettings, open_connection
from .errors import StreamLostError, sole_error
from .providers import Origin, Provider
from .streams import Receiver, UpstreamStream

logger = logging.getLogger(__name__)

__all__ = [
    "Body",
    "Connection",
    "OriginStatistics",
    "Pool",
    "PoolSettings",
    "PoolStatistics",
    "Receiver",
    "SpooledBody",
    "StreamLostError",
    "UpstreamStream",
    "open_pool",
]

_DIAL_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of the pool, per origin.

    Attributes:
        fill_streams: a connection with this many streams has another one opened beside it.
        connections_max: open and being opened, those that drain not counted.
        waiters_max: callers that may wait for a stream; one more is refused.
        wait_timeout_s: how long they wait.
    """

    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    fill_streams: int = 64
    connections_max: int = 64
    waiters_max: int = 1_000
    wait_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class OriginStatistics:
    """What the pool has open to one origin."""

    authority: str
    connections: int
    dialing: int
    open_streams: int
    free_streams: int
    waiting: int


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Totals since the pool was opened, and the present by origin."""

    dials: int
    dials_failed: int
    streams: int
    origins: tuple[OriginStatistics, ...]


class _Group:
    """The connections to one origin, and who waits for them."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.connections: list[Connection] = []
        self.dialing = 0
        self.waiters = trio.lowlevel.ParkingLot()
        self.woken = 0
        """Waiters that were given a slot, or the news, and have not run yet."""
        self.error: UpstreamError | None = None
        self.failures = 0
        self.dial_after_s = float("-inf")
        """While other connections can be waited for, a failed dial is not repeated before."""

    def dial_failed(self, error: UpstreamError) -> None:
        self.error = error
        self.failures += 1
        self.dial_after_s = trio.current_time() + _DIAL_PAUSE_S

    def free_streams(self) -> int:
        return sum(max(0, connection.free_streams) for connection in self.connections)

    def pick(self) -> Connection | None:
        """The least loaded connection with a free stream that no waiter was promised."""
        best: Connection | None = None
        free_streams = 0
        for connection in self.connections:
            if (free := connection.free_streams) > 0:
                free_streams += free
                if best is None or connection.open_streams < best.open_streams:
                    best = connection
        return best if free_streams > self.woken else None

    def wants_dial(self, demand: int, settings: PoolSettings) -> bool:
        """Whether to open another connection, for `demand` callers without a stream."""
        active = [connection for connection in self.connections if not connection.draining]
        if len(active) + self.dialing >= settings.connections_max:
            return False
        if active and trio.current_time() < self.dial_after_s:
            return False
        if demand > 0:
            return self.dialing * min(self.origin.max_streams, settings.fill_streams) < demand
        full = all(connection.open_streams >= settings.fill_streams for connection in active)
        return bool(active) and full and not self.dialing

    @property
    def hopeless(self) -> bool:
        """Nothing that could give a stream is open or being opened."""
        return not self.dialing and all(connection.draining for connection in self.connections)

    def wake(self) -> None:
        """Let as many waiters go on as there are streams; all, when waiting is hopeless."""
        count = min(len(self.waiters), self.free_streams() - self.woken)
        if self.hopeless:
            count = len(self.waiters)
        if count > 0:
            self.waiters.unpark(count=count)
            self.woken += count


class Pool:
    """Streams to providers over shared connections; made by `open_pool`."""

    def __init__(self, settings: PoolSettings, nursery: trio.Nursery) -> None:
        self._settings = settings
        self._nursery = nursery
        self._groups: dict[Origin, _Group] = {}
        self._closed = False
        self._dials = 0
        self._dials_failed = 0
        self._streams = 0

    async def open_stream(
        self, provider: Provider, headers: Headers, body: Body, receiver: Receiver
    ) -> UpstreamStream:
        """Send a request on the least loaded connection, dialling one if need be.

        Nothing is delivered before this returns. Cancelled while it waits, it leaves nothing
        behind; after the wait there is no checkpoint, so a stream that was opened is returned.

        Raises:
            UpstreamUnreachableError: no connection can be had, or too many callers wait for one.
            UpstreamTimeoutError: the dial, or the wait for a free stream, took too long.
            MalformedFieldsError: `headers` break RFC 9113 section 8.2 or 8.3.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        group = self._groups.get(provider.origin)
        if group is None:
            group = self._groups[provider.origin] = _Group(provider.origin)
        connection = group.pick()
        if connection is None:
            connection = await self._wait_for_connection(group)
        try:
            stream = connection.open_stream_nowait(headers, body, receiver)
        except ValueError:
            self._changed(group)  # the next waiter may have the slot
            raise
        self._streams += 1
        self._dial_if_wanted(group, len(group.waiters))
        return stream

    def connected(self, provider: Provider) -> bool:
        """Whether a connection to the provider is open that takes new streams, now or later."""
        group = self._groups.get(provider.origin)
        return group is not None and not all(c.draining for c in group.connections)

    def statistics(self) -> PoolStatistics:
        """What is open, and totals."""
        return PoolStatistics(
            self._dials,
            self._dials_failed,
            self._streams,
            tuple(
                OriginStatistics(
                    group.origin.authority,
                    len(group.connections),
                    group.dialing,
                    sum(connection.open_streams for connection in group.connections),
                    group.free_streams(),
                    len(group.waiters),
                )
                for group in self._groups.values()
            ),
        )

    async def _wait_for_connection(self, group: _Group) -> Connection:
        if len(group.waiters) >= self._settings.waiters_max:
            raise UpstreamUnreachableError("Too many requests wait for a stream to the provider.")
        failures = group.failures
        try:
            with trio.fail_after(self._settings.wait_timeout_s):
                while True:
                    if self._closed:
                        raise UpstreamUnreachableError("The gateway is closing its connections.")
                    self._dial_if_wanted(group, len(group.waiters) + 1)
                    await group.waiters.park()
                    group.woken -= 1
                    connection = group.pick()
                    if connection is not None:
                        return connection
                    if group.error is not None and group.failures != failures and group.hopeless:
                        raise type(group.error)(group.error.message) from group.error
        except trio.TooSlowError:
            raise UpstreamTimeoutError("No stream to the provider became free in time.") from None

    def _changed(self, group: _Group) -> None:
        """Streams have become free, or can no longer be had."""
        if group.waiters:
            group.wake()
            self._dial_if_wanted(group, len(group.waiters))

    def _dial_if_wanted(self, group: _Group, demand: int) -> None:
        if not self._closed and group.wants_dial(demand, self._settings):
            group.dialing += 1
            self._dials += 1
            self._nursery.start_soon(self._run_connection, group)

    async def _run_connection(self, group: _Group) -> None:
        """One connection from its dial to its end."""
        connection: Connection | None = None
        try:
            async with open_connection(group.origin, self._settings.connection) as connection:
                group.dialing -= 1
                connection.on_change = partial(self._changed, group)
                group.connections.append(connection)
                self._changed(group)
                await connection.wait_finished()
        except UpstreamError as error:
            self._dials_failed += 1
            group.dial_failed(error)
        except Exception:
            logger.exception("a connection to %s could not be kept", group.origin.authority)
            group.dial_failed(UpstreamUnreachableError("The connection to the provider failed."))
        finally:
            if connection is None:
                group.dialing -= 1
            else:
                group.connections.remove(connection)
            self._changed(group)

    def _close(self) -> None:
        self._closed = True
        for group in self._groups.values():
            group.woken += len(group.waiters)
            group.waiters.unpark_all()
        self._nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_pool(
    settings: PoolSettings = PoolSettings(),
) -> AsyncIterator[Pool]:
    """A pool whose connections live until the block is left; open streams are reset then."""
    try:
        async with trio.open_nursery() as nursery:
            pool = Pool(settings, nursery)
            try:
                yield pool
            finally:
                pool._close()
    except BaseExceptionGroup as group:
        error = sole_error(group)
        raise error from error.__cause__
