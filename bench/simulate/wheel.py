"""The timer wheel: one task wakes every stream that is due, then flushes each connection once.

A stream is not a task. It is an object that says when it is next due; all that fall due in one tick
are woken in one pass, and a connection they wrote to is flushed once however many they were.
"""

from __future__ import annotations

import heapq
import logging
import math
from typing import Protocol

import trio

from bench.load.histogram import Histogram

logger = logging.getLogger(__name__)


class Wakeable(Protocol):
    """What the wheel wakes. Neither method waits."""

    def wake(self, now_s: float) -> None:
        """It is due. An exception is logged and answered with `crash`."""

    def crash(self) -> None:
        """`wake` raised: give up without raising."""


class Flushable(Protocol):
    """What the wheel flushes after the wakeables of a tick: a connection."""

    def flush(self) -> None:
        """Write what has gathered."""


class TimerWheel:
    """Buckets of `tick_s`, ordered by a heap of their numbers; empty ticks cost nothing.

    A wakeable is in one bucket at most: scheduling it again moves it. Times are those of
    `trio.current_time()`; a wakeable is never woken early, and at most a tick late while the loop
    keeps up.
    """

    def __init__(self, *, tick_s: float = 0.005) -> None:
        if tick_s <= 0:
            raise ValueError("tick_s must be positive")
        self._tick_s = tick_s
        self._buckets: dict[int, dict[Wakeable, None]] = {}
        self._order: list[int] = []
        self._place: dict[Wakeable, int] = {}
        self._dirty: dict[Flushable, None] = {}
        self._sleep: trio.CancelScope | None = None
        self._last_tick = -1
        self.late_ms = Histogram()
        """How long after its tick each wakeable was woken; a turn is one moment."""
        self.crashes = 0
        """Exceptions contained so far; tests expect none."""

    def __len__(self) -> int:
        return len(self._place)

    def schedule(self, wakeable: Wakeable, at_s: float) -> None:
        """Wake it at `at_s`, or in the next tick when that is past."""
        if wakeable in self._place:
            self.discard(wakeable)
        tick = max(math.ceil(at_s / self._tick_s), self._last_tick + 1)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._order, tick)
            if self._sleep is not None and self._order[0] == tick:
                self._sleep.deadline = min(self._sleep.deadline, tick * self._tick_s)
        bucket[wakeable] = None
        self._place[wakeable] = tick

    def holds(self, wakeable: Wakeable) -> bool:
        """Whether it is scheduled."""
        return wakeable in self._place

    def discard(self, wakeable: Wakeable) -> None:
        """Do not wake it. Fine if it is not scheduled."""
        tick = self._place.pop(wakeable, None)
        if tick in self._buckets:
            del self._buckets[tick][wakeable]

    def touch(self, flushable: Flushable) -> None:
        """Flush it at the end of this tick; between ticks, in the next."""
        self._dirty[flushable] = None
        if self._sleep is not None:
            self._sleep.deadline = -math.inf

    async def run(self) -> None:
        """Turn until cancelled."""
        while True:
            with trio.CancelScope() as self._sleep:
                if self._dirty:
                    self._sleep.deadline = -math.inf
                elif self._order:
                    self._sleep.deadline = self._order[0] * self._tick_s
                await trio.sleep_forever()
            self._sleep = None
            self.turn(trio.current_time())

    def turn(self, now_s: float) -> None:
        """Wake what is due at `now_s`, then flush what was touched."""
        self._last_tick = max(self._last_tick, math.floor(now_s / self._tick_s))
        while self._order and self._order[0] * self._tick_s <= now_s:
            tick = heapq.heappop(self._order)
            self._last_tick = max(self._last_tick, tick)
            bucket = self._buckets.pop(tick)
            if bucket:
                self.late_ms.record((now_s - tick * self._tick_s) * 1000, len(bucket))
            for wakeable in bucket:
                if self._place.get(wakeable) == tick:  # not discarded by another's wake
                    del self._place[wakeable]
                    try:
                        wakeable.wake(now_s)
                    except Exception:
                        self.crashes += 1
                        logger.exception("a simulated reply failed")
                        wakeable.crash()
        dirty, self._dirty = self._dirty, {}
        for flushable in dirty:
            self._contain_flush(flushable)

    def _contain_flush(self, flushable: Flushable) -> None:
        try:
            flushable.flush()
        except Exception:
            self.crashes += 1
            logger.exception("a simulated connection failed to flush")
