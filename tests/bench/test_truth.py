"""The truth log: bounded, in order, found by either id."""

from __future__ import annotations

import pytest

from bench.simulate import TruthLog


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
    record.texts = lambda tokens: ["x" * tokens, "y" * tokens]
    record.tokens_generated, record.tokens_written = 3, 2
    assert record.choices == ["xxx", "yyy"]
    assert (record.text, record.text_written) == ("xxx", "xx")


def test_a_bound_is_needed() -> None:
    with pytest.raises(ValueError, match="max_records"):
        TruthLog(0)
