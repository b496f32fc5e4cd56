"""What each figure is of one round."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.load.histogram import Histogram
from bench.statistics.values import keeps, memory_slope, value_of
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import Billing, Bound, Censored, ClosedLoop, Guards, Memory, Sample
from tests.bench.suite.samples import QUIET, sample

MS = Histogram([1.0, 2.0, 3.0, 10.0])
BOUND = Bound(lateness_p99_ms=50)

VALUES: list[tuple[Figure, dict[str, Any], float]] = [
    ("cpu_us_per_token", {"cpu_s": 0.6, "tokens": 12_000}, 50.0),
    ("cpu_us_per_token", {"cpu_s": None}, math.nan),
    ("cpu_us_per_token", {"tokens": 0}, math.nan),
    ("cpu_us_per_request", {"cpu_s": 0.2, "requests": 250}, 800.0),
    ("requests_per_s", {"closed": ClosedLoop(900, 2.0, None)}, 450.0),
    ("requests_per_s", {"closed": None}, math.nan),
    ("tokens_per_s", {"tokens": 12_000, "elapsed_s": 3.0}, 4_000.0),
    ("first_token_p50_ms", {"first_token_ms": MS}, 2.0),
    ("first_token_p90_ms", {"first_token_ms": MS}, 10.0),
    ("first_token_p99_ms", {"first_token_ms": Histogram()}, math.nan),
    ("lateness_p50_ms", {"lateness_ms": MS}, 2.0),
    ("lateness_p99_ms", {"lateness_ms": MS}, 10.0),
    ("gap_p50_ms", {"gap_ms": MS}, 2.0),
    ("gap_p99_ms", {"gap_ms": MS}, 10.0),
    ("stalls_per_1000_tokens", {"stalls": 3, "tokens": 1_500}, 2.0),
    ("memory_mib", {"memory": Memory(1, 80 << 20, 1)}, 80.0),
    ("memory_mib", {"memory": None}, math.nan),
    ("cancel_p50_ms", {"cancel_ms": Censored(MS, 0, 5_000.0)}, 2.0),
    ("cancel_p99_ms", {"cancel_ms": Censored(MS, 1, 5_000.0)}, math.inf),
    ("cancel_never_share", {"cancel_ms": Censored(MS, 1, 5_000.0)}, 0.2),
    (
        "tokens_after_leaving",
        {"cancel_ms": Censored(MS, 1, 5_000.0), "tokens_after_leaving": 15},
        3.0,
    ),
    ("billing_error_share", {"billed": Billing(60, 1, 4_800, 4_790, 12, 5)}, 0.0025),
    ("billing_error_share", {"billed": None}, math.nan),
    ("errors_share", {"errors": {"unanswered": 1}, "requests": 5, "streams": 4}, 0.1),
    ("errors_share", {"errors": {}, "requests": 0, "streams": 0}, math.nan),
]


@pytest.mark.parametrize(("figure", "fields", "value"), VALUES)
def test_of_one_window(figure: Figure, fields: dict[str, Any], value: float) -> None:
    found = value_of(figure, [sample(**fields)])
    assert found == pytest.approx(value, rel=0.006, nan_ok=True)


@pytest.mark.parametrize("figure", FIGURES)
def test_a_refused_sample_has_no_figure(figure: Figure) -> None:
    refused = sample(refused="the machine was busy")
    assert math.isnan(value_of(figure, [refused], [sample()], BOUND))


@pytest.mark.parametrize(
    ("figure", "field"),
    [("added_first_token_p50_ms", "first_token_ms"), ("added_latency_p50_ms", "latency_ms")],
)
def test_what_is_added_is_the_difference_to_direct(figure: Figure, field: str) -> None:
    ours, direct = (sample(**{field: Histogram([at] * 9)}) for at in (7.5, 5.0))
    assert value_of(figure, [ours], [direct]) == pytest.approx(2.5)
    assert value_of(figure, [direct], [ours]) == pytest.approx(-2.5)


def test_a_late_sample_has_figures_but_for_those_of_time() -> None:
    late = sample(late="the load generator itself was late")
    sound = sample()
    costs: list[Figure] = ["cpu_us_per_token", "memory_mib", "billing_error_share", "errors_share"]
    for figure in costs:
        assert value_of(figure, [late], [late], None) == value_of(figure, [sound], [sound], None)
    times: list[Figure] = ["first_token_p50_ms", "added_latency_p99_ms", "cancel_p50_ms"]
    for figure in times:
        assert math.isnan(value_of(figure, [late], [sound], None))


def test_nothing_is_added_to_a_round_that_direct_was_refused_in() -> None:
    assert math.isnan(value_of("added_first_token_p50_ms", [sample()]))
    refused = sample(refused="the machine was busy")
    assert math.isnan(value_of("added_first_token_p50_ms", [sample()], [refused]))


# -- over steps ---------------------------------------------------------------------------------


def steps(
    kib: float, base_mib: int = 60, numbers: tuple[int, ...] = (50, 100, 200)
) -> list[Sample]:
    return [
        sample(
            step=count,
            streams=count,
            memory=Memory(
                2 * int(kib * 1024 * count), (base_mib << 20) + int(kib * 1024 * count), 1
            ),
        )
        for count in numbers
    ]


def test_memory_a_stream_is_the_slope_and_not_the_base() -> None:
    assert value_of("memory_kib_per_stream", steps(44)) == pytest.approx(44)
    assert memory_slope(steps(44), "rss_bytes") == pytest.approx(88 * 1024)
    assert value_of("memory_mib", steps(1024)) == pytest.approx(260), "of the last step"


def test_two_numbers_of_streams_are_no_slope() -> None:
    assert math.isnan(value_of("memory_kib_per_stream", steps(44, numbers=(50, 100))))
    assert math.isnan(value_of("memory_kib_per_stream", [sample(memory=None)] * 4))


def late(step: int, late_ms: float, **fields: Any) -> Sample:
    return sample(step=step, streams=step, lateness_ms=Histogram([late_ms]), **fields)


def test_sustained_is_the_last_step_before_one_that_breaks_the_bound() -> None:
    samples = [late(50, 3), late(100, 20), late(200, 80), late(400, 3)]
    assert value_of("streams_sustained", samples, bound=BOUND) == 100
    assert value_of("streams_sustained", samples[2:], bound=BOUND) == 0


def test_a_refusal_ends_the_search() -> None:
    samples = [late(50, 3), late(100, 3, refused="the load was at its limit"), late(200, 3)]
    assert value_of("streams_sustained", samples, bound=BOUND) == 50
    assert math.isnan(value_of("streams_sustained", samples[1:], bound=BOUND))


def test_what_streams_cost_is_of_the_greatest_number_that_was_sustained() -> None:
    samples = [
        late(50, 3, cpu_s=0.3, tokens=3_000),
        late(100, 3, cpu_s=0.5, tokens=6_000),
        late(200, 99, cpu_s=3.0, tokens=9_000),
    ]
    cost = value_of("cpu_us_per_token", samples, bound=BOUND)
    assert cost == pytest.approx(83.3, abs=0.1)


@pytest.mark.parametrize(
    "fields",
    [
        {"lateness_ms": Histogram([51.0])},
        {"stalls": 1},
        {"errors": {"reset": 1}},
        {"guards": Guards(0.3, 0.4, 0.3, 5.0, 0.0, 0.0, 0.97, 41.5)},
    ],
)
def test_any_part_of_a_bound_can_break(fields: dict[str, Any]) -> None:
    assert keeps(BOUND, sample(guards=QUIET))
    assert not keeps(BOUND, sample(**fields))
