"""Cancel a scenario at its first, second, … last step, in two ways; the order of tasks is seeded.

Trio delivers a cancellation at a checkpoint. Cancelling just *before* a task runs reaches it with
what it waited for already in its hands; cancelling just *after* it has gone to wait reaches it in
the wait. Between the two lies every place where a cancellation can fall.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import trio
import trio.lowlevel
from trio._core import _run

_STEPS_MAX: Final = 10_000
"""A scenario with more steps does not end."""

_MISSES_MAX: Final = 3
"""Runs that ended before their step came: sockets make some runs shorter than others."""

When = Literal["before", "after"]
Whose = Literal["own", "any"]


class CancelAt(trio.abc.Instrument):
    """Cancels `scope` at the k-th step of the task it was made in, or of any task."""

    def __init__(self, scope: trio.CancelScope, step: int, when: When, whose: Whose) -> None:
        self.fired = False
        self.where = ""
        self._scope = scope
        self._step = step
        self._when = when
        self._task = trio.lowlevel.current_task()
        self._any_task = whose == "any"
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._any_task or task is self._task:
            self._steps += 1
            self._fire("before")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._any_task or task is self._task:
            self._fire("after")

    def _fire(self, when: When) -> None:
        if when == self._when and self._steps == self._step and not self.fired:
            self.fired = True
            frames = list(self._task.iter_await_frames())
            self.where = " < ".join(f"{f.f_code.co_name}:{line}" for f, line in frames[:0:-1][:4])
            self._scope.cancel()


@dataclass(frozen=True, slots=True)
class CancelPoint:
    """Where a cancellation fell, for the message of a failure."""

    step: int
    when: When
    where: str
    seed: int

    def __str__(self) -> str:
        return f"cancelled {self.when} step {self.step} (seed {self.seed}): {self.where}"


async def cancel_everywhere(
    scenario: Callable[[], Awaitable[Any]],
    check: Callable[[CancelPoint], Awaitable[None]],
    *,
    seed: int,
    whose: Whose = "any",
) -> int:
    """Run a scenario again and again, cancelled one step later each time.

    Steps of any task count, so that a cancellation also falls between what others do; or only the
    scenario's own. `check` follows each run, with the place of the cancellation. The last runs of
    each kind are not cancelled any more. Returns how many cancellations there were.
    """
    points = 0
    with seeded_scheduler(seed):
        for when in ("before", "after"):
            misses = 0
            for step in range(1, _STEPS_MAX):
                canceller = await _run_once(scenario, step, when, whose)
                await check(CancelPoint(step, when, canceller.where, seed))
                points += canceller.fired
                misses = 0 if canceller.fired else misses + 1
                if misses == _MISSES_MAX:
                    break
            else:
                raise AssertionError("the scenario does not end")
    return points


async def _run_once(
    scenario: Callable[[], Awaitable[Any]], step: int, when: When, whose: Whose
) -> CancelAt:
    with trio.CancelScope() as scope:
        canceller = CancelAt(scope, step, when, whose)
        trio.lowlevel.add_instrument(canceller)
        try:
            await scenario()
        finally:
            trio.lowlevel.remove_instrument(canceller)
    return canceller


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Trio picks the next task by chance: by this seed, for the block."""
    state, ours = _run._r.getstate(), random.Random(seed)
    flags, name = vars(_run), "_ALLOW_DETERMINISTIC_SCHEDULING"
    allowed, flags[name] = flags[name], True
    _run._r.setstate(ours.getstate())
    try:
        yield
    finally:
        _run._r.setstate(state)
        flags[name] = allowed
