"""What is drawn of samples and cells: distributions, memory over streams, ratios, costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.load.histogram import Histogram
from bench.report.charts import Entry, Series, curves, intervals, log_scale
from bench.report.markup import Markup
from bench.report.numbers import number, rate, ratio, short_heading
from bench.report.svg import Log, Point, Tail
from bench.report.view import Cell, Group, View
from bench.suite.figures import FIGURES, Figure
from bench.suite.model import DIRECT, Censored, Sample

_LEAST_MS: Final = 0.02
"""Nothing earlier is told apart: such a token was on time."""
_TOP_MAX: Final = 0.9999
_MARKED: Final = (0.5, 0.9, 0.99)
_MIB: Final = 1 << 20
_COSTS: Final[tuple[Figure, ...]] = (
    "cpu_us_per_token",
    "cpu_us_per_request",
    "requests_per_s",
    "streams_sustained",
    "cancel_p50_ms",
    "memory_mib",
)
"""Figures that are drawn for each load, beside the ratios of the summary."""


@dataclass(frozen=True, slots=True)
class _Distribution:
    title: str
    about: str
    of: Callable[[Sample], Histogram | Censored]


_DISTRIBUTIONS: Final = (
    _Distribution(
        "First token",
        "what lies between a curve and that of direct is what the gateway adds",
        lambda sample: sample.first_token_ms,
    ),
    _Distribution(
        "Whole answer",
        "what lies between a curve and that of direct is what the gateway adds",
        lambda sample: sample.latency_ms,
    ),
    _Distribution(
        "Lateness of tokens",
        "arrival minus when the plan has the token due",
        lambda sample: sample.lateness_ms,
    ),
    _Distribution(
        "Gaps", "between two tokens of one stream, as a reader sees them", lambda s: s.gap_ms
    ),
    _Distribution(
        "Cancel",
        "from a client's leaving to the end of its request at the provider",
        lambda sample: sample.cancel_ms,
    ),
)


def ratio_charts(view: View, looks: Mapping[str, int]) -> Iterator[Markup]:
    """Of the summary's figures, each beside that of the base."""
    for _, scenario, figure in view.main:
        if FIGURES[figure].additive:
            continue
        others = [peer for peer in view.peers if peer not in (view.base, DIRECT)]
        cells = {peer: view.summary(scenario, peer, figure) for peer in others}
        if not any(cell.compared for cell in cells.values()):
            continue
        entries = [_ratio_entry(peer, looks[peer], cell) for peer, cell in cells.items()]
        better = "less" if FIGURES[figure].lower_is_better else "more"
        about = f"{view.title_of(scenario)}; 1 is {view.base}, {better} is better"
        yield intervals(FIGURES[figure].title, about, entries, from_one=True)


def group_charts(view: View, group: Group, looks: Mapping[str, int]) -> Iterator[Markup]:
    """Of what was measured under one load: costs, then distributions."""
    for figure in group.figures:
        if figure in _COSTS:
            cells = {peer: view.cell(group, peer, figure) for peer in group.peers}
            if any(cell.interval for cell in cells.values()):
                entries = [
                    Entry(looks[peer], peer, cell.value, cell.interval, cell.note)
                    for peer, cell in cells.items()
                ]
                about = _loaded(group, FIGURES[figure].meaning)
                yield intervals(short_heading(figure), about, entries)
    for each in _DISTRIBUTIONS:
        series = [_series(group, peer, looks[peer], each.of) for peer in group.peers]
        drawn = [one for one in series if one is not None]
        if drawn:
            yield curves(each.title, _loaded(group, each.about), drawn, *_axes(drawn), "ms")


