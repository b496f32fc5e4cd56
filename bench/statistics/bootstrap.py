"""Intervals from few rounds: the percentile bootstrap, widened for how few they are.

Resampling n values varies by √((n-1)/n) of what n new rounds would, and takes the spread of n
values for the true one: at eight rounds a plain 95 % interval holds the truth nine times in ten.
So both arms are stretched by Student's t to the normal quantile, and by √(n/(n-1)): T. Hesterberg,
"What Teachers Should Know About the Bootstrap" (2015), 3.2, who moves the percentiles instead,
which four values do not have.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from bench.statistics import student
from bench.suite.model import Interval

ROUNDS_MIN: Final = 4
"""Fewer rounds give no interval."""
RESAMPLES: Final = 2_000
LEVEL: Final = 0.95
_NORMAL: Final = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)

Draw = Callable[[Sequence[float]], tuple[float, ...]]
Statistic = Callable[[Sequence[float]], float]


def bootstrap(
    values: Sequence[float],
    statistic: Statistic = statistics.fmean,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """The statistic of these rounds and its interval; None of fewer than `ROUNDS_MIN`.

    Equal arguments give equal intervals. The interval of what is positive stays positive.
    """
    if len(values) < ROUNDS_MIN:
        return None
    draws = _draws(len(values), seed, resamples)
    drawn = [statistic(draw(values)) for draw in draws]
    return _interval(statistic(values), drawn, len(values), len(values) - 1)


def paired_ratio(
    ours: Sequence[float], theirs: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Mean to mean, of values that are paired by round: what a round did to both cancels out.

    None of fewer than `ROUNDS_MIN` pairs, and where a value is not positive.

    Raises:
        ValueError: there are more of one than of the other.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} values are not pairs")
    if len(ours) < ROUNDS_MIN or min(*ours, *theirs) <= 0:
        return None
    draws = _draws(len(ours), seed, resamples)
    drawn = [sum(draw(ours)) / sum(draw(theirs)) for draw in draws]
    return _interval(sum(ours) / sum(theirs), drawn, len(ours), len(ours) - 1)


def ratio(
    later: Sequence[float], earlier: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Mean to mean, of rounds that have nothing to do with one another: of two runs.

    None where either has fewer than `ROUNDS_MIN`, and where a value is not positive.
    """
    if min(len(later), len(earlier)) < ROUNDS_MIN or min(*later, *earlier) <= 0:
        return None
    middle = statistics.fmean(later) / statistics.fmean(earlier)
    pairs = _two_draws(later, earlier, seed, resamples)
    return _of_two(middle, [high / low for high, low in pairs], later, earlier)


def difference(
    later: Sequence[float], earlier: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Mean minus mean, as `ratio`, of values of any sign."""
    if min(len(later), len(earlier)) < ROUNDS_MIN:
        return None
    middle = statistics.fmean(later) - statistics.fmean(earlier)
    pairs = _two_draws(later, earlier, seed, resamples)
    return _of_two(middle, [high - low for high, low in pairs], later, earlier, signed=True)


def _two_draws(
    later: Sequence[float], earlier: Sequence[float], seed: int, resamples: int
) -> list[tuple[float, float]]:
    """Means of both, resampled each for itself."""
    draws = zip(
        _draws(len(later), seed, resamples),
        _draws(len(earlier), seed + 1, resamples),
        strict=True,
    )
    count, other = len(later), len(earlier)
    return [(sum(mine(later)) / count, sum(its(earlier)) / other) for mine, its in draws]


def _of_two(
    middle: float,
    drawn: list[float],
    later: Sequence[float],
    earlier: Sequence[float],
    *,
    signed: bool = False,
) -> Interval:
    fewer = min(len(later), len(earlier))
    freedom = welch_freedom(later, earlier)
    return _interval(middle, drawn, fewer, freedom, signed=signed)


def squared_error(values: Sequence[float]) -> float:
    """Of the mean, from at least two values; the exact fractions of `statistics` are slow."""
    mean = statistics.fmean(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return squares / (len(values) - 1) / len(values)


def welch_freedom(later: Sequence[float], earlier: Sequence[float]) -> int:
    """Degrees of freedom of a difference of means of unequal spread, rounded down."""
    parts = [(squared_error(each), len(each) - 1) for each in (later, earlier)]
    total = sum(part for part, _ in parts)
    if not total:
        return sum(count for _, count in parts)
    return max(1, int(total**2 / sum(part**2 / count for part, count in parts)))


def _interval(
    middle: float, drawn: list[float], count: int, freedom: int, *, signed: bool = False
) -> Interval:
    drawn.sort()
    cut = int(len(drawn) * (1 - LEVEL) / 2)
    low, high = drawn[cut], drawn[-1 - cut]
    stretch = student.critical(1 - LEVEL, freedom) / _NORMAL * math.sqrt(count / (count - 1))
    if low > 0 and not signed:
        low, high = (middle * (end / middle) ** stretch for end in (low, high))
    else:
        low, high = (middle + (end - middle) * stretch for end in (low, high))
    return Interval(middle, low, high, count, LEVEL)


@functools.lru_cache(maxsize=64)
def _draws(count: int, seed: int, resamples: int) -> tuple[Draw, ...]:
    """Functions that each take `count` values, with repetition; the same for equal arguments."""
    chance = random.Random(f"{seed} {count}")  # noqa: S311 - the same draws for the same seed
    return tuple(itemgetter(*chance.choices(range(count), k=count)) for _ in range(resamples))
