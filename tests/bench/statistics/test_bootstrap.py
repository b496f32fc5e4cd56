"""Intervals that hold the truth as often as they say."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from bench.statistics.bootstrap import bootstrap, difference, paired_ratio, ratio
from bench.suite.model import Interval

ROUNDS = [50.1, 48.2, 55.0, 51.7, 49.9, 58.6, 52.3, 50.8]
COVERED = 0.95


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.low <= truth <= interval.high


def test_an_interval_lies_around_the_mean() -> None:
    interval = bootstrap(ROUNDS, seed=1)
    assert interval is not None
    assert interval.middle == pytest.approx(statistics.fmean(ROUNDS))
    assert 48 < interval.low < interval.middle < interval.high < 56
    assert interval.n == 8


def test_equal_seeds_give_equal_intervals() -> None:
    assert bootstrap(ROUNDS, seed=1) == bootstrap(list(ROUNDS), seed=1)
    assert bootstrap(ROUNDS, seed=1) != bootstrap(ROUNDS, seed=2)


def test_another_statistic() -> None:
    interval = bootstrap(ROUNDS, statistics.median, seed=1)
    assert interval is not None
    assert interval.middle == statistics.median(ROUNDS)


def test_three_rounds_are_too_few() -> None:
    assert bootstrap(ROUNDS[:3], seed=1) is None
    assert paired_ratio(ROUNDS[:3], ROUNDS[:3], seed=1) is None
    assert ratio(ROUNDS, ROUNDS[:3], seed=1) is None
    assert difference(ROUNDS[:3], ROUNDS, seed=1) is None


def test_rounds_that_agree_leave_no_doubt() -> None:
    assert bootstrap([7.0] * 5, seed=1) == Interval(7.0, 7.0, 7.0, n=5)


def test_what_a_round_does_to_both_cancels_out_of_a_paired_ratio() -> None:
    weather = [1.0, 1.3, 0.8, 1.1, 2.0]
    interval = paired_ratio([3 * w for w in weather], weather, seed=1)
    assert interval is not None
    assert interval.low == pytest.approx(3)
    assert interval.high == pytest.approx(3)


def test_only_positive_values_have_a_ratio() -> None:
    assert paired_ratio(ROUNDS, [0.0, *ROUNDS[1:]], seed=1) is None
    assert ratio([-1.0, *ROUNDS], ROUNDS, seed=1) is None


def test_pairs_are_of_equal_number() -> None:
    with pytest.raises(ValueError, match="8 and 7"):
        paired_ratio(ROUNDS, ROUNDS[1:], seed=1)


def test_a_difference_may_be_around_zero() -> None:
    interval = difference(ROUNDS, ROUNDS[::-1], seed=1)
    assert interval is not None
    assert interval.low < 0 < interval.high


@pytest.mark.parametrize("rounds", [4, 8])
def test_intervals_hold_the_truth_as_often_as_they_say(rounds: int) -> None:
    """Log-normal rounds with a spread of 9 %, that of a busy machine, 300 times."""
    chance, spread, times = random.Random(rounds), 0.09, 300
    held = paired = apart = 0
    for seed in range(times):
        mine, its = ([chance.lognormvariate(0, spread) for _ in range(rounds)] for _ in range(2))
        draws = seed % 4
        held += holds(bootstrap(mine, seed=draws, resamples=200), math.exp(spread**2 / 2))
        paired += holds(paired_ratio(mine, its, seed=draws, resamples=200), 1.0)
        apart += holds(ratio(mine, its, seed=draws, resamples=200), 1.0)
    for found in (held, paired, apart):
        assert found / times == pytest.approx(COVERED, abs=0.04), f"of {rounds} rounds"
