"""A run's file: written line by line, read back whole, or with a reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.jsonl import (
    RAW_NAME,
    append_note,
    append_sample,
    read_notes,
    read_run,
    write_header,
)
from bench.suite.records import RecordError
from tests.bench.suite.samples import HEADER, SAMPLE, sample

SECOND = sample(repeat=3, refused="the machine is busy\u2028\n")  # which end lines, elsewhere


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / RAW_NAME
    write_header(path, HEADER)
    append_sample(path, SAMPLE)
    append_sample(path, SECOND)
    return path


def test_a_run_is_read_back_by_its_file_or_folder(raw: Path) -> None:
    assert read_run(raw) == read_run(raw.parent) == (HEADER, [SAMPLE, SECOND])


def test_a_sample_is_on_disk_before_the_next_is_measured(tmp_path: Path) -> None:
    path = tmp_path / RAW_NAME
    write_header(path, HEADER)
    assert read_run(path) == (HEADER, [])
    append_sample(path, SAMPLE)
    assert read_run(path) == (HEADER, [SAMPLE])


def test_what_a_reader_should_know_is_kept_with_the_samples(raw: Path) -> None:
    assert read_notes(raw) == ()
    append_note(raw, "paced: ended after 3 of 8 rounds")
    assert read_notes(raw.parent) == ("paced: ended after 3 of 8 rounds",)
    assert read_run(raw) == (HEADER, [SAMPLE, SECOND])


def test_a_run_is_not_written_over(raw: Path) -> None:
    with pytest.raises(FileExistsError):
        write_header(raw, HEADER)
    assert read_run(raw) == (HEADER, [SAMPLE, SECOND])


@pytest.mark.parametrize("cut", [1, 2, 500])
def test_a_line_cut_off_is_left_out_and_said(raw: Path, cut: int) -> None:
    raw.write_bytes(raw.read_bytes()[:-cut])
    said: list[str] = []
    assert read_run(raw, said.append) == (HEADER, [SAMPLE])
    assert said == [f"{raw}: the last line is cut off, its sample is left out: was the run ended?"]


def test_a_line_cut_off_in_the_middle_is_an_error(raw: Path) -> None:
    head, first, second, _ = raw.read_text().split("\n")
    raw.write_text(f"{head}\n{first[:90]}\n{second}\n")
    with pytest.raises(RecordError, match=r"raw\.jsonl: line 2: "):
        read_run(raw)


def test_a_file_of_another_version_is_refused(raw: Path) -> None:
    raw.write_text(raw.read_text().replace('{"version":1,', '{"version":7,', 1))
    with pytest.raises(RecordError, match=r"raw\.jsonl: line 1: is of version 7, not 1"):
        read_run(raw)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"raw\.jsonl: cannot be read: No such file"),
        (b"\xff\xfe\n", "it is not UTF-8 text"),
        (b"", "there is no header"),
    ],
)
def test_what_is_no_run_is_said(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / RAW_NAME).write_bytes(content)
    with pytest.raises(RecordError, match=says):
        read_run(tmp_path)
