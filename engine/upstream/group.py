"""The connections to one origin, and who waits for them: plain code between two waits.

HTTP/2 connections are few and shared: the least loaded one is picked. HTTP/1.1 connections are
many and carry one request each: the one that was used last is picked, so that those that a burst
needed and nothing else does grow old and close.
"""

from __future__ import annotations

from typing import Final

import trio

from engine.errors import UpstreamError

from .connection import Connection
from .connection_http1 import SerialConnection
from .opening import AnyConnection
from .providers import Origin
from .statistics import OriginStatistics

_DIAL_PAUSE_S: Final = 1.0
_AGE_SPREAD: Final = 0.25
"""By how much of it the ages differ at which connections are replaced."""
_GOLDEN_RATIO: Final = 0.618_034
_SERIAL_DIALS_MAX: Final = 64
"""HTTP/1.1 connections that are opened at the same time."""


class Group:
    """What the pool has and does for one origin.

    Args:
        origin: where to.
        fill_streams: an HTTP/2 connection with this many streams has another one opened beside it.
        shared_max: HTTP/2 connections, open and being opened; those that drain are not counted.
        serial_max: HTTP/1.1 connections, open and being opened.
    """

    def __init__(
        self, origin: Origin, *, fill_streams: int, shared_max: int, serial_max: int
    ) -> None:
        self.origin = origin
        self.dialing = 0
        self.dials = 0
        self.waiters = trio.lowlevel.ParkingLot()
        self.woken = 0
        """Waiters that were given a slot, or the news, and have not run yet."""
        self.error: UpstreamError | None = None
        self.failures = 0
        self.dial_after_s = float("-inf")
        """While other connections can be waited for, a failed dial is not repeated before."""
        self.last_failure: str | None = None
        self.warming: trio.CancelScope | None = None
        """Of the task of the pool that keeps the origin's warm connections."""
        self._lost = trio.Event()
        self._dialled = trio.Event()
        self._lifetimes = 0
        self._fill_streams = fill_streams
        self._shared_max = shared_max
        self._serial_max = serial_max
        self._shared: list[Connection] = []
        self._serial: dict[SerialConnection, None] = {}
        self._idle: dict[SerialConnection, None] = {}
        """Those with a free slot, the last used one last."""
        self._one_each = "h2" not in origin.protocols
        """Whether a connection carries one request: for certain, or as the last one did."""

    # -- connections ----------------------------------------------------------------------------

    @property
    def connections(self) -> list[AnyConnection]:
        """All that are open."""
        return [*self._shared, *self._serial]

    @property
    def serves(self) -> bool:
        """Whether a connection is open that takes new streams, now or later."""
        return not all(connection.draining for connection in self.connections)

    @property
    def empty(self) -> bool:
        """Whether nothing is open or being opened, and nobody waits."""
        return not (self.connections or self.dialing or self.waiters or self.woken)

    def add(self, connection: AnyConnection) -> None:
        """A dial has succeeded."""
        self._one_each = isinstance(connection, SerialConnection)
        if isinstance(connection, SerialConnection):
            self._serial[connection] = None
        else:
            self._shared.append(connection)
        self.last_failure = None
        self._note_dialled()
        self.choose_kept()
        self.changed(connection)

    def remove(self, connection: AnyConnection) -> None:
        """A connection has ended."""
        if isinstance(connection, SerialConnection):
            del self._serial[connection]
            self._idle.pop(connection, None)
        else:
            self._shared.remove(connection)
        self.choose_kept()
        self._lost.set()

    def changed(self, connection: AnyConnection) -> None:
        """A connection's slot was freed or taken, or can no longer be had."""
        if isinstance(connection, SerialConnection):
            self._idle.pop(connection, None)
            if connection.free_streams and connection in self._serial:
                self._idle[connection] = None
        if connection.keep and connection.draining:
            self.choose_kept()
            self._lost.set()

    def statistics(self) -> OriginStatistics:
        """Its figures now."""
        connections = self.connections
        proxy = self.origin.proxy
        return OriginStatistics(
            authority=self.origin.authority,
            proxy=None if proxy is None else proxy.authority,
            connections=len(connections),
            dialing=self.dialing,
            open_streams=sum(connection.open_streams for connection in connections),
            free_streams=self.free_streams(),
            waiting=len(self.waiters),
            dials=self.dials,
            dials_failed=self.failures,
            last_failure=self.last_failure,
            connection_statistics=tuple(connection.statistics() for connection in connections),
        )

    def dial_failed(self, error: UpstreamError) -> None:
        self.error = error
        self.last_failure = error.message
        self.failures += 1
        self.dial_after_s = trio.current_time() + _DIAL_PAUSE_S
        self._note_dialled()

    # -- those that are kept --------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """How many connections have to be dialled so that the warm ones are there."""
        active = sum(1 for connection in self.connections if not connection.draining)
        wanted = min(self.origin.warm_connections, self._connections_max)
        return wanted - active - self.dialing

    async def wait_lost(self) -> None:
        """Return when a connection has ended, or takes no requests any more."""
        await self._lost.wait()
        self._lost = trio.Event()

    async def wait_dialled(self) -> None:
        """Return when a dial has succeeded or failed."""
        await self._dialled.wait()

    def _note_dialled(self) -> None:
        self._dialled.set()
        self._dialled = trio.Event()

    def next_lifetime_s(self) -> float:
        """How old the next connection may become: never as old as the one before it, since those
        that were opened together are not to be replaced together."""
        self._lifetimes += 1
        spread = self._lifetimes * _GOLDEN_RATIO % 1  # as far from those before as can be
        return self.origin.connection_max_age_s * (1 - _AGE_SPREAD * spread)

    def may_replace(self, connection: AnyConnection) -> bool:
        """Whether a successor is opened before an old connection goes: it would be missed."""
        return (
            isinstance(connection, Connection)
            and not connection.draining
            and (connection.keep or connection.open_streams > 0)
            and len(self._shared) + len(self._serial) + self.dialing < self._connections_max
        )

    def choose_kept(self) -> None:
        """Say which connections are kept though they are idle: as many as are to be warm."""
        left = 0 if self.warming is None else self.origin.warm_connections
        for connection in self.connections if self.origin.warm_connections else ():
            connection.keep = left > 0 and not connection.draining
            left -= connection.keep

    # -- decisions ------------------------------------------------------------------------------

    def free_streams(self) -> int:
        shared = sum(max(0, connection.free_streams) for connection in self._shared)
        return shared + len(self._idle)

    def pick(self) -> AnyConnection | None:
        """A connection with a free stream that no waiter was promised."""
        best: AnyConnection | None = None
        free_streams = 0
        for connection in self._shared:
            if (free := connection.free_streams) > 0:
                free_streams += free
                if best is None or connection.open_streams < best.open_streams:
                    best = connection
        if best is None:
            best = self._last_used()
        return best if free_streams + len(self._idle) > self.woken else None

    def _last_used(self) -> SerialConnection | None:
        while self._idle:
            connection = next(reversed(self._idle))
            if connection.still_open():
                return connection
            self._idle.pop(connection, None)
        return None

    @property
    def _connections_max(self) -> int:
        return self._serial_max if self._one_each else self._shared_max

    def wants_dial(self, demand: int) -> bool:
        """Whether to open another connection, for `demand` callers without a stream."""
        if demand <= 0 and (self._one_each or self._has_room):
            return False  # as nearly always
        active = [connection for connection in self._shared if not connection.draining]
        count = len(active) + len(self._serial) + self.dialing
        if count >= self._connections_max:
            return False
        if count and trio.current_time() < self.dial_after_s:
            return False
        if self._one_each:
            return self.dialing < min(demand, _SERIAL_DIALS_MAX)
        if demand > 0:
            return self.dialing * min(self.origin.max_streams, self._fill_streams) < demand
        full = all(connection.open_streams >= self._fill_streams for connection in active)
        return bool(active) and full and not self.dialing

    @property
    def _has_room(self) -> bool:
        """Whether a connection has so few streams that no other is opened beside it."""
        for connection in self._shared:
            if connection.open_streams < self._fill_streams and not connection.draining:
                return True
        return False

    @property
    def hopeless(self) -> bool:
        """Nothing that could give a stream is open or being opened."""
        return not (self.dialing or self._serial) and all(
            connection.draining for connection in self._shared
        )

    def wake(self) -> None:
        """Let as many waiters go on as there are streams."""
        self._unpark(min(len(self.waiters), self.free_streams() - self.woken))

    def give_up(self) -> None:
        """Let all waiters go on when waiting is hopeless: they may try themselves, or fail."""
        if self.hopeless:
            self._unpark(len(self.waiters))

    def _unpark(self, count: int) -> None:
        if count > 0:
            self.waiters.unpark(count=count)
            self.woken += count
