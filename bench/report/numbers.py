"""How figures are written, in Markdown and on the page alike."""

from __future__ import annotations

import math
from typing import Final

from bench.suite.figures import FIGURES, Figure
from bench.suite.model import Interval

NOTHING: Final = "—"
_DIGITS: Final = 3
"""Significant ones; no figure of ours is known better."""


def number(value: float) -> str:
    """Three significant digits, thousands whole: 0.034, 51.2, 1,012; never an exponent.

    >>> number(51.249), number(-0.2), number(1234567.8), number(99.96), number(2e-9)
    ('51.2', '−0.2', '1,234,568', '100', '0')
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 999.5:
        text = f"{size:,.0f}"
    else:
        rounded = float(f"{size:.{_DIGITS}g}")
        decimals = 4 if rounded < 1 else max(0, _DIGITS - len(str(int(rounded))))
        text = f"{rounded:.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if rounded < 1 else text
    return f"−{text}" if value < 0 and text != "0" else text


def value_of(figure: Figure, value: float) -> str:
    """Without its unit, but for the percentage of a share; a cancel that never came is "never".

    >>> value_of("errors_share", 0.0123), value_of("cancel_p50_ms", float("inf"))
    ('1.23 %', 'never')
    """
    if figure.startswith("cancel_p") and value == math.inf:
        return "never"
    if figure.endswith("_share"):
        return f"{number(100 * value)} %"
    return number(value)


def bounds_of(figure: Figure, interval: Interval) -> str:
    """From the lower to the upper end; empty where both are the middle, or one is nowhere.

    >>> bounds_of("cpu_us_per_token", Interval(51.2, 49.63, 57.21, 8))
    '49.6–57.2'
    >>> bounds_of("errors_share", Interval(0.02, 0.01, 0.03, 8))
    '1.00–3.00 %'
    >>> bounds_of("errors_share", Interval(0.0, 0.0, 0.0, 8))
    ''
    """
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    low, high = (value_of(figure, end) for end in (interval.low, interval.high))
    if low == high == value_of(figure, interval.middle):
        return ""
    return f"{low.removesuffix(' %')}{' … ' if '−' in low else '–'}{high}"


def ratio(value: float) -> str:
    """Two significant digits: times what it is compared with; empty where that is nothing.

    >>> ratio(3.4449), ratio(0.987), ratio(99.7), ratio(147.9), ratio(0.0134), ratio(math.inf)
    ('3.4×', '0.99×', '100×', '148×', '0.013×', '')
    """
    if not math.isfinite(value):
        return ""
    rounded = float(f"{value:.2g}")
    if rounded >= 100 or not rounded:
        return f"{value:,.0f}×"
    return f"{rounded:.{max(0, 1 - math.floor(math.log10(rounded)))}f}×"


def heading(figure: Figure) -> str:
    """The figure's title with its unit.

    >>> heading("cpu_us_per_token"), heading("errors_share")
    ('CPU per token, µs', 'errors')
    """
    row = FIGURES[figure]
    return f"{row.title}, {row.unit}" if row.unit else row.title


def short_title(figure: Figure) -> str:
    """Of a column among many, without its unit.

    >>> short_title("added_first_token_p99_ms"), short_title("cpu_us_per_token")
    ('added first token p99', 'CPU/token')
    """
    text = FIGURES[figure].title.replace(", p", " p").replace(" per ", "/")
    for long, short in _SHORTER:
        text = text.replace(long, short)
    return text


_SHORTER: Final = (
    ("time to first", "first"),
    ("lateness of a token", "lateness"),
    ("memory/open stream", "memory/stream"),
)


def short_heading(figure: Figure, scenario: str = "") -> str:
    """With its unit, and the scenario where that has to be told.

    >>> short_heading("cpu_us_per_token", "burst"), short_heading("requests_per_s")
    ('burst: CPU/token, µs', 'requests/s')
    """
    unit = FIGURES[figure].unit
    per = unit.startswith("1/")
    text = short_title(figure) + (unit[1:] if per else f", {unit}" if unit else "")
    return f"{scenario}: {text}" if scenario else text


def rate(tokens_per_s: float) -> str:
    """Of what a plan is thinned to.

    >>> rate(400.0), rate(0.0)
    ('at 400 tokens/s', 'at full load')
    """
    return f"at {number(tokens_per_s)} tokens/s" if tokens_per_s else "at full load"
