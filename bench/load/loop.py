"""Waits for sockets and for moments; a moment is not missed by the millisecond epoll rounds to."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Final

_FINE_S: Final = 0.002
"""Waits shorter than this are made to the microsecond."""
_CALLS_MAX: Final = 64
"""Timers in one turn, so that sockets are read in between."""


class EpollLoop:
    """See `connection.Loop`; `run` turns until `stop`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self._stopped = False

    def watch(self, fd: int, mask: int, on_event: Callable[[int], None]) -> None:
        """Call with the events of this file descriptor."""
        self._handlers[fd] = on_event
        self._epoll.register(fd, mask)

    def rewatch(self, fd: int, mask: int) -> None:
        """Wait for other events."""
        self._epoll.modify(fd, mask)

    def unwatch(self, fd: int) -> None:
        """No more."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def call_at(self, at_s: float, call: Callable[[float], None]) -> None:
        """Call with the time, once `time.monotonic()` has come there."""
        heapq.heappush(self._timers, (at_s, next(self._numbers), call))

    def forget_timers(self) -> None:
        """None of those that wait is called."""
        self._timers.clear()

    def stop(self) -> None:
        """End with this turn."""
        self._stopped = True

    def run(self) -> None:
        """Turn until stopped."""
        handlers = self._handlers
        while not self._stopped:
            for fd, mask in self._wait(self._call_due()):
                handler = handlers.get(fd)  # gone, if an earlier event closed it
                if handler is not None:
                    handler(mask)

    def _call_due(self) -> float:
        """Call whose time has come; returns seconds until the next, at least 0."""
        timers, now_s = self._timers, time.monotonic()
        for _ in range(_CALLS_MAX):
            if not timers or timers[0][0] > now_s:
                break
            heapq.heappop(timers)[2](now_s)
            now_s = time.monotonic()
        return max(0.0, timers[0][0] - now_s) if timers else 1.0

    def _wait(self, timeout_s: float) -> list[tuple[int, int]]:
        if timeout_s >= _FINE_S:
            return self._epoll.poll(timeout_s - _FINE_S / 2)
        if timeout_s:
            select.select([self._epoll], [], [], timeout_s)
        return self._epoll.poll(0)
