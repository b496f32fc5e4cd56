"""The two kinds of drawing on the page: curves over one another, and one line a peer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.report.looks import marker
from bench.report.markup import Markup, join, tag
from bench.report.numbers import NOTHING
from bench.report.svg import (
    WIDTH,
    Log,
    Plot,
    Point,
    Scale,
    drawing,
    line,
    shortened,
    stairs,
    text,
    x_axis,
    y_axis,
)
from bench.suite.model import Interval

_HEIGHT: Final = 220.0
_LINE: Final = 24.0
"""Height of a peer's line in a chart of intervals."""
_NAMES: Final = 100.0
_VALUES: Final = 56.0


@dataclass(frozen=True, slots=True)
class Series:
    """One peer's curve.

    Attributes:
        look: of `looks_of`.
        label: the peer's name; `figures` follow it in the legend.
        stairs: drawn as steps; `marks` (x, y, what it says) lie on them or stand alone.
        straight: a line from one point to another, maybe none.
    """

    look: int
    label: str
    figures: str = ""
    stairs: Sequence[Point] = ()
    marks: Sequence[tuple[float, float, str]] = ()
    straight: tuple[Point, Point] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One peer's line: an interval and how it is written, or the reason why there is none."""

    look: int
    label: str
    value: str = NOTHING
    interval: Interval | None = None
    note: str = ""


def curves(
    title: str, about: str, series: Sequence[Series], x: Scale, y: Scale, x_title: str
) -> Markup:
    """All series in one field, and a legend below."""
    plot = Plot(x, y, 46, WIDTH - 12, 8, _HEIGHT - 38)
    parts = [x_axis(x, plot.left, plot.right, plot.top, plot.bottom), y_axis(plot)]
    parts.append(text((plot.left + plot.right) / 2, _HEIGHT - 6, x_title, "middle", "unit"))
    # The first peers are the ones that are looked for: they are drawn last, on top.
    for each in reversed(series):
        colour = f"curve p{each.look}"
        if each.stairs:
            parts.append(stairs((plot.at(*point) for point in each.stairs), colour))
        if each.straight:
            (x1, y1), (x2, y2) = (plot.at(*point) for point in each.straight)
            parts.append(line(x1, y1, x2, y2, colour))
        for at_x, at_y, says in each.marks:
            parts.append(marker(each.look, *plot.at(at_x, at_y), title=says))
    legend = tag("ul", *(_legend(each) for each in series), class_="legend")
    return _figure(title, about, drawing(_HEIGHT, title, parts), legend)


def intervals(
    title: str, about: str, entries: Sequence[Entry], *, from_one: bool = False
) -> Markup:
    """A line a peer on a log axis: whiskers, and bars from 1 where these are ratios."""
    left, right = _NAMES, WIDTH - _VALUES
    bottom = 6 + _LINE * len(entries)
    scale = _scale_of(entries, from_one)
    parts = [x_axis(scale, left, right, 4, bottom)]
    if from_one:
        one = left + scale.place(1) * (right - left)
        parts.append(line(one, 4, one, bottom, "one"))
    for place, entry in enumerate(entries):
        y = 6 + _LINE * (place + 0.5)
        parts += _entry(entry, scale, y, from_one=from_one)
    return _figure(title, about, drawing(bottom + 20, title, parts))


def _entry(entry: Entry, scale: Scale, y: float, *, from_one: bool) -> list[Markup]:
    left, right = _NAMES, WIDTH - _VALUES
    says = f"{entry.label}: {entry.value}" + (f", {entry.note}" if entry.note else "")
    parts = [
        tag(
            "text",
            tag("title", says),
            shortened(entry.label, _NAMES - 20),
            x=_NAMES - 16,
            y=y + 4,
            text_anchor="end",
        ),
        marker(entry.look, _NAMES - 8, y, 3.2, says),
    ]
    if entry.interval is None:
        reason = shortened(f"{NOTHING}: {entry.note}", WIDTH - left - 10)
        return [*parts, text(left + 6, y + 4, reason, class_="reason")]

    def at(value: float) -> float:
        return left + scale.place(value) * (right - left)

    middle = at(entry.interval.middle)
    colour = f"p{entry.look}"
    if from_one:
        begin, end = sorted((at(1), middle))
        bar = tag("title", says)
        parts.append(
            tag(
                "rect",
                bar,
                class_=f"bar {colour}",
                x=begin,
                y=y - 6,
                width=max(end - begin, 1),
                height=12,
            )
        )
    if math.isfinite(entry.interval.low) and math.isfinite(entry.interval.high):
        low, high = at(entry.interval.low), at(entry.interval.high)
        whisker = "whisker" if from_one else f"whisker {colour}"
        parts.append(line(low, y, high, y, whisker))
        parts += [line(x, y - 4, x, y + 4, whisker) for x in (low, high)]
    if not from_one:
        parts.append(marker(entry.look, middle, y, 4, says))
    parts.append(text(WIDTH - 2, y + 4, entry.value, "end", "value"))
    return parts


def _scale_of(entries: Sequence[Entry], from_one: bool) -> Log:
    ends = [1.0] if from_one else []
    for entry in entries:
        if entry.interval is not None:
            each = (entry.interval.low, entry.interval.middle, entry.interval.high)
            ends += [end for end in each if math.isfinite(end) and end > 0]
    if not ends:
        return Log(0.1, 10)
    return log_scale(min(ends), max(ends))


def log_scale(low: float, high: float) -> Log:
    """With a little room at both ends, and at least a factor of two in all."""
    low, high = low / 1.1, high * 1.1
    if high < 2 * low:
        low, high = low / 1.4, high * 1.4
    return Log(low, high)


def swatch(look: int) -> Markup:
    """A peer's marker in running text."""
    return tag("svg", marker(look, 7, 7, 4), viewBox="0 0 14 14", class_="swatch")


def _legend(series: Series) -> Markup:
    figures = tag("span", series.figures, class_="figures") if series.figures else None
    return tag("li", swatch(series.look), tag("span", series.label), figures)


def _figure(title: str, about: str, *parts: Markup) -> Markup:
    says = join([tag("b", title), tag("span", about) if about else None])
    return tag("figure", tag("figcaption", says), *parts)
