"""Counts of durations in buckets that grow by one per cent: small, mergeable, exact enough."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from math import ceil, log
from typing import Any, Final

GROWTH: Final = 1.01
LEAST_MS: Final = 0.001
"""The upper edge of the first bucket, which also takes zero and what came before it was due."""
GREATEST_MS: Final = 1e7
"""The last bucket takes what is greater: almost three hours."""
_PER_LOG: Final = 1 / math.log(GROWTH)
_SHIFT: Final = math.log(LEAST_MS) * _PER_LOG + 1e-9
"""A little more than it should be: an edge, which has no exact logarithm, stays in its bucket."""
BUCKETS: Final = math.ceil(math.log(GREATEST_MS / LEAST_MS) * _PER_LOG) + 1


class Histogram:
    """Durations in milliseconds, each known to one per cent from `LEAST_MS` on.

    Bucket k > 0 holds the values in `(LEAST_MS · 1.01^(k-1), LEAST_MS · 1.01^k]`. Least, greatest
    and sum are exact. Takes 19 KB however much is recorded.
    """

    __slots__ = ("_counts", "count", "greatest_ms", "least_ms", "sum_ms")

    def __init__(self, values_ms: Iterable[float] = ()) -> None:
        self._counts = array("Q", bytes(8 * BUCKETS))
        self.count = 0
        self.sum_ms = 0.0
        self.least_ms = math.inf
        self.greatest_ms = -math.inf
        for value in values_ms:
            self.record(value)

    def record(self, value_ms: float, times: int = 1) -> None:
        """Count a finite value, `times` ≥ 1 times."""
        if value_ms <= LEAST_MS:
            bucket = 0
        else:
            bucket = ceil(log(value_ms) * _PER_LOG - _SHIFT)
            if bucket >= BUCKETS:
                bucket = BUCKETS - 1
        self._counts[bucket] += times
        self.count += times
        self.sum_ms += value_ms * times
        if value_ms < self.least_ms:
            self.least_ms = value_ms
        if value_ms > self.greatest_ms:
            self.greatest_ms = value_ms

    def merge(self, other: Histogram) -> None:
        """Count all that the other has counted."""
        for bucket, times in other.buckets():
            self._counts[bucket] += times
        self.count += other.count
        self.sum_ms += other.sum_ms
        self.least_ms = min(self.least_ms, other.least_ms)
        self.greatest_ms = max(self.greatest_ms, other.greatest_ms)

    def since(self, earlier: Histogram) -> Histogram:
        """What was counted after `earlier` was a copy of this one.

        Its least and greatest are known to one per cent, or exactly where they are this one's too.

        Raises:
            ValueError: the other has counted what this one has not.
        """
        later = Histogram()
        for bucket, (now, before) in enumerate(zip(self._counts, earlier._counts, strict=True)):
            if now < before:
                raise ValueError("the other histogram is not an earlier one of this")
            if now > before:
                later._counts[bucket] = now - before
                later.count += now - before
                later.least_ms = min(later.least_ms, max(_middle(bucket), self.least_ms))
                later.greatest_ms = min(_upper(bucket), self.greatest_ms)
        if later.count:
            later.sum_ms = self.sum_ms - earlier.sum_ms
        return later

    @property
    def mean_ms(self) -> float:
        """The exact mean; NaN of nothing."""
        return self.sum_ms / self.count if self.count else math.nan

    def quantile(self, share: float) -> float:
        """The value of rank ⌈share · count⌉ in ms, within one per cent; NaN of nothing.

        Raises:
            ValueError: the share is not from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError("a quantile is from 0 to 1")
        if not self.count:
            return math.nan
        rank = rank_of(share, self.count)
        if rank == self.count:
            return self.greatest_ms
        if rank == 1:
            return self.least_ms
        bucket = _bucket_of_rank(self.buckets(), rank)
        return min(max(_middle(bucket), self.least_ms), self.greatest_ms)

    def above(self, value_ms: float) -> int:
        """How many lie in buckets wholly above this value."""
        return sum(times for bucket, times in self.buckets() if _lower(bucket) >= value_ms)

    def points(self) -> Iterator[tuple[float, float]]:
        """Of the distribution: (value in ms, share of all that is not greater), rising."""
        passed = 0
        for bucket, times in self.buckets():
            passed += times
            yield min(_upper(bucket), self.greatest_ms), passed / self.count

    def buckets(self) -> Iterator[tuple[int, int]]:
        """(number, count) of every bucket that is not empty, lowest first."""
        return ((bucket, times) for bucket, times in enumerate(self._counts) if times)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        if not self.count:
            return "Histogram()"
        return f"Histogram({self.count}: {self.least_ms:g} … {self.greatest_ms:g} ms)"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads: the buckets that are not empty, and the exact figures."""
        if not self.count:
            return {}
        return {
            "buckets": [list(pair) for pair in self.buckets()],
            "sum_ms": self.sum_ms,
            "least_ms": self.least_ms,
            "greatest_ms": self.greatest_ms,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Histogram:
        """What `to_json` wrote.

        Raises:
            ValueError: a bucket that there is not, or a count that is none.
            KeyError: a figure is missing.
        """
        histogram = cls()
        if not document:
            return histogram
        for bucket, times in document["buckets"]:
            if not 0 <= bucket < BUCKETS or times < 1:
                raise ValueError(f"no bucket of a histogram: {bucket}, {times}")
            histogram._counts[bucket] = times
            histogram.count += times
        histogram.sum_ms = float(document["sum_ms"])
        histogram.least_ms = float(document["least_ms"])
        histogram.greatest_ms = float(document["greatest_ms"])
        return histogram


def rank_of(share: float, count: int) -> int:
    """⌈share · count⌉, from 1; what is a whole number but for rounding stays that number."""
    return max(1, math.ceil(share * count - 1e-9))


def _bucket_of_rank(buckets: Iterable[tuple[int, int]], rank: int) -> int:
    for bucket, times in buckets:
        rank -= times
        if rank <= 0:
            return bucket
    raise ValueError("the rank is beyond the count")


def _upper(bucket: int) -> float:
    return LEAST_MS * GROWTH**bucket


def _lower(bucket: int) -> float:
    return -math.inf if bucket == 0 else _upper(bucket - 1)


def _middle(bucket: int) -> float:
    """The geometric middle: at most half a per cent from any value of the bucket."""
    return LEAST_MS if bucket == 0 else LEAST_MS * GROWTH ** (bucket - 0.5)
