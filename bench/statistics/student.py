"""Student's t distribution, for whole degrees of freedom."""

from __future__ import annotations

import functools
import math

_T_MAX = 1e6


def two_sided(t: float, freedom: int) -> float:
    """The probability that |T| is at least |t|, to about 1e-15.

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.

    Raises:
        ValueError: less than one degree of freedom.
    """
    if freedom < 1:
        raise ValueError("there is at least one degree of freedom")
    if math.isinf(t):
        return 0.0
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    series = 0.0
    for step in range(1 + odd, freedom, 2):
        series += term
        term *= step / (step + 1) * cosine * cosine
    if odd:
        return max(0.0, 1 - (angle + sine * series) * 2 / math.pi)
    return max(0.0, 1 - sine * series)


@functools.lru_cache(maxsize=256)
def critical(share: float, freedom: int) -> float:
    """The t that |T| passes with this probability: `critical(0.05, 7)` is 2.365.

    Raises:
        ValueError: the share is not between 0 and 1, or less than one degree of freedom.
    """
    if not 0 < share < 1:
        raise ValueError("a share is between 0 and 1")
    low, high = 0.0, _T_MAX
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > share else (low, middle)
    return high
