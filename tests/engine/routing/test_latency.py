"""The mean of late and the quantiles of first tokens, by plain numbers."""

from __future__ import annotations

import math
import random

import pytest

from engine.routing.latency import PeakEwma, Quantiles


def test_a_slow_answer_counts_at_once_and_a_quick_one_by_and_by() -> None:
    latency = PeakEwma()
    latency.note(100.0, 0.2)
    latency.note(100.0, 2.0)
    assert latency.mean_s(100.0) == 2.0
    latency.note(110.0, 0.2)
    assert latency.mean_s(110.0) == pytest.approx(0.2 + 1.8 / math.e)


def test_it_is_forgotten_while_nothing_comes() -> None:
    latency = PeakEwma()
    latency.note(100.0, 2.0)
    assert latency.mean_s(110.0) == pytest.approx(2.0 / math.e)
    assert latency.mean_s(160.0) < 0.01


def test_who_is_busier_costs_more() -> None:
    latency = PeakEwma()
    latency.note(100.0, 0.5)
    assert [latency.cost(100.0, busy) for busy in (0, 1, 3)] == [0.5, 1.0, 2.0]


def test_what_is_not_known_is_tried_by_one_at_a_time() -> None:
    known, unknown = PeakEwma(), PeakEwma()
    known.note(100.0, 10.0)
    assert unknown.cost(100.0, 0) < known.cost(100.0, 0)
    assert unknown.cost(100.0, 1) > known.cost(100.0, 50)


def test_too_few_samples_say_nothing() -> None:
    quantiles = Quantiles()
    for _ in range(19):
        quantiles.note(0.1)
    assert quantiles.quantile_s(0.95) is None
    quantiles.note(0.1)
    assert quantiles.quantile_s(0.95) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_a_quantile_is_that_of_the_samples_to_a_tenth(seed: int) -> None:
    chance = random.Random(seed)
    samples = [chance.lognormvariate(-2.0, 0.7) for _ in range(500)]
    quantiles = Quantiles()
    for taken_s in samples:
        quantiles.note(taken_s)
    for share in (0.5, 0.9, 0.95):
        exact_s = sorted(samples)[math.ceil(share * len(samples)) - 1]
        found_s = quantiles.quantile_s(share)
        assert found_s is not None
        assert exact_s <= found_s <= exact_s * 1.1 + 0.001, f"seed {seed}, {share}"


def test_what_was_long_ago_counts_for_less_and_less() -> None:
    quantiles = Quantiles()
    for _ in range(2_000):
        quantiles.note(0.1)
    for _ in range(400):
        quantiles.note(1.0)
    middle_s = quantiles.quantile_s(0.5)
    assert middle_s == pytest.approx(1.0, rel=0.1), "400 new ones against 256 at most of before"


def test_times_out_of_range_are_at_its_ends() -> None:
    quantiles = Quantiles()
    for _ in range(20):
        quantiles.note(0.0)
    assert quantiles.quantile_s(0.5) == 0.001
    for _ in range(100):
        quantiles.note(10_000.0)
    late_s = quantiles.quantile_s(0.95)
    assert late_s is not None
    assert 100.0 < late_s < 200.0
