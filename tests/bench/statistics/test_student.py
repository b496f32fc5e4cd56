"""Student's t against printed tables."""

from __future__ import annotations

import math
import statistics

import pytest

from bench.statistics.student import critical, two_sided

TABLE = [
    (0.05, 1, 12.706),
    (0.05, 2, 4.303),
    (0.05, 3, 3.182),
    (0.05, 7, 2.365),
    (0.01, 8, 3.355),
    (0.001, 14, 4.140),
    (0.05, 30, 2.042),
    (0.002, 120, 3.160),
]
"""(both tails, degrees of freedom, t), three digits, as in any textbook."""


@pytest.mark.parametrize(("share", "freedom", "t"), TABLE)
def test_as_printed(share: float, freedom: int, t: float) -> None:
    assert critical(share, freedom) == pytest.approx(t, abs=6e-4)
    assert two_sided(critical(share, freedom), freedom) == pytest.approx(share)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert critical(0.05, 5_000) == pytest.approx(statistics.NormalDist().inv_cdf(0.975), rel=1e-3)


def test_the_ends() -> None:
    assert two_sided(0.0, 5) == 1.0
    assert two_sided(math.inf, 5) == 0.0
    assert two_sided(-3.0, 4) == two_sided(3.0, 4)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="degree of freedom"):
        two_sided(1.0, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        critical(1.0, 3)
