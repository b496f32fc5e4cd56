"""A run over real sockets and processes: who takes part, in which order, and what is left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers import ROWS
from bench.peers.row import Nothing, Program
from bench.statistics.bootstrap import ROUNDS_MIN
from bench.statistics.compare import Run, judge
from bench.suite.model import Sample, Scenario
from bench.suite.run import Settings, choose, header_of, repeated, run_scenarios
from bench.suite.scenarios import find_scenario, parse_scenario
from tests.bench.peers.slowed import SLOWED

TINY = """
title = "tiny"
kind = "streams"
figures = ["cpu_us_per_token", "added_first_token_p50_ms", "errors_share"]
warm_s = 0.1
measure_s = 0.2
repeats = 2
repeats_max = 2
[arrivals]
process = "uniform"
rate_per_s = 200
count_max = 10
[[traffic]]
tokens_per_second = 40
first_token_ms = [0, 25]
[probe]
rate_per_s = 30
tokens = 3
measure_s = 0.2
"""
DIRECT = ROWS["direct"]
BROKEN = replace(
    ROWS["nginx-http2"],
    name="broken",
    install=Nothing(),
    program=Program(("false",)),
    tokens_per_s_max=200.0,
)


SPEAKS_HTTP1 = replace(BROKEN, name="portkey", http=frozenset({"http1"}))


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rounds: list[int] = []
        self.ended = 0

    def begin(self, scenario: str, expected_s: float) -> None:
        assert expected_s > 0

    def round(self, number: int) -> None:
        self.rounds.append(number)

    def advance(self, seconds: float, peer: str) -> None:
        pass

    def end(self) -> None:
        self.ended += 1

    def say(self, line: str) -> None:
        pass

    def note(self, line: str) -> None:
        self.lines.append(line)


def test_a_peer_that_does_not_start_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    tiny, told = parse_scenario('http = "http2"\n' + TINY, "tiny.toml"), Told()
    peers = choose([DIRECT, BROKEN, SPEAKS_HTTP1], tmp_path)
    samples = list(run_scenarios([tiny], peers, Settings(tmp_path, noisy=True), told))

    # At full load, and at that of the weaker peer, which was to be compared with it.
    assert sorted({(sample.peer, sample.rate_max) for sample in samples}) == [
        ("direct", 0.0),
        ("direct", 200.0),
    ]
    assert [sample.repeat for sample in samples] == [0, 0, 1, 1]
    # A machine that stalls may let some of these short windows pass without a token.
    assert sum(sample.tokens for sample in samples) > 0
    assert sum(sample.first_token_ms.count for sample in samples) > 0
    assert all(sample.errors.keys() <= {"unanswered"} for sample in samples)
    assert (told.rounds, told.ended) == ([1, 2], 1)
    unspoken, without = told.lines
    assert unspoken == "tiny: without portkey: it does not speak http2 with clients"
    assert without.startswith("tiny: without broken: broken ended at once")


def test_a_budget_that_is_too_small_is_said(tmp_path: Path) -> None:
    tiny, told = parse_scenario(TINY, "tiny.toml"), Told()
    settings = Settings(tmp_path, budget_s=0.1)
    assert list(run_scenarios([tiny], choose([DIRECT], tmp_path), settings, told)) == []
    assert told.lines == ["tiny: not measured, as the budget ends"]


def test_a_patient_run_waits_for_its_host_beside_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("guards", "run"):  # whatever it takes is too much
        monkeypatch.setattr(f"bench.suite.{module}.STEAL_MAX", -1.0)
    waits: list[float] = []

    def wait_calm() -> float:
        waits.append(600.0)
        return 600.0

    tiny, told = parse_scenario(TINY, "tiny.toml"), Told()
    settings = Settings(tmp_path, budget_s=60, wait_calm=wait_calm)
    samples = list(run_scenarios([tiny], choose([DIRECT], tmp_path), settings, told))

    # One sample, and once more, as it was refused; then there is no use in going on.
    assert len(waits) == len(samples) == 2
    *waited, given_up = told.lines
    assert waited == ["tiny: waited 10 min for the machine's host"] * 2
    assert given_up.startswith("tiny: given up, since every sample of a round was refused")


def test_samples_that_are_kept_all_the_same_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("guards", "run"):
        monkeypatch.setattr(f"bench.suite.{module}.STEAL_MAX", -1.0)

    def wait_calm() -> float:
        raise AssertionError("nothing was refused")

    tiny = parse_scenario(TINY, "tiny.toml")
    settings = Settings(tmp_path, budget_s=60, noisy=True, wait_calm=wait_calm)
    samples = list(run_scenarios([tiny], choose([DIRECT], tmp_path), settings, Told()))
    assert samples
    assert all(sample.sound for sample in samples)


def test_a_number_of_rounds_does_not_make_it_another_scenario(tmp_path: Path) -> None:
    paced = find_scenario("paced")
    five = repeated(paced, 5)
    assert (five.repeats, five.repeats_max, five.digest) == (5, 5, paced.digest)
    assert repeated(paced, None) is paced
    header = header_of([five], choose([DIRECT], tmp_path), Settings(tmp_path))
    assert header.digests == {"paced": paced.digest}
    assert header.figures == {"paced": paced.figures}


# -- what it is for -----------------------------------------------------------------------------


SHORT = replace(find_scenario("paced"), warm_s=0.5, measure_s=1.5, probe=None, digest="short")


def measured(scenario: Scenario, prelude: str, home: Path) -> Run:
    scenario = replace(
        scenario,
        figures=("cpu_us_per_token", "lateness_p99_ms"),
        repeats=5,
        repeats_max=5,
    )
    settings = Settings(home)
    peers = choose([DIRECT, replace(ROWS["parshall"], prelude=prelude)], home)
    samples: list[Sample] = list(run_scenarios([scenario], peers, settings, Told()))
    if sum(not sample.refused for sample in samples) < 2 * ROUNDS_MIN:
        pytest.skip("the machine is too busy to be measured on")
    return Run(header_of([scenario], peers, settings), samples)


@pytest.mark.long
def test_a_slowed_gateway_is_told_from_an_unchanged_one(tmp_path: Path) -> None:
    before = measured(SHORT, "", tmp_path)
    again = measured(SHORT, "", tmp_path)
    slowed = measured(SHORT, SLOWED, tmp_path)
    unchanged, changed = judge(before, again), judge(before, slowed)
    assert unchanged.exit_status == 0, unchanged
    assert changed.exit_status == 1, changed
    [cost] = [
        verdict
        for verdict in changed.verdicts
        if verdict.peer == "parshall" and verdict.figure == "cpu_us_per_token"
    ]
    assert cost.outcome == "slower"
    assert cost.ratio is not None
    assert cost.ratio.middle > 2
    assert math.isfinite(cost.noise)
