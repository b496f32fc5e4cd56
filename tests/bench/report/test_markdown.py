"""The README's table: everybody is in it, it fits, and nothing in it is taken for markup."""

from __future__ import annotations

import dataclasses

import pytest

from bench.report.markdown import WIDTH, render_markdown
from bench.suite.model import Report
from tests.bench.report.synthetic import BUSY, HEADER, TRUTHS, run


@pytest.fixture(scope="module")
def text() -> str:
    return render_markdown(*run())


def cell_of(text: str, peer: str, heading: str) -> str:
    for table in text.split("\n\n"):
        head, *rows = [line.strip("|").split(" | ") for line in table.splitlines()]
        names = [name.strip() for name in head]
        if heading in names:
            found = (row for row in rows if row[0].strip() == peer)
            return next(found)[names.index(heading)].strip()
    raise LookupError(f"no column {heading!r}")


@pytest.mark.parametrize(
    ("peer", "heading", "begins", "ends"),
    [
        ("nginx", "CPU/token, µs", "14.8 (", ")"),
        ("parshall", "CPU/token, µs", "50.3 (", "), 3.4×"),
        ("smg", "CPU/token, µs", "26.9 (", "), 1.8×"),
        ("litellm", "CPU/token, µs", "1,104 (", "), 75× (1)"),
        ("parshall", "memory/stream, KiB", "47.0 (", "), 4.9×"),
        ("portkey", "cancel p50, ms", "never", "never"),
        ("portkey", "never cancelled", "100 % (", " %)"),
        ("portkey", "billing error", "—: not measured", "—: not measured"),
        ("litellm", "errors", "—: (3)", "—: (3)"),
        ("direct (no gateway)", "CPU/token, µs", "—: not seen", "—: not seen"),
    ],
)
def test_cells(text: str, peer: str, heading: str, begins: str, ends: str) -> None:
    cell = cell_of(text.replace("mixed: ", ""), peer, heading)
    assert cell.startswith(begins)
    assert cell.endswith(ends)


def test_notes_say_the_load_and_why_there_is_no_figure(text: str) -> None:
    notes = text.strip().rpartition("\n\n")[2]
    assert " ".join(notes.split()) == (
        f"(1) at 400 tokens/s; (2) at 4,000 tokens/s; (3) 4 of 4 refused: {BUSY}"
    )


def test_no_line_is_wider_than_a_screen(text: str) -> None:
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_every_peer_is_in_every_table(text: str) -> None:
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) > 1
    for table in tables:
        assert table.count("\n") == 1 + len(TRUTHS)


def test_a_hostile_name_is_text(text: str) -> None:
    assert "<" not in text.replace("\\<", "")
    assert "\\<script\\>alert('x')\\</script\\>&\\|\"" in text
    assert "\x07" not in text


def test_the_caption_says_when_where_and_what(text: str) -> None:
    caption = " ".join(text.partition("\n\n")[0].split())
    for said in ("2026-05-01", "Xeon", "2 cores", "8 GiB", "litellm 1.106.2", "f998027", "95%"):
        assert said in caption


def test_a_run_of_nothing_is_still_text() -> None:
    report, _ = run()
    bare = dataclasses.replace(HEADER, versions={}, revisions={}, notes={}, titles={})
    text = render_markdown(Report(bare, (), report.samples), [])
    assert "Xeon" in text
