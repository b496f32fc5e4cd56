"""Joins writes: what one upstream read, or a few milliseconds under backlog, brings to a client.

Whoever has bytes for a client touches its connection's `flush`. Idle, that is called when the task
that runs now has done its step: all tokens of one read of the provider leave in one write. When the
loop lags, so many clients wait for a turn that each has several tokens by its own: then the wait
grows, up to `coalesce_s`, and the cost of a write is shared by more tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import trio

from engine.nurseries import open_tasks

log = logging.getLogger("parshall.server")

_LOOK_S: Final = 0.1
"""Between two looks at the loop's lag."""
PROMPT_LAG_S: Final = 0.002
"""A loop that lags less than this has time for a write a token."""
FULL_LAG_S: Final = 0.02
"""From here on the window is at its widest."""
_WAITING_MAX: Final = 20_000
"""Connections that may wait at once; more are flushed on the spot."""


class Flusher:
    """Calls what was touched, once, soon. One for each server; `run` is its task.

    Args:
        coalesce_s: how long a write waits for others at most.
        lag_s: how late the loop runs what is due, averaged over a moment. Without it the window
            stays shut.

    Attributes:
        window_s: how long a write waits for others now; 0: to the end of the current task's step.
    """

    def __init__(self, coalesce_s: float, lag_s: Callable[[], float] | None = None) -> None:
        self.window_s = 0.0
        self._coalesce_s = coalesce_s
        self._lag_s = lag_s
        self._waiting: dict[Callable[[], None], None] = {}
        self._parked: trio.lowlevel.Task | None = None
        self._running = False

    def touch(self, flush: Callable[[], None]) -> None:
        """Call `flush` soon, once however often it is touched. What it raises is logged."""
        if not self._running or len(self._waiting) >= _WAITING_MAX:
            _call(flush)
            return
        self._waiting[flush] = None
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    async def run(self) -> None:
        """Flush until cancelled; what waits then is flushed first."""
        self._running = True
        try:
            async with open_tasks() as nursery:
                if self._lag_s is not None:
                    nursery.start_soon(self._look, self._lag_s)
                while True:
                    if self._waiting:  # touched by what was flushed: others come first
                        await trio.lowlevel.checkpoint()
                    else:
                        await self._park()
                    if self.window_s:
                        await trio.sleep(self.window_s)
                    self._flush()
        finally:
            self._running = False
            self._parked = None
            self._flush()

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._unpark)

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for flush in waiting:
            _call(flush)

    async def _look(self, lag_s: Callable[[], float]) -> None:
        while True:
            self.window_s = window_s(lag_s(), self._coalesce_s)
            await trio.sleep(_LOOK_S)


def window_s(lag_s: float, coalesce_s: float) -> float:
    """How long writes are held back at a lag of the loop: 0, then linear up to `coalesce_s`.

    >>> [round(window_s(lag / 1000, 0.005) * 1000, 2) for lag in (0, 2, 11, 20, 500)]
    [0.0, 0.0, 2.5, 5.0, 5.0]
    """
    part = (lag_s - PROMPT_LAG_S) / (FULL_LAG_S - PROMPT_LAG_S)
    return coalesce_s * min(1.0, max(0.0, part))


def _call(flush: Callable[[], None]) -> None:
    try:
        flush()
    except Exception:
        log.exception("a connection's writing failed")
