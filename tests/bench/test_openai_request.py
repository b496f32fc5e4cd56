"""Requests are checked and counted as OpenAI does it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate.errors import ApiError
from bench.simulate.openai_chat import error_object
from bench.simulate.openai_request import parse_chat_request
from bench.simulate.recorded import read_answer
from bench.simulate.tokens import count_tokens
from tests.bench.recordings import needs_recordings, openai_chat_names, read_recording

HELLO = {"role": "user", "content": "hello"}
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ],
}


def parse(**request: Any) -> Any:
    return parse_chat_request(orjson.dumps({"model": "m", "messages": [HELLO], **request}))


def error_of(**request: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(**request)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 5_000])
def test_not_json(body: bytes) -> None:
    with pytest.raises(ApiError, match="We could not parse the JSON body of your request"):
        parse_chat_request(body)


def test_deeper_than_can_be_written_again() -> None:
    deep = b'{"model":"m","messages":[{"role":"user","content":"x","name":"n","x":' + b"[" * 300
    with pytest.raises(ApiError):
        parse_chat_request(deep + b"]" * 300 + b"}]}")


@pytest.mark.parametrize(
    ("request_", "message", "param", "code"),
    [
        ({"model": None}, "you must provide a model parameter", None, None),
        ({"model": 5}, "Invalid type for 'model'", "model", "invalid_type"),
        ({"messages": None}, "Missing required", "messages", "missing_required_parameter"),
        ({"messages": []}, "Invalid 'messages': empty array", "messages", "empty_array"),
        ({"messages": "hi"}, "expected an array of objects, but got a string", "messages", None),
        ({"messages": [5]}, "but got an integer", "messages[0]", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "Missing", "messages[0].role", None),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user'",
            "messages[0].role",
            "invalid_value",
        ),
        (
            {"messages": [HELLO, {"role": "user", "content": None}]},
            "Invalid value for 'content': expected a string, got null.",
            "messages.[1].content",
            None,
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "an integer", "messages[0].content", None),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "Invalid value: 'smell'. Supported values are: 'text'",
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "Missing required parameter",
            "messages[0].content[0].text",
            None,
        ),
        (
            {"temperature": 3},
            "above maximum value. Expected a value <= 2, but got 3 instead",
            "temperature",
            "decimal_above_max_value",
        ),
        (
            {"temperature": -0.5},
            "decimal below minimum value",
            "temperature",
            "decimal_below_min_value",
        ),
        (
            {"temperature": "hot"},
            "expected a decimal, but got a string",
            "temperature",
            "invalid_type",
        ),
        (
            {"temperature": True},
            "but got a boolean",
            "temperature",
            "invalid_type",
        ),
        (
            {"top_p": 1.5},
            "Invalid 'top_p'",
            "top_p",
            "decimal_above_max_value",
        ),
        (
            {"max_tokens": 0},
            "below minimum value. Expected a value >= 1",
            "max_tokens",
            "integer_below_min_value",
        ),
        (
            {"max_tokens": 1.5},
            "an integer, but got a decimal",
            "max_tokens",
            "invalid_type",
        ),
        (
            {"n": 0},
            "Invalid 'n'",
            "n",
            "integer_below_min_value",
        ),
        (
            {"n": 129},
            "Invalid 'n'",
            "n",
            "integer_above_max_value",
        ),
        (
            {"stream": "yes"},
            "expected a boolean",
            "stream",
            "invalid_type",
        ),
        (
            {"stream_options": {}},
            "only allowed when 'stream' is enabled",
            "stream_options",
            None,
        ),
        (
            {"stream": True, "stream_options": {"usage": 1}},
            "Unknown parameter",
            "stream_options.usage",
            "unknown_parameter",
        ),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "a boolean",
            "stream_options.include_usage",
            "invalid_type",
        ),
        (
            {"max_tokens": 1, "max_completion_tokens": 1},
            "same time is not supported",
            None,
            "invalid_parameter_combination",
        ),
        (
            {"stop": ["a"] * 5},
            "array too long",
            "stop",
            "array_above_max_length",
        ),
        (
            {"stop": [5]},
            "expected a string",
            "stop[0]",
            "invalid_type",
        ),
        (
            {"reasoning_effort": "heroic"},
            "Invalid value: 'heroic'",
            "reasoning_effort",
            "invalid_value",
        ),
        ({"max_token": 5}, "Unknown parameter: 'max_token'.", "max_token", "unknown_parameter"),
        (
            {"messages": [HELLO, {"role": "tool", "content": "x"}]},
            "Missing required parameter",
            "messages[1].tool_call_id",
            None,
        ),
        (
            {"messages": [HELLO, {"role": "tool", "content": "x", "tool_call_id": "call_9"}]},
            "must be a response to a preceeding message with 'tool_calls'",
            "messages.[1].role",
            None,
        ),
        (
            {"messages": [HELLO, CALLING, HELLO]},
            "did not have response messages: call_1",
            "messages.[2].role",
            None,
        ),
        (
            {"messages": [HELLO, CALLING]},
            "must be followed by tool messages",
            "messages.[2].role",
            None,
        ),
    ],
)
def test_refusals(
    request_: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    error = error_of(**request_)
    assert message in error.message
    assert error.param == param
    assert code is None or error.code == code
    written = error_object(error)["error"]
    assert set(written) == {"message", "type", "param", "code"}
    assert written["type"] == "invalid_request_error"


def test_what_the_request_comes_to() -> None:
    request = parse(
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "old"},
            CALLING,
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {
                "role": "user",
                "name": "ann",
                "content": [{"type": "text", "text": "#sim tokens=3\nx"}],
            },
        ],
        stream=True,
        stream_options={"include_usage": True},
        n=2,
        max_completion_tokens=9,
    )
    assert (request.model, request.stream, request.include_usage) == ("m", True, True)
    assert (request.choices, request.max_output_tokens) == (2, 9)
    assert request.directives == "tokens=3"
    assert request.framing_tokens == 3 + 5 * 3 + 1


def test_null_means_left_out() -> None:
    request = parse(temperature=None, n=None, stream=None, max_tokens=None, stream_options=None)
    assert (request.choices, request.stream, request.max_output_tokens) == (1, False, None)


def test_streaming_or_not_is_not_part_of_the_seed() -> None:
    assert parse().seed_material == parse(stream=True, max_tokens=5).seed_material
    assert parse().seed_material != parse(seed=1).seed_material


@needs_recordings
@pytest.mark.parametrize("name", openai_chat_names())
def test_recorded_requests_are_accepted(name: str) -> None:
    stored = read_recording(name)
    if stored["request"]["body"] is not None:
        parse_chat_request(orjson.dumps(stored["request"]["body"]))


@needs_recordings
def test_input_tokens_of_plain_recorded_requests_are_those_billed() -> None:
    """Models of before the reasoning ones; those frame their input by a token more or less."""
    compared = 0
    for name in openai_chat_names():
        stored = read_recording(name)
        body = stored["request"]["body"]
        usage, _ = read_answer(stored["response"].get("body", "").encode(), stream=stored["stream"])
        if body is None or usage is None or not _is_plain(body):
            continue
        request = parse_chat_request(orjson.dumps(body))
        counted = count_tokens(request.texts) + request.framing_tokens
        assert counted == usage["prompt_tokens"], name
        compared += 1
    assert compared >= 15


def _is_plain(body: dict[str, Any]) -> bool:
    special = {"tools", "functions", "web_search_options", "modalities"} & set(body)
    schema = (body.get("response_format") or {}).get("type") == "json_schema"
    plain = all(
        isinstance(message.get("content"), str) and "tool_calls" not in message
        for message in body["messages"]
    )
    roles = {message["role"] for message in body["messages"]}
    known = body["model"].startswith(("gpt-3.5", "gpt-4", "gpt-4o", "gpt-4.1"))
    return known and plain and not special and not schema and "tool" not in roles
