"""raw.jsonl is read back as it was written."""

from __future__ import annotations

import json
import typing

import pytest

from bench.suite.model import Header, Sample
from bench.suite.records import (
    RecordError,
    header_to_line,
    note_to_line,
    read_notes,
    read_records,
    sample_to_line,
)
from tests.bench.suite.samples import HEADER, QUIET, SAMPLE, sample

UNSEEN = sample(cpu_s=None, memory=None, closed=None, billed=None, refused="the machine is busy")


def written(*samples: Sample, header: Header = HEADER) -> list[str]:
    return [f"{header_to_line(header)}\n", *(f"{sample_to_line(each)}\n" for each in samples)]


def test_what_is_written_is_read_back() -> None:
    lines = written(SAMPLE, UNSEEN)
    assert read_records(lines) == (HEADER, [SAMPLE, UNSEEN])
    assert all(line.count("\n") == 1 for line in lines)


def test_notes_stand_between_samples_and_are_none() -> None:
    header, first, second = written(SAMPLE, UNSEEN)
    lines = [header, first, f"{note_to_line('paced: ended early')}\n", second]
    assert read_records(lines) == (HEADER, [SAMPLE, UNSEEN])
    assert read_notes(lines) == ("paced: ended early",)
    assert read_notes([header, first]) == ()


def test_the_sample_of_the_tests_fills_every_field() -> None:
    missing = [name for name in typing.get_type_hints(Sample) if getattr(SAMPLE, name) is None]
    assert missing == []


def test_a_line_that_a_kill_cut_off_is_passed_over() -> None:
    lines = written(SAMPLE, SAMPLE)
    assert read_records([*lines[:-1], lines[-1][:70]]) == (HEADER, [SAMPLE])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda fields: fields.pop("tokens"), "line 2: .*'tokens'"),
        (lambda fields: fields.update(token=1), "line 2: Sample has no field 'token'"),
        (lambda fields: fields.update(tokens="many"), "line 2: tokens is 'many'"),
        (lambda fields: fields.update(errors=[]), r"line 2: errors is \[\]"),
        (lambda fields: fields["guards"].pop("steal"), "line 2: .*'steal'"),
        (lambda fields: fields["gap_ms"].pop("sum_ms"), "line 2: 'sum_ms'"),
    ],
)
def test_a_spoiled_sample_is_named(
    spoil: typing.Callable[[dict[str, typing.Any]], object], says: str
) -> None:
    head, line = written(SAMPLE)
    document = json.loads(line)
    spoil(document["sample"])
    with pytest.raises(RecordError, match=says):
        read_records([head, json.dumps(document)])


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "no header"),
        (written(SAMPLE)[1:], "line 1: neither"),
        (written() * 2, "line 2: neither"),
        (["[]\n"], "line 1: neither"),
        (["{\n"], "line 1: "),
        (['{"version":2,"header":{}}\n'], "line 1: is of version 2, not 1"),
    ],
)
def test_what_no_run_wrote_is_refused(lines: list[str], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        read_records(lines)


def test_a_figure_that_is_not_finite_is_not_read_back() -> None:
    """JSON has no NaN: better no sample than one with a hole."""
    spoiled = sample(elapsed_s=float("nan"), guards=QUIET)
    with pytest.raises(RecordError, match="elapsed_s is None"):
        read_records(written(spoiled))
