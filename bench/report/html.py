"""The page: one file of HTML with its style and drawings inside; no script, no reference.

It is XML as well, so whatever it says is escaped in one place, `markup`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Final

from bench.report.looks import looks_of
from bench.report.markdown import machine_line
from bench.report.markup import Markup, tag
from bench.report.numbers import rate
from bench.report.plots import group_charts, memory_chart, ratio_charts
from bench.report.prose import GUARDS, METHOD, READING
from bench.report.tables import (
    group_table,
    guards_table,
    missing_table,
    peers_table,
    summary_table,
    table,
)
from bench.report.view import View
from bench.suite.model import Report, Sample
from bench.suite.scenarios import find_scenario, scenario_names

TITLE: Final = "What gateways cost, and what they add"


def render_html(report: Report, samples: Iterable[Sample]) -> str:
    """The whole page.

    Args:
        report: whose rows the tables show.
        samples: those of its raw.jsonl, for distributions, guards and reasons.
    """
    view = View(report, samples)
    looks = looks_of(view.peers)
    sections = list(_sections(view, looks))
    links = (tag("a", title, href=f"#{name}") for name, title, _ in sections)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", TITLE),
        tag("style", Markup(f"\n{_style()}")),
    )
    body = tag(
        "body",
        tag("h1", TITLE),
        tag("p", f"Measured {_when(report)} on {machine_line(report.header.machine)}."),
        tag("p", view.warning, class_="warning") if view.warning else None,
        tag("nav", *links),
        *(tag("section", tag("h2", title), *content, id=name) for name, title, content in sections),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _sections(
    view: View, looks: Mapping[str, int]
) -> Iterator[tuple[str, str, list[Markup | None]]]:
    """(anchor, title, what stands below) in order."""
    ratios = tag("div", *ratio_charts(view, looks), class_="charts")
    summary = [tag("p", READING), summary_table(view, looks), ratios]
    yield "summary", "Summary", [*summary]
    yield "peers", "Who was measured", [peers_table(view, looks)]
    for place, scenario in enumerate(view.scenarios):
        yield (
            f"scenario-{place}",
            _capital(view.title_of(scenario)),
            _scenario(view, scenario, looks),
        )
    missing = missing_table(view, looks) or tag("p", "Nothing was refused, and nothing failed.")
    notes = [tag("ul", *(tag("li", note) for note in view.report.notes))]
    yield "missing", "Refused, missing and failed", [missing, *(notes if view.report.notes else ())]
    yield "guards", "Can it be believed?", [tag("p", GUARDS), guards_table(view)]
    yield "method", "Method", [tag("p", paragraph) for paragraph in METHOD]
    yield "again", "To do it again", list(_again(view))


def _scenario(view: View, scenario: str, looks: Mapping[str, int]) -> list[Markup | None]:
    about = _about(view, scenario)
    memory = memory_chart(view, scenario, looks)
    content: list[Markup | None] = [tag("p", about, class_="soft") if about else None]
    groups = [group for group in view.groups if group.scenario == scenario]
    for group in groups:
        charts = list(group_charts(view, group, looks))
        if memory is not None and group is groups[0]:
            charts.insert(0, memory)
        content += [
            tag("h3", _capital(rate(group.rate_max))) if len(groups) > 1 else None,
            group_table(view, group, looks),
            tag("div", *charts, class_="charts") if charts else None,
        ]
    return content


def _again(view: View) -> Iterator[Markup]:
    header = view.header
    yield tag("pre", tag("code", shlex.join(_command(header.command))))
    machine = header.machine
    facts = [
        ("begun", header.started_at),
        ("seed", str(header.seed)),
        ("processor", f"{machine.cpu}, {machine.cores} cores"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("system", f"{machine.system}, Linux {machine.kernel}, Python {machine.python}"),
        ("raw samples", view.report.samples.name),
        *(
            (f"scenario {name}", f"digest {digest}")
            for name, digest in header.digests.items()
            if name in view.scenarios
        ),
    ]
    yield table(("what", "value"), facts)


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    return command if command[:1] != ("bench",) else ("parshall", *command)


def _about(view: View, scenario: str) -> str:
    """What the scenario's file says of itself, if it is still the one that was run."""
    if scenario not in scenario_names():
        return ""
    known = find_scenario(scenario)
    return known.about if known.digest == view.header.digests.get(scenario) else ""


def _when(report: Report) -> str:
    return report.header.started_at[:16].replace("T", " ") + " UTC"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _style() -> str:
    return (files("bench.report") / "style.css").read_text(encoding="utf-8")
