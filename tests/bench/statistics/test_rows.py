"""From samples to rows, and when there are enough of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest

from bench.load.histogram import Histogram
from bench.statistics.rows import needs_more, rounds_of, rows_of
from bench.suite.figures import Figure
from bench.suite.model import Bound, Censored, Memory, Row, Sample, Scenario
from bench.suite.scenarios import find_scenario
from tests.bench.suite.samples import HEADER, sample

RESAMPLES = 200


def rounds(peer: str, cpu_us: Sequence[float], **fields: Any) -> list[Sample]:
    """One sample a round of what a token costs."""
    return [
        sample(peer=peer, repeat=repeat, cpu_s=each / 1_000, tokens=1_000, **fields)
        for repeat, each in enumerate(cpu_us)
    ]


def row_of(
    samples: list[Sample], figure: Figure, peer: str = "parshall", bounds: Bound | None = None
) -> Row:
    header = dataclasses.replace(
        HEADER, figures={"paced": (figure,)}, bounds={"paced": bounds} if bounds else {}
    )
    found = [row for row in rows_of(header, samples, resamples=RESAMPLES) if row.peer == peer]
    assert len(found) == 1
    return found[0]


def test_a_figure_with_its_interval_and_ratios() -> None:
    samples = rounds("nginx", [15, 16, 14, 15]) + rounds("parshall", [45, 48, 42, 45])
    row = row_of(samples, "cpu_us_per_token")
    assert row.interval is not None
    assert row.interval.middle == pytest.approx(45)
    assert row.interval.n == 4
    assert row.ratio_to.keys() == {"nginx"}
    assert row.ratio_to["nginx"].middle == pytest.approx(3)
    assert row.ratio_to["nginx"].high == pytest.approx(3), "what a round does to both cancels out"
    assert row.note == ""


def test_ratios_are_of_equal_loads_only() -> None:
    samples = rounds("litellm", [900] * 4, rate_max=400.0) + rounds("parshall", [45] * 4)
    assert row_of(samples, "cpu_us_per_token", "litellm").ratio_to == {}
    row = row_of(samples + rounds("nginx", [30] * 4, rate_max=400.0), "cpu_us_per_token", "litellm")
    assert row.ratio_to["nginx"].middle == pytest.approx(30)
    assert row.rate_max == 400


def test_ratios_are_of_rounds_that_both_have() -> None:
    ours = rounds("parshall", [40, 50, 60, 70, 80])
    theirs = rounds("nginx", [4, 5, 6, 7])
    assert row_of(ours + theirs, "cpu_us_per_token").ratio_to["nginx"].middle == pytest.approx(10)


def test_three_rounds_are_said_to_be_too_few() -> None:
    row = row_of(rounds("parshall", [50, 51, 52]), "cpu_us_per_token")
    assert row.interval is None
    assert row.note == "3 of the 4 rounds that an interval takes"


def test_refused_rounds_are_said_and_not_counted() -> None:
    samples = rounds("parshall", [50] * 6)
    for place in (1, 4):
        samples[place] = dataclasses.replace(samples[place], cpu_s=9.0, refused="machine is busy")
    row = row_of(samples, "cpu_us_per_token")
    assert row.interval is not None
    assert row.interval.middle == pytest.approx(50)
    assert row.interval.n == 4
    assert row.note == "2 of 6 rounds refused: machine is busy"


def test_rounds_that_came_late_are_missing_from_figures_of_time_alone() -> None:
    samples = rounds("parshall", [50] * 6)
    samples[1] = dataclasses.replace(samples[1], late="the load was late")
    assert row_of(samples, "cpu_us_per_token").note == ""
    assert row_of(samples, "tokens_per_s").note == "1 of 6 rounds refused: the load was late"


def test_a_late_window_stands_until_a_sound_one_repeats_it() -> None:
    samples = rounds("parshall", [50] * 4)
    refused = dataclasses.replace(samples[2], refused="machine is busy")
    late = dataclasses.replace(samples[2], late="the load was late")
    assert found_at(2, [*samples[:2], late, refused]) == late
    assert found_at(2, [*samples[:2], refused, late]) == late
    assert found_at(2, [*samples[:2], late, samples[2]]) == samples[2]


def found_at(repeat: int, samples: list[Sample]) -> Sample:
    return next(iter(rounds_of(samples).values()))[repeat][0]


def test_a_peer_that_was_always_refused_has_a_reason_and_no_figure() -> None:
    row = row_of(rounds("parshall", [50] * 4, refused="machine is busy"), "cpu_us_per_token")
    assert row.interval is None
    assert row.note == "4 of 4 rounds refused: machine is busy"


def test_a_window_that_was_repeated_replaces_the_refused_one() -> None:
    samples = rounds("parshall", [50] * 4)
    refused = dataclasses.replace(samples[2], refused="machine is busy")
    for order in ([refused, *samples], [*samples, refused]):
        found = rounds_of(order)
        assert [each[0].refused for each in next(iter(found.values())).values()] == [""] * 4


def test_processes_that_cannot_be_seen() -> None:
    samples = [dataclasses.replace(each, cpu_s=None) for each in rounds("url", [1] * 4)]
    row = row_of(samples, "cpu_us_per_token", "url")
    assert (row.interval, row.note) == (None, "its processes cannot be seen")


def test_a_cancel_that_never_comes_is_said() -> None:
    never = Censored(Histogram([3.0]), never=9, limit_ms=5_000.0)
    soon = Censored(Histogram([3.0]), never=0, limit_ms=5_000.0)
    samples = rounds("portkey", [1] * 3, cancel_ms=never) + rounds("portkey", [1] * 4)[3:]
    samples[3] = dataclasses.replace(samples[3], cancel_ms=soon)
    row = row_of(samples, "cancel_p50_ms", "portkey")
    assert (row.interval, row.note) == (None, "not within 5 s in 3 of 4 rounds")
    share = row_of(samples, "cancel_never_share", "portkey").interval
    assert share is not None
    assert share.middle == pytest.approx(0.675)


def test_memory_says_rss_too() -> None:
    samples = [
        sample(repeat=repeat, step=n, streams=n, memory=Memory(n * 2048, n * 1024, 1))
        for repeat in range(4)
        for n in (10, 20, 40)
    ]
    row = row_of(samples, "memory_kib_per_stream")
    assert row.interval is not None
    assert row.interval.middle == pytest.approx(1)
    assert row.note == "of RSS 2.0 KiB"


@pytest.mark.parametrize(
    ("refused", "note"),
    [
        ("", "at least, in 4 of 4 rounds: all steps were kept"),
        ("the load was at its limit", "at least, in 4 of 4 rounds: the load was at its limit"),
    ],
)
def test_streams_sustained_can_be_a_lower_bound(refused: str, note: str) -> None:
    samples = [
        sample(repeat=repeat, step=n, streams=n, refused=refused if n == 100 else "")
        for repeat in range(4)
        for n in (50, 100)
    ]
    row = row_of(samples, "streams_sustained", bounds=Bound(lateness_p99_ms=50))
    assert row.interval is not None
    assert row.interval.middle == (50 if refused else 100)
    assert row.note == note


def test_what_is_added_is_not_asked_of_direct() -> None:
    header = dataclasses.replace(HEADER, figures={"paced": ("added_first_token_p50_ms",)})
    samples = rounds("direct", [1] * 4) + rounds("parshall", [50] * 4)
    assert [row.peer for row in rows_of(header, samples, resamples=RESAMPLES)] == ["parshall"]


def test_a_header_that_names_no_figures_gets_all_there_are() -> None:
    rows = rows_of(HEADER, rounds("parshall", [50] * 4), resamples=RESAMPLES)
    figures = {row.figure for row in rows}
    assert {"cpu_us_per_token", "lateness_p99_ms", "errors_share"} <= figures
    assert "memory_kib_per_stream" not in figures


# -- enough rounds ------------------------------------------------------------------------------

PACED: Scenario = find_scenario("paced")


def noisy(peer: str, spread: float, count: int, **fields: Any) -> list[Sample]:
    """Rounds of which every second is off by `spread` to either side."""
    return rounds(peer, [50 * (1 + spread * (-1) ** each) for each in range(count)], **fields)


@pytest.mark.parametrize(
    ("spread", "count", "more"),
    [
        (0.0, 1, True),
        (0.0, 3, True),
        (0.0, 4, False),
        (0.05, 4, True),
        (0.05, 8, False),
        (0.2, 8, True),
        (0.2, 13, True),
        (0.2, 14, False),
    ],
)
def test_rounds_go_on_until_the_interval_is_narrow(spread: float, count: int, more: bool) -> None:
    wanting = needs_more(PACED, noisy("parshall", spread, count))
    assert wanting == ({("parshall", 0.0)} if more else set())


def test_whom_a_peer_is_compared_with_goes_on_with_it_at_its_load() -> None:
    samples = noisy("smg", 0.2, 8)
    for peer in ("direct", "nginx", "parshall", "portkey"):
        samples += noisy(peer, 0.0, 8)
    samples += noisy("parshall", 0.0, 8, rate_max=400.0)
    wanting = needs_more(PACED, samples)
    assert wanting == {(peer, 0.0) for peer in ("smg", "direct", "nginx", "parshall")}


def test_a_peer_whose_processes_cannot_be_seen_takes_all_repeats_and_no_more() -> None:
    unseen = [dataclasses.replace(each, cpu_s=None) for each in noisy("url", 0.0, 8)]
    assert needs_more(PACED, unseen[:7]) == {("url", 0.0)}
    assert needs_more(PACED, unseen) == set()


def test_direct_goes_on_for_others_only() -> None:
    direct = noisy("direct", 0.2, 8)
    assert needs_more(PACED, direct + noisy("parshall", 0.0, 8)) == set()
    assert needs_more(PACED, direct) == {("direct", 0.0)}, "where it is all there is"


def test_other_scenarios_have_no_part_in_it() -> None:
    chance = random.Random(1)
    other = [
        dataclasses.replace(each, scenario="mixed")
        for each in rounds("parshall", [chance.uniform(1, 100) for _ in range(5)])
    ]
    assert needs_more(PACED, other) == set()
