"""How long an attempt may take, and how long it may be silent: waits for it, and gives it up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio

from engine.alarm import Alarm
from engine.attempt import Attempt
from engine.errors import DeadlineError, UpstreamTimeoutError
from engine.lateness import listen_if_late
from engine.upstream.providers import Provider


class Watch:
    """Watches one attempt. `deadline` is of the whole exchange, in Trio's time.

    Attributes:
        first_token_at: when something has to have been generated, in Trio's time; no byte puts that
            off. It is set where somebody else could generate it instead.
    """

    __slots__ = ("_attempt", "_attempt_deadline", "_deadline", "_provider", "first_token_at")

    def __init__(self, attempt: Attempt, provider: Provider, deadline: float) -> None:
        self._attempt = attempt
        self._provider = provider
        self._deadline = deadline
        self._attempt_deadline = math.inf
        self.first_token_at = math.inf

    def start(self) -> float:
        """The request goes out now, if it did not before. When it has to have ended, in Trio's
        time."""
        if self._provider.total_timeout_s is not None and self._attempt_deadline == math.inf:
            self._attempt_deadline = trio.current_time() + self._provider.total_timeout_s
        return min(self._deadline, self._attempt_deadline)

    @property
    def due_at(self) -> float:
        """When the attempt has to be looked at, if nothing happens before."""
        begun = self._attempt.first_output_at is not None
        first_token_at = math.inf if begun else self.first_token_at
        return min(self._deadline, self._attempt_deadline, self._silent_at, first_token_at)

    @property
    def _silent_at(self) -> float:
        attempt, provider = self._attempt, self._provider
        if not attempt.sent:
            return math.inf  # how long a stream is waited for, the pool says
        patience_s = provider.idle_timeout_s if attempt.answered else provider.first_byte_timeout_s
        return attempt.last_activity + patience_s

    def check_deadlines(self) -> None:
        """The one place where an exchange or its attempt is found to have run for too long."""
        if not self._attempt.over:
            self._check_at(trio.current_time())

    def _check_at(self, now: float) -> None:
        attempt = self._attempt
        if now >= self._deadline:
            attempt.fail(DeadlineError("The request took longer than the gateway allows."))
        elif now >= self._attempt_deadline:
            attempt.fail(UpstreamTimeoutError("The provider took longer than it may."))
        elif now >= self.first_token_at and attempt.first_output_at is None:
            attempt.fail(UpstreamTimeoutError("The provider did not begin to generate in time."))

    def check(self) -> None:
        """Do what waits for the exchange's own task; a provider that is silent for too long has
        failed."""
        attempt = self._attempt
        attempt.relay_large()
        if attempt.over:
            return
        now = trio.current_time()
        self._check_at(now)
        if now >= self._silent_at:  # who has failed by now stays failed for that
            silence = "fell silent" if attempt.answered else "did not answer in time"
            attempt.fail(UpstreamTimeoutError(f"The provider {silence}."))

    async def wait_changed(self) -> None:
        """As `wait_changed`, for this attempt alone."""
        await wait_changed(self._attempt.changed, (self,))


async def wait_changed(changed: Alarm, watches: Sequence[Watch], until: float = math.inf) -> None:
    """Wait for one of the attempts to change, all of which set the same alarm; no longer than
    `until`, in Trio's time. Nobody is silent whose bytes have come while this process was stopped.
    """
    due_at = min((watch.due_at for watch in watches), default=math.inf)
    with trio.move_on_at(min(until, due_at)):
        await changed.wait()
    await listen_if_late(due_at)
    for watch in watches:
        watch.check()
