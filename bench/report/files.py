"""The files of a report beside the raw samples of its run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import orjson

from bench.report.html import render_html
from bench.report.markdown import render_markdown
from bench.suite.model import Report, Sample
from bench.suite.records import to_json

NAMES = ("report.json", "report.html", "table.md")


def write_report(folder: Path, report: Report, samples: Iterable[Sample]) -> tuple[Path, ...]:
    """Write all of `NAMES`, each as a whole or not at all; an earlier report is replaced.

    Returns:
        Their paths, in that order.

    Raises:
        OSError: one cannot be written.
    """
    samples = tuple(samples)
    contents = (
        render_json(report),
        render_html(report, samples).encode(),
        render_markdown(report, samples).encode(),
    )
    paths = tuple(folder / name for name in NAMES)
    for path, content in zip(paths, contents, strict=True):
        written = path.with_name(f"{path.name}.new")
        written.write_bytes(content)
        os.replace(written, path)
    return paths


def render_json(report: Report) -> bytes:
    """Header and rows for other programs: fields as in `bench.suite.model`, infinity is null."""
    document = {
        "header": to_json(report.header),
        "rows": [to_json(row) for row in report.rows],
        "notes": report.notes,
        "samples": report.samples.name,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
