"""Drawing in SVG: scales, axes, curves, bars. Sizes are those of a phone, so text stays readable.

A drawing is `WIDTH` units wide and grows with the page up to a third more; colours and fonts are
style.css's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bench.report.markup import Markup, join, tag

WIDTH: Final = 360.0
_X_ROOM: Final = 40.0
"""For a label of the x axis; where there are uneven steps, some go without."""
_Y_TICKS: Final = 5
_LETTER: Final = 6.6
"""Width of a letter of a label, most of the time."""

Point = tuple[float, float]
Tick = tuple[float, str]


class Scale(Protocol):
    """Values to places on an axis."""

    def place(self, value: float) -> float:
        """From 0 at the low end to 1 at the high end; what lies beyond is at the end."""

    def ticks(self, most: int) -> Sequence[Tick]:
        """(value, label), rising; at most so many, if they can be chosen."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Even steps, from `low` to `high` > `low`."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """As `Scale.place`."""
        return _within((value - self.low) / (self.high - self.low))

    def ticks(self, most: int) -> Sequence[Tick]:
        """Round numbers.

        >>> [label for _, label in Linear(0, 230).ticks(5)]
        ['0', '50', '100', '150', '200']
        """
        rough = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * by for by in (1, 2, 5, 10) if unit * by >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(n * step, tick_label(n * step)) for n in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Log:
    """Even ratios, from `low` > 0 to `high` > `low`; zero and below are at the low end."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """As `Scale.place`."""
        if value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self, most: int) -> Sequence[Tick]:
        """Powers of ten and round parts of them; even steps where the ends are near.

        >>> [label for _, label in Log(0.5, 60).ticks(7)]
        ['0.5', '1', '2', '5', '10', '20', '50']
        >>> [label for _, label in Log(48, 57).ticks(5)]
        ['48', '50', '52', '54', '56']
        """
        first, last = (math.floor(math.log10(end)) for end in (self.low, self.high))
        for parts, every in _LOG_STEPS:
            powers = [power for power in range(first, last + 1) if power % every == 0]
            values = [part * 10.0**power for power in powers for part in parts]
            inside = [value for value in values if self.low <= value <= self.high]
            if 2 < len(inside) <= most or (len(inside) == 2 and self.high / self.low > _FAR):
                return [(value, tick_label(value)) for value in inside]
        return Linear(self.low, self.high).ticks(most)


_LOG_STEPS: Final = (
    ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 1),
    ((1.0, 2.0, 5.0), 1),
    ((1.0, 3.0), 1),
    ((1.0,), 1),
    ((1.0,), 2),
    ((1.0,), 3),
)
"""(parts of a power of ten, which powers), the finest first."""
_FAR: Final = 8.0


@dataclass(frozen=True, slots=True)
class Tail:
    """Shares from 0 to `top` < 1 with the last ones drawn wide: 90 % is half-way to 99 %."""

    top: float

    def place(self, value: float) -> float:
        """As `Scale.place`."""
        return math.log(1 - min(max(value, 0.0), self.top)) / math.log(1 - self.top)

    def ticks(self, most: int) -> Sequence[Tick]:
        """Those of quantiles that people speak of."""
        known = ((0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"))
        return [tick for tick in known if tick[0] <= self.top][:most]


@dataclass(frozen=True, slots=True)
class Plot:
    """A field with two axes; its edges in units of the drawing, y down."""

    x: Scale
    y: Scale
    left: float
    right: float
    top: float
    bottom: float

    def at(self, x: float, y: float) -> Point:
        """Where a point is drawn."""
        return (
            self.left + self.x.place(x) * (self.right - self.left),
            self.bottom - self.y.place(y) * (self.bottom - self.top),
        )


def drawing(height: float, title: str, parts: Iterable[Markup]) -> Markup:
    """A whole SVG; the title is read out where it cannot be seen."""
    box = f"0 0 {WIDTH:g} {height:g}"
    return tag("svg", tag("title", title), *parts, viewBox=box, role="img")


def x_axis(scale: Scale, left: float, right: float, top: float, bottom: float) -> Markup:
    """Lines from top to bottom at the ticks, and labels below, those that have room."""
    parts, free_from = [], -math.inf
    for value, label in scale.ticks(int((right - left) / _X_ROOM)):
        x = left + scale.place(value) * (right - left)
        parts.append(line(x, top, x, bottom, "grid"))
        if x >= free_from:
            parts.append(text(x, bottom + 14, label, "middle"))
            free_from = x + _LETTER * (len(label) + 1)
    return join(parts)


def y_axis(plot: Plot) -> Markup:
    """Lines from left to right at the ticks, and labels to the left."""
    parts = []
    for value, label in plot.y.ticks(_Y_TICKS):
        _, y = plot.at(0, value)
        parts.append(line(plot.left, y, plot.right, y, "grid"))
        parts.append(text(plot.left - 5, y + 4, label, "end"))
    return join(parts)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """From one point to another."""
    return tag("line", class_=class_, x1=x1, y1=y1, x2=x2, y2=y2)


def text(x: float, y: float, says: str, anchor: str = "start", class_: str = "") -> Markup:
    """At a point; `anchor` is start, middle or end."""
    return tag("text", says, x=x, y=y, text_anchor=anchor, class_=class_ or None)


def stairs(points: Iterable[Point], class_: str) -> Markup:
    """A curve that goes right, then up, as a distribution does; steps nobody sees are left out."""
    path: list[str] = []
    x_at = y_at = -math.inf
    last: Point | None = None
    for x, y in points:
        last = (x, y)
        if not path:
            path.append(f"M{x:.1f} {y:.1f}")
        elif abs(x - x_at) < 0.6 and abs(y - y_at) < 0.6:
            continue
        else:
            path.append(f"H{x:.1f}V{y:.1f}")
        x_at, y_at = x, y
    if last is not None and last != (x_at, y_at):
        path.append(f"H{last[0]:.1f}V{last[1]:.1f}")
    return tag("path", d="".join(path), class_=class_)


def shortened(says: str, width: float) -> str:
    """What fits into so many units at the size of labels, with … for the rest.

    >>> shortened("nginx", 60), shortened("a very long name", 60)
    ('nginx', 'a very l…')
    """
    most = max(2, int(width / _LETTER))
    return says if len(says) <= most else f"{says[: most - 1]}…"


def tick_label(value: float) -> str:
    """Without decimals that say nothing.

    >>> tick_label(0.30000000000000004), tick_label(20.0), tick_label(5000.0), tick_label(-2.0)
    ('0.3', '20', '5,000', '−2')
    """
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)
