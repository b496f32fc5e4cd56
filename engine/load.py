"""How loaded this process is: how far the event loop lags behind, and what memory it takes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

_AVERAGED_S: Final = 0.5
"""Over about so long the lag is averaged: one large answer is no overload."""
_CALM_S: Final = 0.001
"""Less is no lag: turns so short cost next to nothing here."""
_MEMORY_READ_EVERY_S: Final = 1.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""What a container may take, by version 2 and version 1 of control groups."""

Monotonic = Callable[[], float]
"""Seconds of a clock that never goes back."""


class LoopLag(trio.abc.Instrument):
    """How long what has happened waits until the event loop turns to it, averaged over time.

    Each turn of the loop serves all that is ready, and whoever comes meanwhile waits for its end;
    so does everybody where the machine wakes this process too late. Nothing runs while the loop is
    idle, as a task that beats would.
    """

    def __init__(self, clock: Monotonic = time.perf_counter) -> None:
        self._clock = clock
        self._average_s = 0.0
        self._turned_at = clock()
        self._over: dict[float, float] = {}

    def watch(self, limit_s: float) -> None:
        """Note from now on since when the lag is above a limit."""
        self._over[limit_s] = math.inf

    def before_io_wait(self, timeout: float) -> None:
        """A turn ends."""
        now = self._clock()
        lasted_s, self._turned_at = now - self._turned_at, now
        if lasted_s > _CALM_S or self._average_s > _CALM_S:
            self._add(lasted_s, lasted_s, now)

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins; it comes late if the wait was longer than it should have been."""
        now = self._clock()
        waited_s, self._turned_at = now - self._turned_at, now
        late_s = waited_s - timeout
        if late_s > _CALM_S or self._average_s > _CALM_S:
            self._add(max(0.0, min(late_s, waited_s)), waited_s, now)

    def _add(self, lag_s: float, lasted_s: float, now: float) -> None:
        self._average_s -= (lag_s - self._average_s) * math.expm1(-lasted_s / _AVERAGED_S)
        for limit_s, since in self._over.items():
            if self._average_s <= limit_s:
                self._over[limit_s] = math.inf
            elif since == math.inf:
                self._over[limit_s] = now

    @property
    def seconds(self) -> float:
        """The average of now."""
        return self._average_s

    def above_s(self, limit_s: float) -> float:
        """For how long it has been above a limit that is watched; 0 while it is not."""
        return max(0.0, self._clock() - self._over[limit_s])


class Load:
    """Of this process.

    Attributes:
        lag: of its event loop.
    """

    def __init__(self, clock: Monotonic = time.perf_counter) -> None:
        self.lag = LoopLag(clock)
        self._clock = clock
        self._memory_bytes = 0
        self._read_at = -math.inf

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the Trio run that the block is part of."""
        trio.lowlevel.add_instrument(self.lag)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self.lag)

    def memory_bytes(self) -> int:
        """What this process takes of the machine's memory, at most a second old; 0 where the
        system does not say."""
        now = self._clock()
        if now - self._read_at >= _MEMORY_READ_EVERY_S:
            self._read_at = now
            self._memory_bytes = _resident_bytes()
        return self._memory_bytes


def available_memory_bytes() -> int | None:
    """What this process may take at most: of the machine, or of its container; None: unknown."""
    known = [limit for path in _LIMITS if (limit := _read_limit(path)) is not None]
    try:
        known.append(os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES)
    except (OSError, ValueError):
        return min(known, default=None)
    return min(known)


def _read_limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no control group, or no limit: "max"
        return None


def _resident_bytes() -> int:
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
