"""Requests: what is validated, what is sent on verbatim, the text of a prompt."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Signature
from engine.errors import InvalidRequestError
from engine.events import Call, Operation
from engine.protocols.anthropic import CODEC
from engine.protocols.carried import carry
from engine.protocols.codec import ClientRequest, HeldIdError

HELLO: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}


def parse(operation: Operation = "chat", **changes: Any) -> ClientRequest:
    body = {name: value for name, value in (HELLO | changes).items() if value is not ...}
    return CODEC.parse_request(Call(orjson.dumps(body), None, "anthropic", operation))


def sent(limit: int | None = None, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(CODEC.encode_verbatim(parse(**changes), "upstream", limit))
    return body


def of_blocks(*blocks: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content"),
        ({"max_tokens": ...}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"fallbacks": [{"model": "another"}]}, "fallbacks"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(**changes)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"{}x", b"NaN"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        CODEC.parse_request(Call(body, None, "anthropic"))


def test_tokens_are_counted_without_a_limit() -> None:
    request = parse("count_tokens", max_tokens=...)
    assert request.max_output_tokens is None
    assert "max_tokens" not in orjson.loads(CODEC.encode_verbatim(request, "upstream", 5))
    assert CODEC.path("upstream", "count_tokens", stream=False, array=False) == (
        "/messages/count_tokens"
    )
    assert orjson.loads(CODEC.encode_token_count(7)) == {"input_tokens": 7}


FILE = {"type": "file", "file_id": "file_1"}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (
            of_blocks({"type": "text", "text": "x", "source": FILE}),
            "messages[0].content[0].source.file_id",
        ),
        (
            {"system": [{"type": "image", "source": FILE}]},
            "system[0].source.file_id",
        ),
        (
            of_blocks({"type": "container_upload", "file_id": "file_1"}),
            "messages[0].content[0].file_id",
        ),
        (
            of_blocks(
                {"type": "text", "text": "x"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "more": [{"type": "image", "source": FILE}],
                },
            ),
            "messages[0].content[1].more[0].source.file_id",
        ),
        (
            of_blocks(
                {
                    "type": "image",
                    "source": {
                        "type": "url",
                        "url": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                    },
                }
            ),
            "messages[0].content[0].source.url",
        ),
        ({"container": "container_1"}, "container"),
        ({"container": {"id": "container_1"}}, "container.id"),
        (
            {"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}},
            "container.skills[0].skill_id",
        ),
        ({"diagnostics": {"previous_message_id": "msg_1"}}, "diagnostics.previous_message_id"),
        ({"fallback_credit_token": "token"}, "fallback_credit_token"),
    ],
)
def test_ids_at_the_provider_are_refused(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(HeldIdError) as caught:
        parse(**changes)
    assert (caught.value.code, caught.value.param) == ("not_found", path)
    assert "file_1" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"fallbacks": [{"model": "claude-opus-4-6"}]}, "fallbacks"),
        (
            {"tools": [{"type": "advisor_20260301", "name": "a", "model": "claude-opus-4-6"}]},
            "tools[0].model",
        ),
    ],
)
def test_other_models_than_the_one_that_is_paid_for(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError, match="other models") as caught:
        parse(**changes)
    assert caught.value.param == param


def test_names_of_ids_inside_the_clients_own_json_mean_nothing() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "file_1"}}
    schema = {"type": "object", "properties": {"file_id": {"type": "string"}}}
    parse(
        **of_blocks(call, role="assistant"),
        tools=[{"name": "f", "input_schema": schema | {"file_id": "x"}}],
        container={"skills": [{"type": "anthropic", "skill_id": "pdf"}]},
    )


PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


@pytest.mark.parametrize(
    ("blocks", "media"),
    [
        ([{"type": "text", "text": "x"}], set()),
        ([{"type": "image", "source": PNG}], {"image"}),
        ([{"type": "document", "source": PDF}], {"document"}),
        (
            [{"type": "document", "source": {"type": "text", "media_type": "text/plain",
                                             "data": "x"}}],
            set(),
        ),
        (
            [{"type": "document", "source": {"type": "content",
                                             "content": [{"type": "image", "source": PNG}]}}],
            {"image"},
        ),
        (
            [{"type": "tool_result", "tool_use_id": "t",
              "content": [{"type": "image", "source": PNG}, {"type": "document", "source": PDF}]}],
            {"image", "document"},
        ),
    ],
)  # fmt: skip
def test_media_are_found_wherever_they_are(blocks: list[dict[str, Any]], media: set[str]) -> None:
    assert set(parse(**of_blocks(*blocks)).media) == media


def test_the_body_goes_on_with_another_model() -> None:
    assert sent(temperature=0.5, anything={"a": 1}) == HELLO | {
        "model": "upstream", "temperature": 0.5, "anything": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize(("limit", "expected"), [(None, 100), (50, 50), (500, 100)])
def test_the_limit_is_lowered_never_raised(limit: int | None, expected: int) -> None:
    assert sent(limit)["max_tokens"] == expected


@pytest.mark.parametrize(
    ("limit", "thinking"),
    [
        (5_000, {"type": "enabled", "budget_tokens": 4_000}),
        (4_000, {"type": "enabled", "budget_tokens": 3_999}),
        (1_025, {"type": "enabled", "budget_tokens": 1_024}),
        (1_024, {"type": "disabled"}),
    ],
)
def test_a_budget_stays_below_the_lowered_limit(limit: int, thinking: dict[str, Any]) -> None:
    asked = {"type": "enabled", "budget_tokens": 4_000}
    assert sent(limit, max_tokens=8_000, thinking=asked)["thinking"] == thinking


def test_what_another_provider_signed_is_left_out() -> None:
    carried = carry("toolu_1", Signature("gemini", "AbA="))
    foreign = {"type": "web_search_result_location", "encrypted_index": "parshall:none:"}
    own = {"type": "web_search_result_location", "encrypted_index": "Eo8"}
    answer = [
        {"type": "thinking", "thinking": "hm", "signature": "parshall:gemini:AbA="},
        {"type": "thinking", "thinking": "hm", "signature": "ErUB"},
        {"type": "redacted_thinking", "data": "parshall:gemini:AbA="},
        {"type": "text", "text": "a", "citations": [foreign]},
        {"type": "text", "text": "b", "citations": [foreign, own]},
        {"type": "tool_use", "id": carried, "name": "f", "input": {}},
    ]
    result = {"type": "tool_result", "tool_use_id": carried, "content": "x"}
    body = sent(
        messages=[
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": answer},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": answer[:1]},
        ]
    )
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                answer[1],
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b", "citations": [own]},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            ],
        },
        {"role": "user", "content": [result | {"tool_use_id": "toolu_1"}]},
    ]


def test_a_body_too_deep_to_be_written_again_is_refused() -> None:
    body = orjson.dumps(HELLO).removesuffix(b"}") + b',"deep":' + b"[" * 300 + b"]" * 300 + b"}"
    request = CODEC.parse_request(Call(body, None, "anthropic"))
    with pytest.raises(InvalidRequestError):
        CODEC.encode_verbatim(request, "upstream", None)


def test_all_text_of_a_prompt_is_counted() -> None:
    request = parse(
        system=[{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": "hello"},
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "title",
                        "context": "context",
                        "source": {"type": "text", "media_type": "text/plain", "data": "document"},
                    },
                    {"type": "image", "source": PNG},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "thought", "signature": "secret"},
                    {"type": "tool_use", "id": "t", "name": "call", "input": {"a": "argument"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "text", "text": "result"}],
                    },
                    {
                        "type": "search_result",
                        "source": "where",
                        "title": "found",
                        "content": [{"type": "text", "text": "snippet"}],
                    },
                ],
            },
        ],
        tools=[{"name": "call", "description": "what", "input_schema": {"type": "object"}}],
        output_config={"format": {"type": "json_schema", "schema": {"title": "schema"}}},
    )
    assert list(CODEC.prompt_texts(request)) == [
        "be kind", "hello", "title", "context", "document", "thought", "call", '{"a":"argument"}',
        "result", "where", "found", "snippet",
        '{"name":"call","description":"what","input_schema":{"type":"object"}}',
        '{"type":"json_schema","schema":{"title":"schema"}}',
    ]  # fmt: skip
    assert CODEC.prompt_overhead_tokens(request) == 4 * 4 + 3 + 346


def test_the_providers_headers_are_the_version_and_the_betas() -> None:
    assert CODEC.provider_headers() == [(b"anthropic-version", b"2023-06-01")]
    betas = [(b"anthropic-beta", b"a,b"), (b"anthropic-version", b"2024-01-01")]
    assert dict(CODEC.provider_headers(betas)) == {
        b"anthropic-version": b"2024-01-01", b"anthropic-beta": b"a,b",
    }  # fmt: skip
    assert CODEC.path("m", "chat", stream=True, array=False) == "/messages"
    assert CODEC.path("m", "embed", stream=False, array=False) is None
