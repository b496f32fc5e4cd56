"""What is known of the machine that is measured on."""

from __future__ import annotations

import os

import pytest

from bench.suite.machine import Cores, calibration_ms, on_core, place, read_machine, read_usage


def test_what_a_machine_is() -> None:
    machine = read_machine()
    assert machine.cores == len(os.sched_getaffinity(0))
    assert machine.memory_bytes > 100_000_000
    assert machine.cpu
    assert machine.kernel[0].isdigit()


@pytest.mark.parametrize(
    ("available", "placed"),
    [
        ({7}, Cores(None, None, None)),
        ({2, 5}, Cores(2, 5, 5)),
        ({0, 1, 2, 3}, Cores(0, 1, 2)),
    ],
)
def test_a_gateway_has_a_core_of_its_own_where_there_are_two(
    available: set[int], placed: Cores
) -> None:
    assert place(frozenset(available)) == placed


def test_a_thread_comes_back_from_a_core() -> None:
    before = os.sched_getaffinity(0)
    with on_core(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_the_speed_now() -> None:
    assert calibration_ms(min(os.sched_getaffinity(0))) > 0


def test_what_the_host_takes_away() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    early = read_usage(f"cpu  {ticks} 0 0 {ticks} 0 0 0 0 0 0\ncpu0 1 2 3\n")
    late = read_usage(f"cpu  {3 * ticks} 0 0 {2 * ticks} 0 0 0 {ticks} 0 0\ncpu0 1 2 3\n")
    assert late.busy_s - early.busy_s == 2
    assert late.steal_since(early) == 0.25
    assert early.steal_since(early) == 0


def test_the_clock_of_the_machine_goes_on() -> None:
    early = read_usage()
    calibration_ms(None)
    assert read_usage().all_s >= early.all_s
