"""The tables of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bench.report.charts import swatch
from bench.report.markup import Child, Markup, join, tag
from bench.report.numbers import NOTHING, heading, number, rate, short_title
from bench.report.svg import shortened
from bench.report.view import BASELINE, Cell, Group, View
from bench.suite.figures import FIGURES
from bench.suite.model import DIRECT

_NAME_WIDTH: Final = 150.0
_REASON_WIDTH: Final = 460.0
"""Longer ones are cut in cells; in full they stand in the table of what is missing."""


def peers_table(view: View, looks: Mapping[str, int]) -> Markup:
    """Who was measured, in which version, and what one has to know of each."""
    head = ("peer", "version", "note")
    rows = (
        (
            _peer(peer, looks),
            view.version_of(peer) or NOTHING,
            view.header.notes.get(peer, "no gateway" if peer == DIRECT else ""),
        )
        for peer in view.peers
    )
    return table(head, rows, class_="text")


def summary_table(view: View, looks: Mapping[str, int]) -> Markup:
    """The main figures down, peers across."""
    rows = []
    for _, scenario, figure in view.main:
        cells = [view.summary(scenario, peer, figure) for peer in view.peers]
        named = tag("span", heading(figure), title=FIGURES[figure].meaning)
        where = tag("small", view.title_of(scenario))
        rows.append((join([named, where]), *map(_cell, cells)))
    return table(("figure", *(_peer(peer, looks) for peer in view.peers)), rows)


def group_table(view: View, group: Group, looks: Mapping[str, int]) -> Markup:
    """All figures of a scenario under one load: figures down, peers across."""
    rows = []
    for figure in group.figures:
        cells = [view.cell(group, peer, figure) for peer in group.peers]
        # All of the group share its load; the heading above says it.
        row = (_cell(cell, with_load=False) for cell in cells)
        rows.append((tag("span", heading(figure), title=FIGURES[figure].meaning), *row))
    return table(("figure", *(_peer(peer, looks) for peer in group.peers)), rows)


def missing_table(view: View, looks: Mapping[str, int]) -> Markup | None:
    """What was refused, what could not be measured, what failed; None where nothing did."""
    where: dict[tuple[str, str, str], list[str]] = {}
    for group in view.groups:
        for peer in group.peers:
            for what, why, which in _missing(view, group, peer):
                said = f"{group.title} {rate(group.rate_max)}" if group.rate_max else group.title
                where.setdefault((peer, what, why), []).append(f"{said}{which}")
    rows = [
        (_peer(peer, looks), what, why, "; ".join(places))
        for (peer, what, why), places in sorted(
            where.items(), key=lambda item: view.peers.index(item[0][0])
        )
    ]
    return table(("peer", "what", "why", "where"), rows, class_="text") if rows else None


def guards_table(view: View) -> Markup:
    """The worst of each guard by scenario and load, refused samples left out."""
    head = (
        "scenario",
        "load",
        "samples",
        "refused",
        "load generator, cores",
        "its lag p99, ms",
        "provider, cores",
        "its lateness p99, ms",
        "CPU stolen",
        "other programs, cores",
        "pace",
        "calibration, ms",
    )
    return table(head, (_guards(group) for group in view.groups if group.samples))


def table(
    head: Iterable[Child], rows: Iterable[Iterable[Child]], class_: str | None = None
) -> Markup:
    """Scrolls within itself where it is wider than the page; the first column names the row."""
    body = [
        tag("tr", *(tag("td" if place else "th", cell) for place, cell in enumerate(row)))
        for row in rows
    ]
    heads = tag("thead", tag("tr", *(tag("th", cell) for cell in head)))
    whole = tag("table", heads, tag("tbody", *body), class_=class_)
    return tag("div", whole, class_="wide", tabindex="0")


def _peer(peer: str, looks: Mapping[str, int]) -> Markup:
    shown = shortened(peer, _NAME_WIDTH)
    title = peer if shown != peer else None
    return tag("span", swatch(looks[peer]), tag("span", shown), class_="peer", title=title)


def _cell(cell: Cell, *, with_load: bool = True) -> Markup:
    if cell.interval is None:
        reason = shortened(f"{NOTHING}: {cell.note}", _REASON_WIDTH)
        return tag("span", reason, class_="reason", title=cell.note)
    small = [each for each in (cell.bounds, cell.load if with_load else "") if each]
    note = shortened(cell.note, _REASON_WIDTH)
    return join(
        [
            tag("span", cell.value, class_="value"),
            tag("span", cell.ratio, class_="ratio") if cell.ratio else None,
            *(tag("small", each) for each in small),
            tag("small", note, class_="note", title=cell.note) if note else None,
        ]
    )


def _missing(view: View, group: Group, peer: str) -> Iterator[tuple[str, str, str]]:
    """(what, why, how often or of which figures)."""
    samples = group.samples.get(peer, ())
    refused = Counter(sample.refused for sample in samples if sample.refused)
    for reason, times in refused.items():
        yield "refused samples", reason, f" ({times} of {len(samples)})"
    late = Counter(sample.late for sample in samples if sample.late and not sample.refused)
    for reason, times in late.items():
        yield "samples without figures of time", reason, f" ({times} of {len(samples)})"
    if refused.total() < len(samples):
        without: dict[str, list[str]] = {}
        for figure in group.figures:
            cell = view.cell(group, peer, figure)
            if cell.interval is None and cell.note != BASELINE:
                without.setdefault(cell.note, []).append(short_title(figure))
        for note, figures in without.items():
            yield "no figure", note, f" ({', '.join(figures)})"
    failed: Counter[str] = Counter()
    for sample in samples:
        failed.update(sample.errors)
    for error, times in failed.most_common():
        yield "failed requests", error, f" ({times:,})"


def _guards(group: Group) -> tuple[Child, ...]:
    samples = [sample for each in group.samples.values() for sample in each]
    guards = [sample.guards for sample in samples if not sample.refused]
    counts = (str(len(samples)), str(len(samples) - len(guards)))
    named = (group.title, rate(group.rate_max), *counts)
    if not guards:
        return (*named, *[NOTHING] * 8)

    def worst(*fields: str) -> list[Child]:
        return [number(max(getattr(each, name) for each in guards)) for name in fields]

    pace = number(min(each.pace for each in guards))
    speed = [each.calibration_ms for each in guards]
    steal = f"{number(100 * max(each.steal for each in guards))} %"
    return (
        *named,
        *worst("load_core", "load_lag_p99_ms", "simulator_core", "simulator_late_p99_ms"),
        steal,
        *worst("foreign_cores"),
        pace,
        f"{number(min(speed))}–{number(max(speed))}",
    )
