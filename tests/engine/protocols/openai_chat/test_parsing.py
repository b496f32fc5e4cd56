"""A client's request: what is validated, what is refused, what is sent on verbatim."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Signature
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols import carried
from engine.protocols.codec import ClientRequest, HeldIdError
from engine.protocols.openai_chat import CODEC

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def parse(**changes: Any) -> ClientRequest:
    return CODEC.parse_request(Call(orjson.dumps(HELLO | changes), None))


def sent(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(
        CODEC.encode_verbatim(parse(**changes), "upstream", None)
    )
    return document


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0].role"),
        ({"messages": [HELLO["messages"][0], {"role": "wizard"}]}, "messages[1].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
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
        CODEC.parse_request(Call(body, None))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"container": "cntr_1"}, "container"),
        ({"extra_body": {"google": {"cached_content": "c"}}}, "extra_body.google.cached_content"),
        (
            {"messages": user({"type": "image_url", "file": {"file_id": "file-1"}})},
            "messages[0].content[0].file.file_id",
        ),
        (
            {"messages": user({"type": "text", "text": "a"}, {"type": "x", "file_id": "file-1"})},
            "messages[0].content[1].file_id",
        ),
        (
            {
                "messages": user(
                    {
                        "type": "image_url",
                        "image_url": {
                            "url": "https://generativelanguage.googleapis.com/v1beta/files/abc"
                        },
                    }
                )
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "assistant", "images": [{"image_url": {"url": "files/abc"}}]}]},
            "messages[0].images[0].image_url.url",
        ),
        ({"preset": "mine"}, "preset"),
        (
            {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
            "messages[0].audio.id",
        ),
        (
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
            "tools[0].vector_store_ids",
        ),
        (
            {"tools": [{"type": "file_search", "file_search": {"vector_store_ids": ["vs_1"]}}]},
            "tools[0].file_search.vector_store_ids",
        ),
        (
            {"tools": [{"type": "code_interpreter", "container": {"file_ids": ["file-1"]}}]},
            "tools[0].container.file_ids",
        ),
    ],
)
def test_what_lives_at_the_provider_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(HeldIdError) as caught:
        parse(**changes)
    assert (caught.value.code, caught.value.param) == ("not_found", param)


@pytest.mark.parametrize("name", ["models", "fallbacks"])
def test_other_models_than_the_one_that_is_paid_for(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="other models") as caught:
        parse(**{name: ["openai/o1-pro"]})
    assert caught.value.param == name
    assert sent(**{name: []})[name] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": [{"type": "function", "function": {"parameters": {"vector_store_ids": ["a"]}}}]},
        {"messages": user({"type": "text", "text": "file_id: file-1", "file_id": None})},
        {"messages": user({"type": "file", "file": {"file_id": None, "file_data": "data:,"}})},
        {"messages": [{"role": "assistant", "audio": None, "content": "x"}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"file_id":1}'}}]}
            ]
        },
    ],
)
def test_what_only_sounds_like_it_is_not(changes: dict[str, Any]) -> None:
    assert sent(**changes) == HELLO | changes | {"model": "upstream"}


@pytest.mark.parametrize(
    ("part", "kinds"),
    [
        ({"type": "text", "text": "a"}, set()),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, {"image"}),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, {"audio"}),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,"}}, {"document"}),
        ({"type": "file", "file": {"file_data": "data:audio/wav;base64,"}}, {"audio"}),
        ({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}, {"video"}),
    ],
)
def test_media_are_known_by_kind(part: dict[str, Any], kinds: set[str]) -> None:
    assert set(parse(messages=user(part)).media) == kinds


def test_a_body_too_deep_to_be_written_again_is_refused() -> None:
    deep: Any = "x"
    for _ in range(250):
        deep = [deep]
    CODEC.encode_verbatim(parse(metadata={"deep": deep}), "m", None)
    body = orjson.dumps(HELLO)[:-1] + b',"metadata":' + b"[" * 300 + b"]" * 300 + b"}"
    with pytest.raises(InvalidRequestError, match="deep"):
        CODEC.encode_verbatim(CODEC.parse_request(Call(body, None)), "m", None)


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
        body = CODEC.encode_verbatim(parse(**changes), "m", limit)
        return {k: v for k, v in orjson.loads(body).items() if k.startswith("max")}

    assert limits(50) == {"max_completion_tokens": 50}
    assert limits(50, max_tokens=100) == {"max_tokens": 50}
    assert limits(50, max_completion_tokens=20) == {"max_completion_tokens": 20}


def test_signatures_carried_in_ids_are_taken_out_again() -> None:
    call_id = carried.carry("call_1", Signature("gemini", "c2ln"))
    messages = [
        {"role": "user", "content": f"about {call_id}"},
        {"role": "assistant", "tool_calls": [{"id": call_id, "function": {"name": call_id}}, 7]},
        {"role": "tool", "tool_call_id": call_id, "content": call_id},
    ]

    got = sent(messages=messages)["messages"]

    assert got[0] == messages[0]
    assert got[1]["tool_calls"] == [{"id": "call_1", "function": {"name": call_id}}, 7]
    assert got[2] == {"role": "tool", "tool_call_id": "call_1", "content": call_id}


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
        ],
        response_format={"type": "json_schema", "json_schema": {"name": "s"}},
    )
    assert list(CODEC.prompt_texts(request)) == [
        "be kind", "boss", "look", "f", "{}", '{"name":"s"}',
    ]  # fmt: skip
    assert CODEC.prompt_overhead_tokens(request) == 3 * 4 + 1 + 3


def test_where_requests_go_and_with_what() -> None:
    assert CODEC.path("m", "chat", stream=True, array=False) == "/chat/completions"
    assert CODEC.path("m", "count_tokens", stream=False, array=False) is None
    assert CODEC.provider_headers([(b"openai-project", b"p")]) == []
