"""Logs: JSON lines, written elsewhere, bounded, without the messages of unforeseen exceptions."""

from __future__ import annotations

import io
import json
import logging
import os
from typing import Any

import pytest

from frontends.logs import LINES_MAX, LineWriter, fault_trace, logging_to


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, "info"):
        logging.getLogger("parshall.test").info("hello %s", "you", extra={"fields": {"a": 1}})
        logging.getLogger("parshall.test").debug("not this")
    (line,) = lines_of(stream)

    assert (line["message"], line["level"], line["a"]) == ("hello you", "info", 1)
    assert line["logger"] == "parshall.test"
    assert line["time"].endswith("Z")


def test_libraries_debug_lines_stay_out() -> None:
    stream = io.StringIO()
    with logging_to(stream, "debug"):
        logging.getLogger("hpack.hpack").debug("authorization: Bearer sk-secret")
        logging.getLogger("httpcore").info("authorization: Bearer sk-secret")
        logging.getLogger("trio").warning("this one")
    (line,) = lines_of(stream)

    assert line["message"] == "this one"


def test_an_exceptions_message_is_not_logged() -> None:
    stream = io.StringIO()
    with logging_to(stream, "info"):
        try:
            raise ExceptionGroup("both", [ValueError("a prompt"), KeyError("a key")])
        except ExceptionGroup:
            logging.getLogger("parshall.test").exception("it failed")
    (line,) = lines_of(stream)

    assert "ValueError" in line["trace"]
    assert "KeyError" in line["trace"]
    assert "a prompt" not in stream.getvalue()
    assert "a key" not in stream.getvalue()


def test_a_trace_says_where() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")

    assert "raw_decode" in fault_trace(caught.value)


def test_a_reader_that_stalls_stops_nobody() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, True)
    with os.fdopen(write_end, "w") as stream:
        writer = LineWriter(stream)
        record = logging.LogRecord("x", logging.INFO, "", 0, "a line " * 10, None, None)
        for _ in range(100 * LINES_MAX):
            writer.handle(record)
            if writer.dropped_lines:
                break
        assert writer.dropped_lines > 0

        os.set_blocking(read_end, False)
        with os.fdopen(read_end, "rb") as reader:
            while writer._thread.is_alive():
                reader.read()
                writer._closing.set()
                writer._thread.join(0.01)


def test_what_was_dropped_is_counted_in_the_log() -> None:
    stream = io.StringIO()
    with logging_to(stream, "info"):
        (writer,) = [h for h in logging.getLogger().handlers if isinstance(h, LineWriter)]
        writer.dropped_lines = 7
        logging.getLogger("parshall.test").info("on")

    assert "7 log lines were dropped" in stream.getvalue()


def test_levels_are_as_before_afterwards() -> None:
    before = logging.getLogger("parshall").level
    with logging_to(io.StringIO(), "debug"):
        pass

    assert logging.getLogger("parshall").level == before
