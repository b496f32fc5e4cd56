"""Tasks that wait until the journal has come to a ticket."""

from __future__ import annotations

import heapq

import trio


class Barrier:
    """Whoever waits, by ticket. For the Trio thread only."""

    def __init__(self) -> None:
        self._waiters: list[tuple[int, int, trio.lowlevel.Task]] = []
        self._waiting: set[int] = set()
        self._count = 0

    @trio.lowlevel.enable_ki_protection
    async def wait(self, ticket: int) -> None:
        """Wait until `release` is called with this ticket or a later one. Cancelling is safe."""
        self._count += 1
        number = self._count
        heapq.heappush(self._waiters, (ticket, number, trio.lowlevel.current_task()))
        self._waiting.add(number)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._waiting.discard(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @trio.lowlevel.enable_ki_protection
    def release(self, ticket: int) -> None:
        """Wake everyone who waits for this ticket or an earlier one."""
        waiters = self._waiters
        while waiters and waiters[0][0] <= ticket:
            _, number, task = heapq.heappop(waiters)
            if number in self._waiting:
                self._waiting.remove(number)
                trio.lowlevel.reschedule(task)
