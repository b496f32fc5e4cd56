"""A sample that something else than the gateway has spoilt says what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.suite.guards import Flaws, flaws
from bench.suite.model import Guards

QUIET = Guards(
    load_core=0.4,
    load_lag_p99_ms=1.0,
    simulator_core=0.4,
    simulator_late_p99_ms=6.0,
    steal=0.01,
    foreign_cores=0.05,
    pace=0.5,
    calibration_ms=17.0,
)


@pytest.mark.parametrize("shared_core", [True, False])
def test_a_quiet_machine_spoils_nothing(shared_core: bool) -> None:
    # A slow gateway is no reason: its pace is what is measured.
    assert flaws(QUIET, shared_core=shared_core, direct=False) == Flaws("", "")


def test_the_direct_way_has_to_keep_pace() -> None:
    assert flaws(QUIET, shared_core=True, direct=True) == Flaws(
        refused="", late="without a gateway only 50% of the due tokens came"
    )
    assert not any(flaws(replace(QUIET, pace=0.99), shared_core=True, direct=True))


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (replace(QUIET, load_core=0.71), "load generator was at its limit: 0.71"),
        (replace(QUIET, simulator_core=0.9), "provider was at its limit: 0.90"),
        (replace(QUIET, load_lag_p99_ms=51), "load generator itself was late: p99 51.0 ms"),
        (replace(QUIET, simulator_late_p99_ms=60), "provider was late: p99 60.0 ms"),
        (replace(QUIET, steal=0.2), "took 20% of the CPU time away"),
        (replace(QUIET, foreign_cores=0.4), "the machine is busy: other processes took 0.40"),
    ],
)
def test_each_reason_is_said(spoilt: Guards, reason: str) -> None:
    assert reason in flaws(spoilt, shared_core=False, direct=False).refused


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (replace(QUIET, load_lag_p99_ms=5.5), "load generator itself was late: p99 5.5 ms"),
        (replace(QUIET, simulator_late_p99_ms=12), "provider was late: p99 12.0 ms"),
    ],
)
def test_a_benchmark_that_is_a_little_late_spoils_only_times(spoilt: Guards, reason: str) -> None:
    refused, late = flaws(spoilt, shared_core=False, direct=False)
    assert refused == ""
    assert reason in late


def test_what_shares_a_core_is_added_up() -> None:
    both = replace(QUIET, load_core=0.5, simulator_core=0.5)
    assert "0.50 + 0.50" in flaws(both, shared_core=True, direct=False).refused
    assert not any(flaws(both, shared_core=False, direct=False))


def test_all_reasons_are_said_together() -> None:
    spoilt = replace(QUIET, steal=0.5, foreign_cores=1.0)
    assert flaws(spoilt, shared_core=False, direct=False).refused.count("; ") == 1
