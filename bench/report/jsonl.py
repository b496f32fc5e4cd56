"""raw.jsonl on disk: the header first, then a line a sample, each on the disk once it is measured.

A run that is killed leaves all lines but the last one whole; `bench.suite.records` has the format.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.suite import records
from bench.suite.model import Header, Sample
from bench.suite.records import (
    RecordError,
    header_to_line,
    note_to_line,
    read_records,
    sample_to_line,
)

RAW_NAME: Final = "raw.jsonl"
"""Of the file in a run's folder."""


def write_header(path: Path, header: Header) -> None:
    """Begin a run's file.

    Raises:
        FileExistsError: a run has been written there; measuring takes minutes, so it is kept.
        OSError: it cannot be written.
    """
    _write(path, "x", header_to_line(header))


def append_sample(path: Path, sample: Sample) -> None:
    """Add a line to a file that `write_header` began. Raises OSError when it cannot be written."""
    _write(path, "a", sample_to_line(sample))


def append_note(path: Path, note: str) -> None:
    """Add what a reader should know. Raises OSError when it cannot be written."""
    _write(path, "a", note_to_line(note))


def read_notes(path: Path) -> tuple[str, ...]:
    """What `append_note` has added. `path` and errors as of `read_run`."""
    path, lines = _lines_of(path)
    return records.read_notes(lines)


def read_run(path: Path, say: Callable[[str], None] | None = None) -> tuple[Header, list[Sample]]:
    """What a run has measured.

    Args:
        path: of the file, or of the folder it is in.
        say: is told of a last line that was cut off, whose sample is left out.

    Raises:
        RecordError: there is no such file, or no run of this version has written it; the message
            names the file, and the line where there is one.
    """
    path, lines = _lines_of(path)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        if say is not None:
            say(f"{path}: the last line is cut off, its sample is left out: was the run ended?")
    try:
        return read_records(lines)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None


def _lines_of(path: Path) -> tuple[Path, list[str]]:
    """The file and its lines."""
    if path.is_dir():
        path = path / RAW_NAME
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return path, list(file)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordError(f"{path}: cannot be read: it is not UTF-8 text") from None


def _write(path: Path, mode: str, line: str) -> None:
    with path.open(mode, encoding="utf-8", newline="\n") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
