"""OpenAI chat: what is validated, what is sent on, what is read out of answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import GatewayError, InvalidRequestError
from engine.events import Usage
from engine.protocols import openai_chat

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def parse(**changes: Any) -> openai_chat.ChatRequest:
    return openai_chat.parse_request(orjson.dumps(HELLO | changes))


def sent(**changes: Any) -> dict[str, Any]:
    request = parse(**changes)
    document: dict[str, Any] = orjson.loads(openai_chat.encode_request(request, "upstream", None))
    return document


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0].role"),
        ({"messages": [HELLO["messages"][0], {"role": "wizard"}]}, "messages[1].role"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": [1]}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "include_usage"),
        ({"n": 0}, "n"),
        ({"n": 1_000_000}, "n"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(**changes)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"{}x", b"NaN"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        openai_chat.parse_request(body)


def test_a_body_too_deep_to_be_written_again_is_refused() -> None:
    deep: Any = "x"
    for _ in range(250):
        deep = [deep]
    request = parse(metadata={"deep": deep})
    openai_chat.encode_request(request, "m", None)
    body = orjson.dumps(HELLO)[:-1] + b',"metadata":' + b"[" * 300 + b"]" * 300 + b"}"
    with pytest.raises(InvalidRequestError, match="deep"):
        openai_chat.encode_request(openai_chat.parse_request(body), "m", None)


def test_usage_is_asked_for_on_every_stream_and_only_there() -> None:
    assert sent(stream=True)["stream_options"] == {"include_usage": True}
    assert sent(stream=True, stream_options={"include_obfuscation": False})["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }
    assert "stream_options" not in sent()


def test_everything_else_is_sent_as_it_came() -> None:
    extra = {"temperature": 0.5, "tools": [{"type": "function"}], "x_unknown": {"a": [None]}}
    assert sent(**extra) == HELLO | extra | {"model": "upstream"}


def test_a_lowered_limit_keeps_the_clients_own_field_and_never_raises_it() -> None:
    def limits(limit: int, **changes: Any) -> dict[str, Any]:
        body = openai_chat.encode_request(parse(**changes), "m", limit)
        return {k: v for k, v in orjson.loads(body).items() if k.startswith("max")}

    assert limits(50) == {"max_completion_tokens": 50}
    assert limits(50, max_tokens=100) == {"max_tokens": 50}
    assert limits(50, max_completion_tokens=20) == {"max_completion_tokens": 20}


def test_the_text_of_a_prompt() -> None:
    request = parse(
        messages=[
            {"role": "system", "content": "be kind", "name": "boss"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "look"}, {"type": "image_url"}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
            },
        ]
    )
    assert list(openai_chat.prompt_texts(request)) == ["be kind", "boss", "look", "f", "{}"]
    assert openai_chat.prompt_overhead_tokens(request) == 3 * 4 + 1 + 3


def chunk(document: dict[str, Any] | bytes, *, keep_usage: bool = False) -> openai_chat.Chunk:
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return openai_chat.read_chunk(b"data: " + data + b"\n\n", data, keep_usage=keep_usage)


def test_generated_text_is_read_by_channel() -> None:
    deltas = [
        {"index": 0, "delta": {"content": "a", "refusal": None}},
        {"index": 1, "delta": {"refusal": "no"}},
        {"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": "stop"},
        {"index": 0, "delta": {"tool_calls": [{"index": 2, "function": {"arguments": "{"}}]}},
        {"index": 0, "delta": {"function_call": {"name": "f"}}},
        {"index": 0, "delta": None},
    ]
    read = chunk({"choices": deltas})
    assert read.texts == [
        ("0.content", "a"),
        ("1.refusal", "no"),
        ("0.reasoning_content", "hm"),
        ("0.tool.2", "{"),
        ("0.function", "f"),
    ]
    assert read.finished == [0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"choices":[{}],"usage":null}', b'{"choices":[{}]}'),
        (b'{"choices":[{}],"usage" : null ,"z":1}', b'{"choices":[{}] ,"z":1}'),
        (b'{"usage":null,"choices":[{}]}', b'{"choices":[{}]}'),
        (
            rb'{"choices":[{"delta":{"content":"\"usage\":null"}}],"usage":null}',
            rb'{"choices":[{"delta":{"content":"\"usage\":null"}}]}',
        ),
        (
            b'{"x":{"a":1,"usage":null},"choices":[{}],"usage":null}',
            b'{"x":{"a":1,"usage":null},"choices":[{}]}',
        ),
        (
            rb'{"s":"}]\\","usage":null,"choices":[{"a":0,"usage":null}]}',
            rb'{"s":"}]\\","choices":[{"a":0,"usage":null}]}',
        ),
        (b'{"x":{"usage":null},"choices":[{}]}', b'{"x":{"usage":null},"choices":[{}]}'),
    ],
)
def test_a_null_usage_is_cut_out_and_no_other_byte(before: bytes, after: bytes) -> None:
    assert chunk(before).client_bytes == b"data: " + after + b"\n\n"
    assert chunk(before, keep_usage=True).client_bytes == b"data: " + before + b"\n\n"


def test_the_usage_only_chunk_is_read_and_dropped() -> None:
    document = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    read = chunk(document)
    assert (read.client_bytes, read.usage) == (b"", Usage(input_tokens=5, output_tokens=7))
    assert chunk(document, keep_usage=True).client_bytes


def test_a_chunk_without_choices_that_is_not_usage_goes_on() -> None:
    assert chunk({"choices": [], "prompt_filter_results": []}).client_bytes


@pytest.mark.parametrize("count", [-1, 2**60, 1.5, "7", None, True, float("nan")])
def test_an_absurd_usage_is_no_report(count: object) -> None:
    document = {"usage": {"prompt_tokens": 5, "completion_tokens": count}}
    assert openai_chat.read_usage(document) is None


def test_usage_details() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert openai_chat.read_usage({"usage": usage}) == Usage(100, 60, 30, 50, 20)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"too long","type":"t","code":"c","param":"p"}}', "too long"),
        (b'{"error":"a string"}', "a string"),
        (b'[{"error":{"message":"in a list"}}]', "in a list"),
        (b'{"message":"bare","type":"t"}', "bare"),
        (b"<html>", "The provider answered 400."),
        (b"", "The provider answered 400."),
        (b"[]", "The provider answered 400."),
        (b'{"error":null}', "The provider answered 400."),
    ],
)
def test_errors_of_any_shape_are_read(body: bytes, message: str) -> None:
    error = openai_chat.read_error(400, body)
    assert (error.message, error.status) == (message, 400)


def test_the_operators_own_trouble_is_not_shown_to_the_client() -> None:
    error = openai_chat.read_error(401, b'{"error":{"message":"Incorrect key sk-secret"}}')
    assert error.status == 502
    assert "sk-secret" not in error.message


def test_errors_are_written_in_openais_shape() -> None:
    error = GatewayError("it broke", param="x")
    assert orjson.loads(openai_chat.encode_error(error)) == {
        "error": {
            "message": "it broke",
            "type": "server_error",
            "param": "x",
            "code": "internal_error",
        }
    }
