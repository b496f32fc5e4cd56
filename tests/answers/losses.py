"""The table of what could not be said across protocols, under `tests/golden/answers`.

Names of recordings and of fields only: nothing of what a recording says.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests import recordings
from tests.answers.paths import untaken

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "answers"
WRITE = "PARSHALL_GOLDEN"

_NAMES_SHOWN = 6

Lost = Mapping[str, Mapping[str, list[str]]]
"""By the client's protocol and the recording: what was lost."""


def check(source: str, lost: Lost) -> None:
    """Compare with the table in the project, or write it."""
    path = FOLDER / f"{source}.md"
    table = render(source, lost)
    if os.environ.get(WRITE) == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table)
        return
    assert path.exists(), f"no table: run with {WRITE}=write and review it"
    kept = path.read_text()
    changed = set(kept.splitlines()) ^ set(table.splitlines())
    assert table == kept, "\n".join(["the table of losses has changed:", *sorted(changed)])


def render(source: str, lost: Lost) -> str:
    """The table of one provider's protocol."""
    count = max(len(by_name) for by_name in lost.values())
    lines = [
        f"# What clients of other protocols are not told of {source} answers",
        "",
        f"Generated from {count} recorded answers (`{WRITE}=write`).",
        "",
        "The first tables: what a client's SDK reads differently. 'another' is something in its",
        "place, 'some' a part of several. The last: fields that are in no canonical event.",
        "Gemini's clients do get an explanation (`finishMessage`) and the service tier (in",
        "`usageMetadata`), but google-genai passes over both.",
    ]
    for target, by_name in lost.items():
        lines += ["", f"## To a client of {target}", ""]
        lines += _table({name: set(kinds) for name, kinds in by_name.items()})
    names = next(iter(lost.values()))
    lines += ["", "## Fields that no client of another protocol gets", ""]
    lines += _table({name: _untaken(source, name) for name in names})
    return "\n".join(lines) + "\n"


def _untaken(source: str, name: str) -> set[str]:
    recording = recordings.load(name)
    return untaken(source, recording.body, stream=recording.stream)


def _table(by_name: Mapping[str, set[str]]) -> list[str]:
    names_of: dict[str, list[str]] = defaultdict(list)
    for name, kinds in by_name.items():
        for kind in kinds:
            names_of[kind].append(name.removesuffix(".json"))
    rows = [
        f"| {kind} | {len(names)} | {_names(sorted(names))} |"
        for kind, names in sorted(names_of.items())
    ]
    return ["| what | recordings | which |", "|---|---|---|", *rows] if rows else ["Nothing."]


def _names(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
