"""The timer wheel by the mock clock."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from bench.load.histogram import Histogram
from bench.simulate.wheel import TimerWheel


class Sleeper:
    """Notes when it is woken, and does what it was told then."""

    def __init__(self, then: Callable[[float], None] | None = None) -> None:
        self.woken: list[float] = []
        self.then = then
        self.crashed = False
        self.flushed = 0

    def wake(self, now_s: float) -> None:
        self.woken.append(now_s)
        if self.then is not None:
            self.then(now_s)

    def crash(self) -> None:
        self.crashed = True

    def flush(self) -> None:
        self.flushed += 1


async def test_wakes_within_a_tick_and_never_early(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = TimerWheel(tick_s=0.01)
    nursery.start_soon(wheel.run)
    chance = random.Random(5)
    begin_s = trio.current_time()
    sleepers = [(Sleeper(), begin_s + chance.uniform(0, 3)) for _ in range(500)]
    for sleeper, at_s in sleepers:
        wheel.schedule(sleeper, at_s)
    await trio.sleep(4)
    for sleeper, at_s in sleepers:
        (woken_s,) = sleeper.woken
        assert at_s - 1e-9 <= woken_s <= at_s + 0.01 + 1e-9
    assert len(wheel) == 0


async def test_an_absolute_schedule_does_not_drift(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = TimerWheel(tick_s=0.01)
    nursery.start_soon(wheel.run)
    begin_s = trio.current_time()

    def again(_now_s: float) -> None:
        if len(sleeper.woken) < 1_000:
            wheel.schedule(sleeper, begin_s + len(sleeper.woken) * 0.0333)

    sleeper = Sleeper(again)
    wheel.schedule(sleeper, begin_s)
    await trio.sleep(60)
    assert len(sleeper.woken) == 1_000
    assert abs(sleeper.woken[-1] - begin_s - 999 * 0.0333) <= 0.01 + 1e-9


async def test_an_earlier_time_wakes_a_sleeping_wheel(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = TimerWheel(tick_s=0.01)
    nursery.start_soon(wheel.run)
    late, soon = Sleeper(), Sleeper()
    begin_s = trio.current_time()
    wheel.schedule(late, begin_s + 100)
    await trio.sleep(1)
    wheel.schedule(soon, begin_s + 2)
    await trio.sleep(2)
    assert soon.woken
    assert not late.woken


def test_scheduling_again_moves_and_discarding_forgets() -> None:
    wheel = TimerWheel(tick_s=0.01)
    moved, gone = Sleeper(), Sleeper()
    wheel.schedule(moved, 1.0)
    wheel.schedule(moved, 2.0)
    wheel.schedule(gone, 1.0)
    wheel.discard(gone)
    wheel.discard(gone)
    assert wheel.holds(moved)
    assert not wheel.holds(gone)
    wheel.turn(1.5)
    assert (moved.woken, gone.woken) == ([], [])
    wheel.turn(2.0)
    assert moved.woken == [2.0]


def test_one_wake_may_discard_another_of_its_tick() -> None:
    wheel = TimerWheel(tick_s=0.01)
    second = Sleeper()
    first = Sleeper(lambda _now_s: wheel.discard(second))
    wheel.schedule(first, 1.0)
    wheel.schedule(second, 1.0)
    wheel.turn(1.0)
    assert first.woken
    assert not second.woken


def test_a_wake_that_asks_for_now_waits_for_the_next_tick() -> None:
    wheel = TimerWheel(tick_s=0.01)
    sleeper = Sleeper(lambda now_s: wheel.schedule(sleeper, now_s - 5))
    wheel.schedule(sleeper, 1.0)
    wheel.turn(1.0)
    assert len(sleeper.woken) == 1
    wheel.turn(1.01)
    assert len(sleeper.woken) == 2


async def test_each_connection_is_flushed_once_a_tick(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = TimerWheel(tick_s=0.01)
    nursery.start_soon(wheel.run)
    connection = Sleeper()
    for _ in range(100):
        wheel.schedule(Sleeper(lambda _now_s: wheel.touch(connection)), trio.current_time() + 1)
    await trio.sleep(2)
    assert connection.flushed == 1
    wheel.touch(connection)
    await trio.testing.wait_all_tasks_blocked()
    assert connection.flushed == 2


def test_a_failing_wake_is_contained(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_now_s: float) -> None:
        raise RuntimeError("broken reply")

    wheel = TimerWheel(tick_s=0.01)
    broken, sound = Sleeper(fail), Sleeper()
    wheel.schedule(broken, 1.0)
    wheel.schedule(sound, 1.0)
    wheel.turn(1.0)
    assert broken.crashed
    assert sound.woken
    assert wheel.crashes == 1
    assert "broken reply" in caplog.text


def test_counts_how_late_each_was_woken() -> None:
    wheel = TimerWheel(tick_s=0.01)
    for at_s in (0.02, 0.02, 0.05):
        wheel.schedule(Sleeper(), at_s)
    wheel.turn(0.06)
    assert list(wheel.late_ms.buckets()) == list(Histogram([40.0, 40.0, 10.0]).buckets())
