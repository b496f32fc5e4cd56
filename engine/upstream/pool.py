"""Connections by origin: the least loaded one with a free stream, another one past a fill.

What to do is decided in plain code between two waits (group.py); the tasks only carry it out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from engine.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from engine.wire.http import Headers

from .bodies import Body, SpooledBody
from .connection import Connection
from .errors import NoStreamError, NoStreamInTimeError, StreamLostError, sole_error
from .group import Group
from .opening import AnyConnection, open_any_connection
from .providers import Origin, Provider
from .settings import ConnectionSettings
from .statistics import ConnectionStatistics, OriginStatistics, PoolStatistics
from .streams import Receiver, UpstreamStream

logger = logging.getLogger(__name__)

__all__ = [
    "Body",
    "Connection",
    "ConnectionStatistics",
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

_REDIAL_PAUSE_S: Final = 1.0
_REDIAL_PAUSE_MAX_S: Final = 30.0
"""Between dials that nobody waits for."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of the pool, per origin.

    Attributes:
        fill_streams: a connection with this many streams has another one opened beside it.
        connections_max: of HTTP/2, open and being opened, those that drain not counted; the
            provider's own bound is kept as well.
        waiters_max: callers that may wait for a stream; one more is refused.
        wait_timeout_s: how long they wait.
    """

    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    fill_streams: int = 64
    connections_max: int = 10_000
    waiters_max: int = 1_000
    wait_timeout_s: float = 30.0


class Pool:
    """Streams to providers over shared connections; made by `open_pool`."""

    def __init__(self, settings: PoolSettings, nursery: trio.Nursery) -> None:
        self._settings = settings
        self._nursery = nursery
        self._groups: dict[Origin, Group] = {}
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
        group = self._group(provider.origin)
        connection = group.pick()
        if connection is None:
            connection = await self._wait_for_connection(group)
        return self._open_on(connection, group, headers, body, receiver)

    def open_stream_nowait(
        self, provider: Provider, headers: Headers, body: Body, receiver: Receiver
    ) -> UpstreamStream | None:
        """As `open_stream` where a connection has a free stream now; None: one has to be waited
        for, and nothing was done.

        Raises:
            MalformedFieldsError: as `open_stream`.
        """
        group = self._group(provider.origin)
        connection = group.pick()
        if connection is None:
            return None
        return self._open_on(connection, group, headers, body, receiver)

    def _open_on(
        self,
        connection: AnyConnection,
        group: Group,
        headers: Headers,
        body: Body,
        receiver: Receiver,
    ) -> UpstreamStream:
        try:
            stream = connection.open_stream_nowait(headers, body, receiver)
        except ValueError:
            self._changed(group)  # the next waiter may have the slot
            raise
        group.changed(connection)
        self._streams += 1
        self._dial_if_wanted(group, len(group.waiters))
        return stream

    def connected(self, provider: Provider) -> bool:
        """Whether a connection to the provider is open that takes new streams, now or later."""
        group = self._groups.get(provider.origin)
        return group is not None and group.serves

    def keep_warm(self, provider: Provider) -> None:
        """Open the provider's warm connections, and from now on replace those that end."""
        if not provider.warm_connections:
            return
        group = self._group(provider.origin)
        if group.warming is None:
            group.warming = trio.CancelScope()
            group.choose_kept()
            self._nursery.start_soon(self._keep_warm, group, group.warming)

    def let_cool(self, still_used: Iterable[Provider]) -> None:
        """Keep connections warm for these only: what others have open ends when it is unused."""
        origins = {provider.origin for provider in still_used}
        for group in [each for origin, each in self._groups.items() if origin not in origins]:
            if group.warming is not None:
                group.warming.cancel()
                group.warming = None
                group.choose_kept()
            if group.empty:
                del self._groups[group.origin]

    def statistics(self) -> PoolStatistics:
        """What is open, and totals."""
        return PoolStatistics(
            self._dials,
            self._dials_failed,
            self._streams,
            tuple(group.statistics() for group in self._groups.values()),
        )

    def _group(self, origin: Origin) -> Group:
        group = self._groups.get(origin)
        if group is None:
            group = self._groups[origin] = Group(
                origin,
                fill_streams=self._settings.fill_streams,
                shared_max=min(self._settings.connections_max, origin.connections_max),
                serial_max=origin.connections_max,
            )
        return group

    async def _wait_for_connection(self, group: Group) -> AnyConnection:
        if len(group.waiters) >= self._settings.waiters_max:
            raise NoStreamError("Too many requests wait for a stream to the provider.")
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
            error = NoStreamInTimeError if group.serves else UpstreamTimeoutError
            raise error("No stream to the provider became free in time.") from None

    def _changed(self, group: Group, connection: AnyConnection | None = None) -> None:
        """Streams have become free, or can no longer be had."""
        if connection is not None:
            group.changed(connection)
        if group.waiters:
            group.wake()
            if trio.current_time() >= group.dial_after_s:
                self._dial_if_wanted(group, len(group.waiters))
            group.give_up()

    def _dial_if_wanted(self, group: Group, demand: int) -> None:
        while not self._closed and group.wants_dial(demand):
            self._nursery.start_soon(self._run_connection, self._dialing(group))

    def _dialing(self, group: Group) -> Group:
        group.dialing += 1
        group.dials += 1
        self._dials += 1
        return group

    async def _run_connection(self, group: Group) -> None:
        """One connection from its dial to its end."""
        connection: AnyConnection | None = None
        try:
            async with open_any_connection(group.origin, self._settings.connection) as connection:
                group.dialing -= 1
                connection.on_change = partial(self._changed, group, connection)
                group.add(connection)
                self._changed(group)
                await self._wait_finished(group, connection)
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
                group.remove(connection)
            self._changed(group)

    async def _wait_finished(self, group: Group, connection: AnyConnection) -> None:
        """Until the connection has ended; past its age it is replaced, and ends when it is unused.

        Until there is a successor the old one serves: names that cannot be resolved for a while
        take nothing away that works.
        """
        with trio.move_on_after(group.next_lifetime_s()):
            await connection.wait_finished()
            return
        while group.may_replace(connection):
            failures = group.failures
            self._nursery.start_soon(self._run_connection, self._dialing(group))
            await group.wait_dialled()
            if group.failures == failures:
                break
            with trio.move_on_after(_REDIAL_PAUSE_S):
                await connection.wait_finished()
        connection.retire_nowait()
        group.changed(connection)
        await connection.wait_finished()

    async def _keep_warm(self, group: Group, until: trio.CancelScope) -> None:
        pause_s = _REDIAL_PAUSE_S
        with until:
            while True:
                if group.missing <= 0:
                    await group.wait_lost()
                    continue
                failures = group.failures
                for _ in range(group.missing):
                    self._nursery.start_soon(self._run_connection, self._dialing(group))
                await trio.sleep(pause_s)  # whatever became of it: a server may hang up at once
                failed = group.failures != failures
                pause_s = min(2 * pause_s, _REDIAL_PAUSE_MAX_S) if failed else _REDIAL_PAUSE_S

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
