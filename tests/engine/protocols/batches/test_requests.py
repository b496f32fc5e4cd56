"""Lines of an input file: what each has to say, and what it is told where it does not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.protocols.batches.requests import (
    VALUES_MAX,
    BatchLine,
    BatchLineError,
    read_line,
    write_line,
)

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {
    "custom_id": "a",
    "method": "POST",
    "url": CHAT,
    "body": {"model": "m", "messages": []},
}


def test_a_line_is_read_and_written_with_another_request() -> None:
    raw = b'{"custom_id":"a","method":"POST","url":"%b","body":{"seed":%d}}' % (
        CHAT.encode(),
        2**70,
    )

    line = read_line(raw, 3, CHAT)

    assert line == BatchLine(3, "a", "", b'{"seed":%d}' % 2**70), "to the digit"
    written = write_line(line, CHAT, b'{"model":"other"}')
    assert written.endswith(b"}\n")
    assert orjson.loads(written) == {
        "custom_id": "a",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "other"},
    }


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"{", "invalid_json_line", "not a JSON object"),
        (b"[]", "invalid_json_line", "not a JSON object"),
        (orjson.dumps({**GOOD, "files": 1}), "unknown_parameter", "'files'"),
        (orjson.dumps({**GOOD, "custom_id": ""}), "invalid_custom_id", "'custom_id'"),
        (orjson.dumps({**GOOD, "custom_id": 7}), "invalid_custom_id", "'custom_id'"),
        (orjson.dumps({**GOOD, "custom_id": "x" * 513}), "invalid_custom_id", "512"),
        (orjson.dumps({**GOOD, "method": "GET"}), "invalid_method", "'POST'"),
        (orjson.dumps({**GOOD, "url": "/v1/embeddings"}), "invalid_url", CHAT),
        (orjson.dumps({**GOOD, "body": "x"}), "invalid_request", "'body'"),
        (orjson.dumps({**GOOD, "body": {"stream": True}}), "invalid_request", "body.stream"),
        (orjson.dumps({**GOOD, "body": {"background": True}}), "invalid_request", "background"),
        (
            orjson.dumps({**GOOD, "body": {"service_tier": "priority"}}),
            "invalid_request",
            "body.service_tier",
        ),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number(
    data: bytes, code: str, says: str
) -> None:
    with pytest.raises(BatchLineError) as caught:
        read_line(data, 17, CHAT)

    error = caught.value
    assert (error.code, error.param, error.status) == (code, "input_file_id", 400)
    assert error.message.startswith("Line 17 of the input file: ")
    assert says in error.message


def test_what_takes_too_long_to_read_is_not_read() -> None:
    with pytest.raises(BatchLineError, match="too many values"):
        read_line(b"[" + b"{}," * VALUES_MAX + b"{}]", 1, CHAT)


def test_a_line_that_is_nested_too_deeply_is_refused() -> None:
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    raw = orjson.dumps({**GOOD, "body": {}}).replace(b'"body":{}', b'"body":' + deep)

    with pytest.raises(BatchLineError, match="nested too deeply"):
        read_line(raw, 1, CHAT)
