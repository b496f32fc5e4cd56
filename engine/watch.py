"""How long an attempt may take, and how long it may be silent: waits for it, and gives it up."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from engine.attempt import Attempt
from engine.errors import DeadlineError, UpstreamTimeoutError
from engine.upstream.providers import Provider


class Watch:
    """Watches one attempt. `deadline` is of the whole exchange, in Trio's time."""

    def __init__(self, attempt: Attempt, provider: Provider, deadline: float) -> None:
        self._attempt = attempt
        self._provider = provider
        self._deadline = deadline
        self._attempt_deadline = math.inf

    def start(self) -> float:
        """The request goes out now. When it has to have ended, in Trio's time."""
        if self._provider.total_timeout_s is not None:
            self._attempt_deadline = trio.current_time() + self._provider.total_timeout_s
        return min(self._deadline, self._attempt_deadline)

    def check_deadlines(self) -> None:
        """The one place where an exchange or its attempt is found to have run for too long."""
        now = trio.current_time()
        if self._attempt.over:
            return
        if now >= self._deadline:
            self._attempt.fail(DeadlineError("The request took longer than the gateway allows."))
        elif now >= self._attempt_deadline:
            self._attempt.fail(UpstreamTimeoutError("The provider took longer than it may."))

    async def wait_changed(self, until: Callable[[], float] = lambda: math.inf) -> bool:
        """Wait for the attempt to change; False once `until()` has passed, which may move on.

        A provider that is silent for too long has failed.
        """
        attempt = self._attempt
        if await self._wait(lambda: min(until(), self._silent_at())):
            return True
        if trio.current_time() < self._silent_at():
            return False
        silence = "fell silent" if attempt.answered else "did not answer in time"
        attempt.fail(UpstreamTimeoutError(f"The provider {silence}."))
        return True

    def _silent_at(self) -> float:
        attempt, provider = self._attempt, self._provider
        patience_s = provider.idle_timeout_s if attempt.answered else provider.first_byte_timeout_s
        return attempt.last_activity + patience_s

    async def _wait(self, until: Callable[[], float]) -> bool:
        with trio.move_on_at(min(until(), self._deadline, self._attempt_deadline)):
            await self._attempt.wait_changed()
        self._attempt.relay_large()
        self.check_deadlines()
        return trio.current_time() < until()
