"""A report as it is shown: peers in order, what was measured together, what stands in a cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bench.report.numbers import NOTHING, bounds_of, rate, ratio, short_heading, value_of
from bench.statistics.values import flaw_for
from bench.suite.figures import FIGURES, Figure
from bench.suite.guards import flaws
from bench.suite.model import DIRECT, Interval, Report, Row, Sample

FIRST: Final = ("nginx", "parshall")
"""The limit, then ours with its variants; then the others by name; last what has no gateway."""
BASELINE: Final = "what others add to"
"""Why nothing is added without a gateway."""

MAIN: Final[Mapping[str, tuple[Figure, ...]]] = {
    "paced": (
        "cpu_us_per_token",
        "added_first_token_p50_ms",
        "added_first_token_p99_ms",
        "lateness_p99_ms",
    ),
    "unary": ("cpu_us_per_request", "requests_per_s", "added_latency_p50_ms"),
    "open-streams": ("memory_kib_per_stream",),
    "cancel-storm": ("cancel_p50_ms", "cancel_never_share"),
    "mixed": ("billing_error_share", "errors_share"),
}
"""The figures of a scenario that stand in the summary; of others the first `_MAIN_ELSE`."""
_MAIN_ELSE: Final = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown of one figure of one peer; texts, not escaped.

    Attributes:
        value: "—" where there is no figure; `note` then says why.
        bounds: of the interval, maybe empty.
        ratio: to the peer all are compared with; empty for that one.
        load: "at 400 tokens/s" where less was offered than to the strongest.
        compared: the ratio's interval; None where there is none, without a gateway, and for
            figures that are compared by difference.
    """

    value: str = NOTHING
    bounds: str = ""
    ratio: str = ""
    load: str = ""
    note: str = ""
    interval: Interval | None = None
    compared: Interval | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """What was measured of one scenario under one load, and may be compared.

    Attributes:
        peers: in order; those with a row or a sample.
        figures: in the order they were asked for.
        samples: by peer, refused ones too.
    """

    scenario: str
    title: str
    rate_max: float
    peers: tuple[str, ...]
    figures: tuple[Figure, ...]
    rows: Mapping[tuple[str, Figure], Row]
    samples: Mapping[str, tuple[Sample, ...]]

    def good(self, peer: str) -> tuple[Sample, ...]:
        """The samples of a peer that can be believed, also about time."""
        return tuple(sample for sample in self.samples.get(peer, ()) if sample.sound)


