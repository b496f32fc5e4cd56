"""Figures as they are written; the examples stand with the functions."""

from __future__ import annotations

import doctest
import math

import pytest

from bench.report import markup, numbers, svg, view
from bench.suite.figures import FIGURES


@pytest.mark.parametrize("module", [numbers, view, markup, svg])
def test_the_examples_hold(module: object) -> None:
    outcome = doctest.testmod(module)  # type: ignore[arg-type]
    assert outcome.attempted
    assert not outcome.failed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.00004, "0"),
        (0.0346, "0.0346"),
        (0.5, "0.5"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (999.6, "1,000"),
        (-3.14159, "−3.14"),
        (-0.000001, "0"),
        (math.nan, "—"),
        (-math.inf, "−∞"),
    ],
)
def test_three_digits_are_kept(value: float, text: str) -> None:
    assert numbers.number(value) == text


def test_short_headings_tell_figures_apart() -> None:
    assert len({numbers.short_heading(figure) for figure in FIGURES}) == len(FIGURES)
