"""How loaded a process is, as it measures itself."""

from __future__ import annotations

import mmap
import os

import pytest
import trio

from engine.load import Load, LoopLag, available_memory_bytes

LIMIT_S = 0.1


class Turns:
    """A loop whose turns take as long as they are told to."""

    def __init__(self, watched_s: float) -> None:
        self.now = 0.0
        self.lag = LoopLag(lambda: self.now)
        self.lag.watch(watched_s)

    def turn(self, lasted_s: float, then_idle_s: float = 0.0, late_s: float = 0.0) -> None:
        self.now += lasted_s
        self.lag.before_io_wait(then_idle_s)
        self.now += then_idle_s + late_s
        self.lag.after_io_wait(then_idle_s)


def test_a_calm_loop_has_no_lag() -> None:
    turns = Turns(LIMIT_S)
    for _ in range(1_000):
        turns.turn(0.0005, then_idle_s=0.01)

    assert turns.lag.seconds == 0


def test_one_long_turn_is_no_overload() -> None:
    turns = Turns(LIMIT_S)
    turns.turn(0.4)
    assert turns.lag.seconds > LIMIT_S
    turns.turn(0.001, then_idle_s=1.0)

    assert turns.lag.seconds < LIMIT_S
    assert turns.lag.above_s(LIMIT_S) == 0


def test_turns_that_stay_long_are_one() -> None:
    turns = Turns(LIMIT_S)
    while turns.now < 2:
        turns.turn(0.2)

    assert turns.lag.seconds == pytest.approx(0.2, abs=0.01)
    assert turns.lag.above_s(LIMIT_S) >= 1.0


def test_a_loop_that_is_woken_too_late_lags() -> None:
    turns = Turns(LIMIT_S)
    while turns.now < 2:
        turns.turn(0.001, then_idle_s=0.01, late_s=0.3)

    assert turns.lag.above_s(LIMIT_S) >= 1.0


async def test_a_loop_is_measured_where_it_runs() -> None:
    now = 0.0
    load = Load(lambda: now)
    load.lag.watch(LIMIT_S)
    with load.measured():
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            now += 0.2  # this step of ours takes long
        await trio.lowlevel.checkpoint()
    assert load.lag.seconds > LIMIT_S
    before = load.lag.seconds
    now += 100
    await trio.lowlevel.checkpoint()
    assert load.lag.seconds == before, "measured no more"


def test_memory_is_read_once_a_second() -> None:
    now = 0.0
    load = Load(lambda: now)
    first = load.memory_bytes()
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # pages of its own, not what others have freed
    with mmap.mmap(-1, 50_000_000, flags=private) as ballast:
        ballast.write(bytes(len(ballast)))
        assert load.memory_bytes() == first
        now = 1.0
        assert load.memory_bytes() >= first + len(ballast) // 2


def test_a_process_may_take_no_more_than_the_machine_has() -> None:
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < (available_memory_bytes() or 0) <= machine_bytes
