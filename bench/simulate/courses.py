"""How what takes its time goes on: it is where the clock and its polls have brought it.

Nothing runs: a job, a response in the background, a run or a batch is looked at, and then it is
known how far it has come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final, Literal

from bench.simulate.directives import Directives

CourseState = Literal[
    "waiting", "running", "succeeded", "failed", "expired", "blocked", "cancelled", "lost"
]

PROGRESS_MOST: Final = 99
"""In percent, of what still runs."""


@dataclass(slots=True, kw_only=True)
class Course:
    """One of them. Times are of `time.monotonic`, which other processes of this machine share.

    Attributes:
        polls: how often it was asked after; those that were to fail are `failed_polls`.
        ended_s: when it came to its first end; `succeeded_s`: to its success, if it has.
    """

    directives: Directives
    created_at: int = field(default_factory=lambda: int(time.time()))
    created_s: float = field(default_factory=time.monotonic)
    polls: int = 0
    failed_polls: int = 0
    ended_polls: int = 0
    cancelled: bool = False
    ended_s: float | None = None
    succeeded_s: float | None = None

    def poll(self) -> CourseState:
        """Somebody asks after it."""
        self.polls += 1
        state = self.state()
        late = self.directives.late_polls
        if self.ended_s is None or state == "succeeded":
            return state
        if late is not None and not self.cancelled and self.ended_polls >= late:
            self.succeeded_s = time.monotonic()
            return "succeeded"
        self.ended_polls += 1
        return state

    def state(self) -> CourseState:
        """Where it is by now."""
        if self.succeeded_s is not None:
            return "succeeded"
        if self.cancelled:
            return "cancelled"
        told, now_s = self.directives, time.monotonic()
        if not self._past(told.run_polls, told.run_s, now_s):
            return "waiting"
        if told.job == "never" or not self._past(told.end_polls, told.end_s, now_s):
            return "running"
        if self.ended_s is None:
            by_clock = self.created_s + max(told.run_s, told.end_s)
            polled = told.end_polls or told.run_polls
            self.ended_s = now_s if polled else by_clock
        if told.job == "succeeded":
            self.succeeded_s = self.ended_s
        return told.job

    def _past(self, polls: int, seconds: float, now_s: float) -> bool:
        """Both were enough; without polls to wait for, nobody has to ask."""
        return (not polls or self.polls > polls) and now_s >= self.created_s + seconds

    def cancel(self) -> CourseState:
        """Give it up, where it has not ended and does not ignore it."""
        if self.state() in ("waiting", "running") and self.directives.cancel == "done":
            self.cancelled = True
            self.ended_s = time.monotonic()
        return self.state()

    @property
    def over(self) -> bool:
        """It has ended, however."""
        return self.state() not in ("waiting", "running")

    @property
    def progress(self) -> int:
        """In percent, as it is told, or by the polls so far."""
        if self.directives.progress is not None:
            return self.directives.progress
        return min(PROGRESS_MOST, 100 * self.polls // (self.directives.end_polls + 1))