def memory_chart(view: View, scenario: str, looks: Mapping[str, int]) -> Markup | None:
    """Each peer's memory above its own base, over open streams; None without steps."""
    series = []
    for peer in view.peers:
        mine = (group for group in view.groups if group.scenario == scenario)
        samples = next((group.good(peer) for group in mine if group.good(peer)), ())
        points = [
            (float(sample.streams), sample.memory.pss_bytes / _MIB)
            for sample in samples
            if sample.memory is not None and sample.step
        ]
        if len({streams for streams, _ in points}) > 1:
            series.append(_memory_series(looks[peer], peer, points))
    ends = [point for each in series if each.straight for point in each.straight]
    if not ends:
        return None
    x = log_scale(min(x for x, _ in ends), max(x for x, _ in ends))
    y = log_scale(min(y for _, y in ends), max(y for _, y in ends))
    about = "MiB above the base, which is what the fitted line has at none; PSS of the tree"
    return curves("Memory over open streams", about, series, x, y, "open streams")


def _memory_series(look: int, peer: str, points: Sequence[Point]) -> Series:
    """Growth alone, so that a great base does not flatten what is asked for: the slope."""
    streams, sizes = zip(*points, strict=True)
    slope, base = statistics.linear_regression(streams, sizes)
    least, most = min(streams), max(streams)
    figures = f"{number(slope * 1024)} KiB a stream, base {number(base)} MiB"
    if slope <= 0:
        return Series(look, peer, figures)
    return Series(
        look,
        peer,
        figures,
        marks=[(x, y - base, f"{peer}: {x:.0f} streams, {number(y)} MiB") for x, y in points],
        straight=((least, slope * least), (most, slope * most)),
    )


def _loaded(group: Group, about: str) -> str:
    return f"{rate(group.rate_max)}; {about}" if group.rate_max else about


def _ratio_entry(peer: str, look: int, cell: Cell) -> Entry:
    if cell.compared is None:
        note = cell.note if cell.interval is None else "not comparable"
        return Entry(look, peer, note=note)
    said = ratio(cell.compared.middle) or cell.value
    return Entry(look, peer, said, cell.compared, cell.load)


def _series(
    group: Group, peer: str, look: int, of: Callable[[Sample], Histogram | Censored]
) -> Series | None:
    """One peer's distribution over all its rounds; None of nothing."""
    total, never = Histogram(), 0
    for sample in group.good(peer):
        match of(sample):
            case Histogram() as histogram:
                total.merge(histogram)
            case Censored(observed=observed, never=missed):
                total.merge(observed)
                never += missed
    count = total.count + never
    if not count:
        return None
    if not total.count:
        return Series(look, peer, f"never, {never} of {count}")
    ended = total.count / count
    points = [(value, share * ended) for value, share in total.points()]
    marks = [
        (total.quantile(share / ended), share, f"{peer}: {share:.0%} within ")
        for share in _MARKED
        if share <= ended
    ]
    said = ", ".join(f"p{share * 100:.0f} {number(value)}" for value, share, _ in marks)
    return Series(
        look,
        peer,
        f"{said} ms" + (f"; never, {never} of {count}" if never else ""),
        stairs=[(points[0][0], 0.0), *points],
        marks=[(value, share, f"{says}{number(value)} ms") for value, share, says in marks],
    )


def _axes(series: Sequence[Series]) -> tuple[Log, Tail]:
    """Of all that is drawn; a share that no count can show is not on the axis."""
    drawn = [each for each in series if each.stairs]
    if not drawn:
        return Log(1, 1000), Tail(0.99)
    low = min(_at(each, 0.01) for each in drawn)
    high = max(each.stairs[-1][0] for each in drawn)
    most = max(_steepest(each) for each in drawn)
    high = max(high, _LEAST_MS)
    return log_scale(max(low, _LEAST_MS, high / 1e5), high), Tail(min(max(most, 0.99), _TOP_MAX))


def _at(series: Series, share: float) -> float:
    return next((value for value, passed in series.stairs if passed >= share), math.inf)


def _steepest(series: Series) -> float:
    """The greatest share short of all."""
    return max((share for _, share in series.stairs if share < 1), default=0.0)
