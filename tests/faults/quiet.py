"""What a test started from, and has to come back to: descriptors and tasks."""

from __future__ import annotations

import os
from dataclasses import dataclass

import trio

WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """Counts of this process."""

    descriptors: int
    tasks: int

    async def wait_restored(self, what: object = "") -> None:
        """Wait until nothing is left over."""
        now = count()
        with trio.move_on_after(WITHIN_S):
            while now != self:  # what ends has no event for all of it
                await trio.sleep(0.002)
                now = count()
        assert now == self, what  # a thread may open something the moment after


def count() -> Baseline:
    """How many of each there are now."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return Baseline(len(os.listdir("/proc/self/fd")), tasks)