class View:
    """All that pages are made of.

    Args:
        report: whose rows are shown.
        samples: those behind it, for distributions and for the reasons of refusals.
    """

    def __init__(self, report: Report, samples: Iterable[Sample]) -> None:
        self.report = report
        self.header = report.header
        self.samples = tuple(samples)
        self._all: tuple[Row | Sample, ...] = (*report.rows, *self.samples)
        named = {each.peer for each in self._all}
        self.peers = ordered(named | set(report.header.versions))
        self.base = self._base()
        self._bounds = report.header.bounds

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """By scenario as they were run, the full load first, then the thinner the later."""
        keys = {(each.scenario, each.rate_max) for each in self._all}
        order = {name: place for place, name in enumerate(self.scenarios)}
        full_first = sorted(keys, key=lambda key: (order[key[0]], key[1] != 0, -key[1]))
        return tuple(self._group(*key) for key in full_first)

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """In the order of the header, then of the rows and samples."""
        seen = [each.scenario for each in self._all]
        return tuple(dict.fromkeys([*(t for t in self.header.titles if t in seen), *seen]))

    @cached_property
    def main(self) -> tuple[tuple[str, str, Figure], ...]:
        """(heading, scenario, figure) of the summary's columns; headings are unique."""
        columns: list[tuple[str, Figure]] = []
        for scenario in self.scenarios:
            asked = self.figures_of(scenario)
            wanted = MAIN.get(scenario, asked[:_MAIN_ELSE])
            columns += [(scenario, figure) for figure in wanted if figure in asked]
        often = Counter(figure for _, figure in columns)
        return tuple(
            (short_heading(figure, scenario if often[figure] > 1 else ""), scenario, figure)
            for scenario, figure in columns
        )

    @cached_property
    def warning(self) -> str:
        """Of samples that were kept although the guards speak against them; mostly empty.

        Memory is measured whatever the machine does besides.
        """
        timed = [each for each in self.samples if not each.step or each.scenario in self._bounds]
        doubtful = sum(
            each.sound and any(flaws(each.guards, shared_core=False, direct=each.peer == DIRECT))
            for each in timed
        )
        if not doubtful:
            return ""
        return (
            f"{doubtful} of {len(timed)} samples were kept on request although the machine or the "
            "benchmark itself disturbed them: take no figure of this run for more than a hint."
        )

    def figures_of(self, scenario: str) -> tuple[Figure, ...]:
        """Those it was asked for, then others that have rows."""
        asked = self.header.figures.get(scenario, ())
        rows = (row.figure for row in self.report.rows if row.scenario == scenario)
        return tuple(dict.fromkeys([*asked, *rows]))

    def title_of(self, scenario: str) -> str:
        """One line; its name where it has none."""
        return self.header.titles.get(scenario, scenario)

    def cell(self, group: Group, peer: str, figure: Figure) -> Cell:
        """What stands for a peer in a group's table."""
        row = group.rows.get((peer, figure))
        if row is None and peer == DIRECT and figure.startswith("added_"):
            return Cell(note=BASELINE)
        if row is None or row.interval is None:
            return Cell(note=self._why(group, peer, figure, row))
        compared = None
        if peer != DIRECT and not FIGURES[figure].additive:
            compared = row.ratio_to.get(self.base)
        value = value_of(figure, row.interval.middle)
        return Cell(
            f"≥ {value}" if row.note.startswith("at least") else value,
            bounds_of(figure, row.interval),
            ratio(compared.middle) if compared and peer != self.base else "",
            rate(group.rate_max) if group.rate_max else "",
            row.note,
            row.interval,
            compared,
        )

    def summary(self, scenario: str, peer: str, figure: Figure) -> Cell:
        """The figure at the greatest load that has one, else the reason why there is none."""
        found = [
            self.cell(group, peer, figure)
            for group in self.groups
            if group.scenario == scenario and peer in group.peers
        ]
        with_value = (cell for cell in found if cell.interval is not None)
        return next(with_value, found[0] if found else Cell(note="not measured"))

    def version_of(self, peer: str) -> str:
        """Version and revision, as far as they are known."""
        known = (self.header.versions.get(peer, ""), self.header.revisions.get(peer, ""))
        version, revision = known
        return f"{version} ({revision})" if version and revision else version or revision

    def _group(self, scenario: str, rate_max: float) -> Group:
        key = (scenario, rate_max)
        rows = [row for row in self.report.rows if (row.scenario, row.rate_max) == key]
        samples: dict[str, list[Sample]] = {}
        for sample in self.samples:
            if (sample.scenario, sample.rate_max) == key:
                samples.setdefault(sample.peer, []).append(sample)
        return Group(
            scenario,
            self.title_of(scenario),
            rate_max,
            ordered({*samples, *(row.peer for row in rows)}),
            self.figures_of(scenario),
            {(row.peer, row.figure): row for row in rows},
            {peer: tuple(each) for peer, each in samples.items()},
        )

    def _base(self) -> str:
        """nginx, or whom all else is compared with in its absence."""
        compared = {peer for row in self.report.rows for peer in row.ratio_to}
        return next((peer for peer in self.peers if peer in compared), "")

    @staticmethod
    def _why(group: Group, peer: str, figure: Figure, row: Row | None) -> str:
        """The row's own reason, else those of the refused samples, the most frequent first."""
        if row is not None and row.note:
            return row.note
        samples = group.samples.get(peer, ())
        reasons = Counter(flaw for sample in samples if (flaw := flaw_for(figure, sample)))
        return "; ".join(reason for reason, _ in reasons.most_common()) or "not measured"


def ordered(peers: Iterable[str]) -> tuple[str, ...]:
    """In the order of tables, legends and bars.

    >>> ordered(["smg", "direct", "parshall@HEAD~5", "litellm", "nginx", "parshall"])
    ('nginx', 'parshall', 'parshall@HEAD~5', 'litellm', 'smg', 'direct')
    """

    def place(peer: str) -> tuple[int, str]:
        if peer == DIRECT:
            return len(FIRST) + 1, peer
        family = peer.partition("@")[0].partition("-")[0]
        return (FIRST.index(family) if family in FIRST else len(FIRST)), peer

    return tuple(sorted(set(peers), key=place))
