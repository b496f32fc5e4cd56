"""What follows from the fields of the vocabulary."""

from __future__ import annotations

import math
import typing

import pytest

from bench.load.histogram import Histogram
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import Censored, Interval, Protocol
from engine import events


def test_those_that_never_ended_lie_above_all_others() -> None:
    censored = Censored(Histogram([1.0, 2.0, 3.0]), never=1, limit_ms=5_000.0)
    assert censored.count == 4
    assert censored.quantile(0.5) == pytest.approx(2.0, rel=0.01)
    assert censored.quantile(0.75) == 3.0
    assert censored.quantile(0.9) == math.inf


def test_nothing_awaited_has_no_quantile() -> None:
    assert math.isnan(Censored(Histogram(), never=0, limit_ms=5_000.0).quantile(0.5))
    assert Censored(Histogram(), never=3, limit_ms=5_000.0).quantile(0.0) == math.inf


def test_the_width_of_an_interval_is_relative_to_its_middle() -> None:
    assert Interval(50.0, 45.0, 55.0, n=8).half_width_ratio == pytest.approx(0.1)
    assert Interval(-2.0, -3.0, -1.0, n=8).half_width_ratio == pytest.approx(0.5)
    assert Interval(0.0, -1.0, 1.0, n=8).half_width_ratio == math.inf


def test_every_figure_is_explained() -> None:
    assert tuple(FIGURES) == typing.get_args(Figure)
    titles = [row.title for row in FIGURES.values()]
    assert len(set(titles)) == len(titles)


def test_protocols_are_those_of_the_engine() -> None:
    assert set(typing.get_args(Protocol)) <= set(typing.get_args(events.Protocol))
