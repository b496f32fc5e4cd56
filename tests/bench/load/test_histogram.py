"""Durations in buckets of one per cent."""

from __future__ import annotations

import json
import math
import random

import pytest

from bench.load.histogram import GREATEST_MS, GROWTH, LEAST_MS, Histogram, rank_of


@pytest.mark.parametrize("seed", range(3))
def test_a_quantile_is_within_one_per_cent_of_the_sorted_values(seed: int) -> None:
    values = [random.Random(seed).lognormvariate(0, 2) for _ in range(2_000)]
    histogram = Histogram(values)
    ordered = sorted(values)
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = ordered[rank_of(share, len(values)) - 1]
        assert histogram.quantile(share) == pytest.approx(exact, rel=0.01), (seed, share)
    assert histogram.mean_ms == pytest.approx(sum(values) / len(values))


def test_the_extremes_are_exact() -> None:
    histogram = Histogram([3.14159, 2.71828, 1.41421])
    assert (histogram.quantile(0), histogram.quantile(1)) == (1.41421, 3.14159)


def test_a_rank_is_not_moved_by_rounding() -> None:
    histogram = Histogram(float(number) for number in range(1, 201))
    assert 0.07 * 200 > 14  # in binary
    assert histogram.quantile(0.07) == pytest.approx(14, rel=0.005)


def test_values_beyond_the_buckets_are_counted_and_kept_as_extremes() -> None:
    histogram = Histogram([-5.0, 0.0, LEAST_MS, GREATEST_MS * 10])
    assert histogram.count == 4
    assert (histogram.quantile(0), histogram.quantile(1)) == (-5.0, GREATEST_MS * 10)
    assert histogram.quantile(0.5) == LEAST_MS
    assert [times for _, times in histogram.buckets()] == [3, 1]


def test_an_edge_belongs_to_the_bucket_below_it() -> None:
    for number in range(0, 2_000, 7):
        [(bucket, _)] = Histogram([LEAST_MS * GROWTH**number]).buckets()
        assert bucket == number


def test_merged_parts_are_the_whole() -> None:
    values = [float(number) for number in range(1, 200)]
    parts = Histogram(values[:50])
    parts.merge(Histogram(values[50:]))
    parts.merge(Histogram())
    assert parts == Histogram(values)


def test_what_came_since_is_the_difference() -> None:
    earlier = Histogram([1.0, 5.0])
    later = Histogram([1.0, 5.0, 3.0, 3.0, 90.0])
    since = later.since(earlier)
    assert list(since.buckets()) == list(Histogram([3.0, 3.0, 90.0]).buckets())
    assert (since.count, since.sum_ms, since.greatest_ms) == (3, 96.0, 90.0)
    assert since.least_ms == pytest.approx(3.0, rel=0.01)
    assert later.since(later) == Histogram()
    with pytest.raises(ValueError, match="not an earlier one"):
        earlier.since(later)


def test_many_of_one_value_are_recorded_at_once() -> None:
    histogram = Histogram()
    histogram.record(2.0, 3)
    assert histogram == Histogram([2.0, 2.0, 2.0])
    assert histogram != Histogram([2.0, 2.0])


def test_counts_what_lies_above() -> None:
    histogram = Histogram([1.0, 249.0, 260.0, 900.0])
    assert histogram.above(250.0) == 2
    assert histogram.above(1_000.0) == 0


def test_the_points_rise_to_one() -> None:
    points = list(Histogram([1.0, 1.0, 10.0, 100.0]).points())
    assert [share for _, share in points] == [0.5, 0.75, 1.0]
    assert [value for value, _ in points] == pytest.approx([1.0, 10.0, 100.0], rel=0.01)


def test_json_gives_it_back() -> None:
    histogram = Histogram([0.0, 0.5, 0.5, 70.0])
    text = json.dumps(histogram.to_json(), allow_nan=False)
    assert Histogram.from_json(json.loads(text)) == histogram
    assert len(text) < 200
    assert Histogram.from_json(Histogram().to_json()) == Histogram()


@pytest.mark.parametrize("bucket", [[-1, 1], [10**6, 1], [5, 0]])
def test_json_with_an_impossible_bucket_is_refused(bucket: list[int]) -> None:
    document = Histogram([1.0]).to_json() | {"buckets": [bucket]}
    with pytest.raises(ValueError, match="no bucket"):
        Histogram.from_json(document)


def test_nothing_recorded_has_no_figures() -> None:
    histogram = Histogram()
    assert math.isnan(histogram.quantile(0.5))
    assert math.isnan(histogram.mean_ms)
    assert list(histogram.points()) == []
    with pytest.raises(ValueError, match="from 0 to 1"):
        histogram.quantile(1.5)
