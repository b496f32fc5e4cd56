"""The table for a README: peers down, main figures across, readable as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bench.report.numbers import NOTHING, short_title
from bench.report.view import Cell, View
from bench.suite.model import DIRECT, Machine, Report, Sample

WIDTH: Final = 120
"""Characters a line has at most: more columns make a further table below."""
_REASON: Final = 24
"""Longer reasons stand below the table."""
_LESSER: Final = "of RSS"
"""Begins what is said beside a figure without changing how it reads; the page has it."""


def render_markdown(report: Report, samples: Iterable[Sample]) -> str:
    """A caption, one or more tables, and the notes that cells refer to."""
    view = View(report, samples)
    notes = _Notes()
    columns = [["peer", *(_name(peer) for peer in view.peers)]]
    for head, scenario, figure in view.main:
        cells = [view.summary(scenario, peer, figure) for peer in view.peers]
        columns.append([_plain(head), *(_cell(cell, notes) for cell in cells)])
    tables = ["\n".join(_table(group)) for group in _fitting(columns)]
    parts = [_caption(view), *tables, notes.paragraph()]
    return "\n\n".join(part for part in parts if part) + "\n"


def machine_line(machine: Machine) -> str:
    """What it was measured on, on one line."""
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    cores = f"{machine.cores} core{'s' if machine.cores != 1 else ''}"
    programs = f"Linux {machine.kernel}, Python {machine.python}"
    return f"{machine.cpu}, {cores}, {memory}, {machine.system}, {programs}"


class _Notes:
    """Numbered texts below the tables, each once."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def number(self, text: str) -> str:
        if text not in self._texts:
            self._texts.append(text)
        return f"({self._texts.index(text) + 1})"

    def paragraph(self) -> str:
        numbered = (f"({place}) {text}" for place, text in enumerate(self._texts, start=1))
        return _wrapped(_plain("; ".join(numbered)))


def _caption(view: View) -> str:
    header = view.header
    versions = [f"{peer} {view.version_of(peer)}".rstrip() for peer in view.peers if peer != DIRECT]
    level = next((row.interval.level for row in view.report.rows if row.interval), 0.95)
    compared = f"; × is the ratio to {view.base} at an equal load" if view.base else ""
    columns: dict[str, list[str]] = {}
    for _, scenario, figure in view.main:
        columns.setdefault(view.title_of(scenario), []).append(short_title(figure))
    scenarios = "; ".join(f"{title} ({', '.join(each)})" for title, each in columns.items())
    text = (
        f"Measured on {header.started_at[:10]}: {machine_line(header.machine)}. "
        f"{', '.join(versions)}. In brackets the {level:.0%} interval{compared}. "
        f"Scenarios: {scenarios}. {view.warning}"
    )
    return _wrapped(_plain(text.rstrip()))


def _cell(cell: Cell, notes: _Notes) -> str:
    if cell.interval is None:
        reason = _plain(cell.note)
        return f"{NOTHING}: {reason if len(reason) <= _REASON else notes.number(cell.note)}"
    text = cell.value
    text += f" ({cell.bounds})" if cell.bounds else ""
    text += f", {cell.ratio}" if cell.ratio else ""
    said = [note for note in cell.note.split("; ") if not note.startswith(_LESSER)]
    for note in (cell.load, "; ".join(said)):
        text += f" {notes.number(note)}" if note else ""
    return text


def _fitting(columns: Sequence[Sequence[str]]) -> list[list[Sequence[str]]]:
    """The columns in as few groups as fit into `WIDTH`, about equally wide, the first in each."""
    groups = _groups(columns, WIDTH)
    for width in range(WIDTH - 1, 0, -1):
        narrower = _groups(columns, width)
        if len(narrower) > len(groups):
            break
        groups = narrower
    return groups


def _groups(columns: Sequence[Sequence[str]], width: int) -> list[list[Sequence[str]]]:
    first, *others = columns
    groups = [[first]]
    for column in others:
        if len(groups[-1]) > 1 and _width([*groups[-1], column]) > width:
            groups.append([first])
        groups[-1].append(column)
    return groups


def _width(columns: Iterable[Sequence[str]]) -> int:
    return 1 + sum(3 + max(map(len, column)) for column in columns)


def _table(columns: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in columns]
    for place, row in enumerate(zip(*columns, strict=True)):
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        yield f"| {' | '.join(cells)} |"
        if place == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"


def _name(peer: str) -> str:
    return f"{DIRECT} (no gateway)" if peer == DIRECT else _plain(peer)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


_MARKUP: Final = {
    **{ord(sign): f"\\{sign}" for sign in "\\|`<>[]"},
    **dict.fromkeys((*range(32), 127, 0x2028, 0x2029), " "),
}


def _plain(text: str) -> str:
    """Without what Markdown or HTML would take for markup: peers have names of their own."""
    return text.translate(_MARKUP)
