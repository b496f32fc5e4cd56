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

_DIAL_PAUSE_S: Final = 1.0
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
        self.waiters = trio.lowlevel.ParkingLot()
        self.woken = 0
        """Waiters that were given a slot, or the news, and have not run yet."""
        self.error: UpstreamError | None = None
        self.failures = 0
        self.dial_after_s = float("-inf")
        """While other connections can be waited for, a failed dial is not repeated before."""
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

    def add(self, connection: AnyConnection) -> None:
        """A dial has succeeded."""
        self._one_each = isinstance(connection, SerialConnection)
        if isinstance(connection, SerialConnection):
            self._serial[connection] = None
        else:
            self._shared.append(connection)
        self.changed(connection)

    def remove(self, connection: AnyConnection) -> None:
        """A connection has ended."""
        if isinstance(connection, SerialConnection):
            del self._serial[connection]
            self._idle.pop(connection, None)
        else:
            self._shared.remove(connection)

    def changed(self, connection: AnyConnection) -> None:
        """A connection's slot was freed or taken, or can no longer be had."""
        if isinstance(connection, SerialConnection):
            self._idle.pop(connection, None)
            if connection.free_streams and connection in self._serial:
                self._idle[connection] = None

    def dial_failed(self, error: UpstreamError) -> None:
        self.error = error
        self.failures += 1
        self.dial_after_s = trio.current_time() + _DIAL_PAUSE_S

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

    def wants_dial(self, demand: int) -> bool:
        """Whether to open another connection, for `demand` callers without a stream."""
        active = [connection for connection in self._shared if not connection.draining]
        count = len(active) + len(self._serial) + self.dialing
        if count >= (self._serial_max if self._one_each else self._shared_max):
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
    def hopeless(self) -> bool:
        """Nothing that could give a stream is open or being opened."""
        return not (self.dialing or self._serial) and all(
            connection.draining for connection in self._shared
        )

    def wake(self) -> None:
        """Let as many waiters go on as there are streams; all, when waiting is hopeless."""
        count = min(len(self.waiters), self.free_streams() - self.woken)
        if self.hopeless:
            count = len(self.waiters)
        if count > 0:
            self.waiters.unpark(count=count)
            self.woken += count
