"""How long the first token takes: of a deployment now, and of a model in general."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

_TAU_S: Final = 10.0
_UNTRIED_S: Final = 1e6
"""What has not been tried is tried by one request; the others go elsewhere meanwhile."""


@dataclass(slots=True)
class PeakEwma:
    """The mean of late, quick to rise and slow to fall, as in Finagle: a slow answer counts at
    once, and is forgotten in some ten seconds, so that the deployment is tried again."""

    _mean_s: float = 0.0
    _at: float = 0.0

    def note(self, now: float, taken_s: float) -> None:
        """The first token of an attempt took so long."""
        mean_s = self._mean_s
        if taken_s > mean_s:
            self._mean_s = taken_s
        else:
            self._mean_s = mean_s + (taken_s - mean_s) * -math.expm1((self._at - now) / _TAU_S)
        self._at = now

    def mean_s(self, now: float) -> float:
        """What is left of it now; 0 where nothing is known."""
        return self._mean_s * math.exp((self._at - now) / _TAU_S)

    def cost(self, now: float, busy: int) -> float:
        """What one request more would wait, roughly, where `busy` others are under way."""
        if not self._mean_s:
            return busy * _UNTRIED_S
        return self.mean_s(now) * (busy + 1)


_BOUNDS_S: Final = tuple(0.001 * 1.1**step for step in range(127))
"""Upper ends of the buckets, to 164 s; the last bucket is what is above."""
_HALVED_AT: Final = 512
_SAMPLES_MIN: Final = 20


@dataclass(slots=True)
class Quantiles:
    """A histogram that forgets: all counts are halved each time it holds 512 samples."""

    _counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_S) + 1))
    _samples: int = 0

    def note(self, taken_s: float) -> None:
        """One sample."""
        self._counts[bisect_left(_BOUNDS_S, taken_s)] += 1
        self._samples += 1
        if self._samples >= _HALVED_AT:
            self._counts = [count // 2 for count in self._counts]
            self._samples = sum(self._counts)

    def quantile_s(self, share: float) -> float | None:
        """The upper end of the bucket below which this share of the samples lies; None with fewer
        than 20 samples."""
        if self._samples < _SAMPLES_MIN:
            return None
        left = share * self._samples
        for bound_s, count in zip(_BOUNDS_S, self._counts, strict=False):
            left -= count
            if left <= 0:
                return bound_s
        return _BOUNDS_S[-1]
