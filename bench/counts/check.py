"""What was counted against the committed baseline."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import orjson

from bench.counts.paths import Count, measure_all

CALLS_TOLERANCE: Final = 0.05
"""Of calls, either way."""
CPU_FACTOR: Final = 1.6
"""CPU time varies with the machine's other work, and with the processor's kind."""
_AGAIN: Final = 9
"""So often the measurement is repeated before a baseline is missed: others may have been busy, for
as long as a test of theirs takes."""
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Versions of Python make different calls of the same code: each has a baseline of its own."""

Counts = Mapping[str, Count]


def baseline_path() -> Traversable:
    """The committed baselines, by version of Python."""
    return files("bench.counts") / "baseline.json"


def read_baseline(python: str = PYTHON) -> dict[str, Count] | None:
    """By path; None where there is none for this version of Python."""
    counts: dict[str, Any] | None = orjson.loads(baseline_path().read_bytes()).get(python)
    return None if counts is None else {name: Count(**fields) for name, fields in counts.items()}


def write_baseline(counts: Counts, path: Path, python: str = PYTHON) -> None:
    """Replace the baseline of this version of Python.

    Raises:
        OSError: the file cannot be written: an installed program's cannot.
    """
    known = orjson.loads(path.read_bytes()) if path.exists() else {}
    known[python] = {
        name: {"calls": round(count.calls, 2), "cpu": count.cpu and round(count.cpu, 3)}
        for name, count in counts.items()
    }
    path.write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def measure(baseline: Counts | None) -> dict[str, Count]:
    """All paths; again where that misses the baseline, and then the least of each."""
    counts = measure_all()
    for _ in range(_AGAIN):
        if baseline is None or not missed(counts, baseline):
            break
        counts = {name: least(counts[name], count) for name, count in measure_all().items()}
    return counts


def least(one: Count, other: Count) -> Count:
    """Of two measurements of a path: what disturbs them only ever adds."""
    multiples = [count.cpu for count in (one, other) if count.cpu is not None]
    return Count(min(one.calls, other.calls), min(multiples, default=None))


def missed(counts: Counts, baseline: Counts) -> list[str]:
    """Where there is more work than the baseline allows, one line each."""
    found = [
        f"{name} is on one side only: write the baseline anew"
        for name in sorted(counts.keys() ^ baseline.keys())
    ]
    for name, count, known in _both(counts, baseline):
        if count.calls > known.calls * (1 + CALLS_TOLERANCE):
            found.append(f"{name}: {count.calls:.2f} calls, the baseline is {known.calls:.2f}")
        if count.cpu and known.cpu and count.cpu > known.cpu * CPU_FACTOR:
            found.append(
                f"{name}: {count.cpu:.2f} times the loop's CPU, the baseline is {known.cpu:.2f}"
            )
    return found


def beaten(counts: Counts, baseline: Counts) -> list[str]:
    """Where there is so much less work that the baseline should be written anew."""
    return [
        f"{name}: {count.calls:.2f} calls, the baseline is {known.calls:.2f}"
        for name, count, known in _both(counts, baseline)
        if count.calls < known.calls * (1 - CALLS_TOLERANCE)
    ]


def table(counts: Counts, baseline: Counts | None) -> str:
    """For a terminal: calls and CPU of each path, and the baseline's; then what to do."""
    lines = [_HEAD]
    for name, count in counts.items():
        known = (baseline or {}).get(name)
        lines.append((name, *_cells(count), *(_cells(known) if known else ("-", "-"))))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    ]
    return "\n".join([*text, "", *_advice(counts, baseline)]) + "\n"


_HEAD: Final = ("path", "calls", "CPU", "baseline calls", "baseline CPU")


def _both(counts: Counts, baseline: Counts) -> Iterator[tuple[str, Count, Count]]:
    for name, count in counts.items():
        if (known := baseline.get(name)) is not None:
            yield name, count, known


def _cells(count: Count) -> tuple[str, str]:
    return f"{count.calls:.2f}", "-" if count.cpu is None else f"{count.cpu:.2f}"


def _advice(counts: Counts, baseline: Counts | None) -> Iterator[str]:
    if baseline is None:
        yield f"There is no baseline for Python {PYTHON}: `python -m bench.counts --write`."
        return
    if worse := missed(counts, baseline):
        yield "Missed: there is more work than there was."
        yield from (f"  {line}" for line in worse)
        yield (
            "Take the work out; if it is worth its price, `python -m bench.counts --write` and "
            "say in the commit what it is for."
        )
    if better := beaten(counts, baseline):
        yield "Beaten: there is less work than there was."
        yield from (f"  {line}" for line in better)
        yield "Keep it: `python -m bench.counts --write`, and commit the baseline with the change."
    if not worse and not better:
        yield (
            f"As the baseline: calls within {CALLS_TOLERANCE:.0%}, CPU below {CPU_FACTOR} times."
        )
