"""The truth log: bounded, in order, found by either id."""

from __future__ import annotations

import pytest

from bench.simulate import TruthLog
from bench.simulate.answer import Answer, Segment
from bench.simulate.text import WordSource
from bench.simulate.truth import REQUESTS_MAX_BYTES


def test_finds_the_latest_of_an_id_and_all_of_them() -> None:
    log = TruthLog()
    first = log.open("a", "own1", "h2")
    second = log.open("a", "own2", "h2")
    other = log.open("own3", "own3", "http/1.1")
    assert log.record("a") is second
    assert log.record("own1") is first
    assert log.records("a") == [first, second]
    assert log.records() == [first, second, other]
    assert log.record("b") is None
    assert log.records("b") == []


def test_the_oldest_goes_when_full() -> None:
    log = TruthLog(max_records=3)
    for number in range(10):
        log.open("same", f"own{number}", "h2")
    assert [record.provider_request_id for record in log.records()] == ["own7", "own8", "own9"]
    assert log.records("same") == log.records()
    assert log.record("own6") is None
    assert len(log) == 3


def test_the_first_ending_stands() -> None:
    record = TruthLog().open("a", "own", "h2")
    assert record.to_json()["ended"] is None
    record.end("cut")
    record.end("done")
    assert record.to_json()["ended"] == "cut"


def test_text_is_made_when_asked_for() -> None:
    record = TruthLog().open("a", "own", "h2")
    sources = [WordSource(b"x"), WordSource(b"y")]
    record.answer = Answer((Segment("text", 0, 100, sources),), "stop")
    record.choice_count = 2
    record.tokens_generated, record.tokens_written = 6, 4
    assert record.choices == [source.text(0, 3) for source in sources]
    assert (record.text, record.text_written) == (sources[0].text(0, 3), sources[0].text(0, 2))
    assert record.reasoning == ""


def test_the_bodies_kept_are_bounded() -> None:
    log = TruthLog()
    body = b"x" * (REQUESTS_MAX_BYTES // 2)
    records = [log.open(str(number), f"own{number}", "h2") for number in range(3)]
    for record in records:
        log.keep_body(record, body)
    assert [len(record.body) for record in records] == [0, len(body), len(body)]
    log.keep_body(records[0], b"x" * (REQUESTS_MAX_BYTES + 1))
    assert records[0].body == b""


def test_a_body_goes_with_its_record() -> None:
    log = TruthLog(max_records=1)
    for number in range(3):
        log.keep_body(log.open(str(number), f"own{number}", "h2"), b"x" * REQUESTS_MAX_BYTES)
    [record] = log.records()
    assert len(record.body) == REQUESTS_MAX_BYTES


def test_the_request_is_parsed_when_asked_for() -> None:
    log = TruthLog()
    record = log.open("a", "own", "h2")
    assert record.request is None
    log.keep_body(record, b'{"model":"x"}')
    assert record.request == {"model": "x"}


def test_a_bound_is_needed() -> None:
    with pytest.raises(ValueError, match="max_records"):
        TruthLog(0)
