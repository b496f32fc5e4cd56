"""One number of one round: what each figure is, from the samples of a peer.

A quantile is that of the round, and the figure the mean of the rounds': rounds are what varies.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.suite.figures import FIGURES, Figure
from bench.suite.model import Bound, Histogram, Sample

KIB: Final = 1024
MIB: Final = KIB * KIB
_STEPS_MIN: Final = 3
"""A slope over fewer numbers of streams is not shown."""

Value = Callable[[Sample], float]


def value_of(
    figure: Figure,
    samples: Sequence[Sample],
    direct: Sequence[Sample] = (),
    bound: Bound | None = None,
) -> float:
    """The figure of one peer in one round; NaN where there is nothing it could be of.

    Args:
        figure: which.
        samples: of this peer and round, one a step, rising. Those that are refused, or too late
            for a figure of time, are left out; the first of them ends `streams_sustained`.
        direct: the same of the peer `direct`, for what is added to it.
        bound: what `streams_sustained` has to keep.

    Returns:
        In the figure's unit; infinite where it did not end within the wait.
    """
    sound = sound_for(figure, samples)
    if figure == "streams_sustained":
        return _sustained(samples, bound)
    if not sound:
        return math.nan
    if figure == "memory_kib_per_stream":
        return memory_slope(sound, "pss_bytes") / KIB
    if figure in _ADDED:
        least = sound_for(figure, direct)
        base = _ADDED[figure](least[-1]) if least else math.nan
        return _ADDED[figure](sound[-1]) - base
    if figure == "errors_share":
        return _errors_share(sound)
    if bound is not None:
        sound = [sample for sample in sound if keeps(bound, sample)]
    return _OF_LAST[figure](sound[-1]) if sound else math.nan


def sound_for(figure: Figure, samples: Sequence[Sample]) -> list[Sample]:
    """Those that may become this figure."""
    return [sample for sample in samples if not flaw_for(figure, sample)]


def flaw_for(figure: Figure, sample: Sample) -> str:
    """Why a sample may not become this figure; empty if it may."""
    return sample.refused or (sample.late if FIGURES[figure].timed else "")


def adds_to_direct(figure: Figure) -> bool:
    """Whether the figure is what a peer adds to going without one."""
    return figure in _ADDED


def keeps(bound: Bound, sample: Sample) -> bool:
    """Whether so many streams were kept up with; of a sample that is sound."""
    late_ms = sample.lateness_ms.quantile(0.99)
    return (
        late_ms <= bound.lateness_p99_ms
        and _stalls(sample) <= bound.stalls_per_1000_tokens
        and _errors_share([sample]) <= bound.errors_share
        and sample.guards.pace >= bound.pace
    )


def memory_slope(samples: Sequence[Sample], what: str) -> float:
    """Bytes a further stream, by least squares; `what` is a field of `Memory`, in bytes.

    NaN of fewer than three numbers of streams, and where memory cannot be seen.
    """
    points = [
        (float(sample.streams), float(getattr(sample.memory, what)))
        for sample in samples
        if sample.memory is not None
    ]
    if len({streams for streams, _ in points}) < _STEPS_MIN:
        return math.nan
    streams, sizes = zip(*points, strict=True)
    return statistics.linear_regression(streams, sizes).slope


def _sustained(samples: Sequence[Sample], bound: Bound | None) -> float:
    """The greatest step that kept the bound before one did not; 0 if none did."""
    if bound is None or not samples:
        return math.nan
    kept = 0
    for sample in samples:
        if not sample.sound:
            return float(kept) if kept else math.nan
        if not keeps(bound, sample):
            break
        kept = sample.step
    return float(kept)


# -- of one window ------------------------------------------------------------------------------


def _share(part: float | None, whole: float, scale: float = 1.0) -> float:
    return math.nan if part is None or not whole else part * scale / whole


def _stalls(sample: Sample) -> float:
    return _share(sample.stalls, sample.tokens, 1_000)


def _memory_mib(sample: Sample) -> float:
    return math.nan if sample.memory is None else sample.memory.pss_bytes / MIB


def _requests_per_s(sample: Sample) -> float:
    closed = sample.closed
    return math.nan if closed is None else _share(closed.requests, closed.elapsed_s)


def _billing_error(sample: Sample) -> float:
    billed = sample.billed
    return math.nan if billed is None else _share(billed.tokens_wrong, billed.tokens_written)


def _of(histogram: Callable[[Sample], Histogram], share: float) -> Value:
    return lambda sample: histogram(sample).quantile(share)


def _cancel(share: float) -> Value:
    return lambda sample: sample.cancel_ms.quantile(share)


def _first(sample: Sample) -> Histogram:
    return sample.first_token_ms


def _latency(sample: Sample) -> Histogram:
    return sample.latency_ms


def _lateness(sample: Sample) -> Histogram:
    return sample.lateness_ms


def _gap(sample: Sample) -> Histogram:
    return sample.gap_ms


_OF_LAST: Final[Mapping[Figure, Value]] = {
    "cpu_us_per_token": lambda sample: _share(sample.cpu_s, sample.tokens, 1e6),
    "cpu_us_per_request": lambda sample: _share(sample.cpu_s, sample.requests, 1e6),
    "requests_per_s": _requests_per_s,
    "tokens_per_s": lambda sample: _share(sample.tokens, sample.elapsed_s),
    "first_token_p50_ms": _of(_first, 0.5),
    "first_token_p90_ms": _of(_first, 0.9),
    "first_token_p99_ms": _of(_first, 0.99),
    "lateness_p50_ms": _of(_lateness, 0.5),
    "lateness_p99_ms": _of(_lateness, 0.99),
    "gap_p50_ms": _of(_gap, 0.5),
    "gap_p99_ms": _of(_gap, 0.99),
    "stalls_per_1000_tokens": _stalls,
    "memory_mib": _memory_mib,
    "cancel_p50_ms": _cancel(0.5),
    "cancel_p99_ms": _cancel(0.99),
    "cancel_never_share": lambda sample: _share(sample.cancel_ms.never, sample.cancel_ms.count),
    "tokens_after_leaving": lambda sample: _share(
        sample.tokens_after_leaving, sample.cancel_ms.count
    ),
    "billing_error_share": _billing_error,
}

_ADDED: Final[Mapping[Figure, Value]] = {
    "added_first_token_p50_ms": _of(_first, 0.5),
    "added_first_token_p90_ms": _of(_first, 0.9),
    "added_first_token_p99_ms": _of(_first, 0.99),
    "added_latency_p50_ms": _of(_latency, 0.5),
    "added_latency_p90_ms": _of(_latency, 0.9),
    "added_latency_p99_ms": _of(_latency, 0.99),
}


def _errors_share(samples: Sequence[Sample]) -> float:
    """Streams that are open at the window's end have not failed."""
    failed = sum(sum(sample.errors.values()) for sample in samples)
    asked = failed + sum(sample.requests + sample.streams for sample in samples)
    return _share(failed, asked)
