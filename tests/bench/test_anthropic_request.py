"""Messages requests are refused as Anthropic refuses them, and accepted as it accepts them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate.anthropic_request import parse_messages_request
from bench.simulate.chat import ChatRequest
from bench.simulate.errors import ApiError
from bench.simulate.signatures import THINKING, Signer
from tests.bench.recordings import names_of, needs_recordings, read_recording

SIGNER = Signer(b"seed")
VERSION = {b"anthropic-version": b"2023-06-01"}
HELLO = {"role": "user", "content": "Hello"}
TOOL = {"name": "sum", "input_schema": {"type": "object", "properties": {}}}
SIGNED = {
    "type": "thinking",
    "thinking": "hm",
    "signature": SIGNER.sign(b"nonce", THINKING, b"hm"),
}
USE = {"type": "tool_use", "id": "toolu_1", "name": "sum", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}
THINKS = {"type": "enabled", "budget_tokens": 1_024}


def parse(**request: Any) -> ChatRequest:
    document = {"model": "m", "messages": [HELLO], "max_tokens": 2_000, **request}
    document = {name: value for name, value in document.items() if value is not None}
    return parse_messages_request(orjson.dumps(document), VERSION, SIGNER)


def turns(*contents: Any) -> list[dict[str, Any]]:
    """Messages of the user and the assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"model": None}, "model: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: Input should have at least 1 item"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"temperature": True}, "temperature: Input should be a valid number"),
        ({"foo": 1}, "foo: Extra inputs are not permitted"),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"seed": 2}, "seed: Extra inputs are not permitted"),
        ({"messages": [HELLO | {"name": "x"}]}, "messages.0.name: Extra inputs"),
        ({"messages": turns([{"type": "text"}])}, "messages.0.content.0.text: Field required"),
        ({"messages": turns([{"type": "smell"}])}, "messages.0.content.0.type: Input should be"),
        ({"messages": turns([{"text": "x"}])}, "messages.0.content.0.type: Field required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": turns("x", "y")[1:]}, 'first message must use the "user" role'),
        ({"messages": turns("")}, "all messages must have non-empty content"),
        ({"messages": turns([])}, "all messages must have non-empty content"),
        ({"messages": turns("x", "", "y")}, "all messages must have non-empty content"),
        ({"messages": turns([{"type": "text", "text": ""}])}, "must be non-empty"),
        ({"messages": turns("  ")}, "must contain non-whitespace text"),
        ({"messages": turns("x", "so ")}, "cannot end with trailing whitespace"),
        ({"messages": turns([RESULT])}, "unexpected `tool_use_id` found"),
        ({"messages": turns("x", [USE])}, "messages.1: `tool_use` ids were found without"),
        ({"messages": turns("x", [USE], "y")}, "messages.1: `tool_use` ids were found without"),
        (
            {"messages": turns("x", [USE], [{"type": "text", "text": "y"}, RESULT])},
            "messages.1: `tool_use` ids were found without",
        ),
        (
            {"messages": turns("x", [USE, USE | {"id": "toolu_2"}], [RESULT])},
            "without `tool_result` blocks immediately after: toolu_2.",
        ),
        ({"messages": turns("x", [USE], [RESULT, RESULT])}, "must have a single result"),
        ({"messages": turns("x", [USE | {"id": "a:b"}], [RESULT])}, "should match pattern"),
        ({"messages": turns("x", [USE | {"input": "{}"}], [RESULT])}, "Input should be a valid"),
        ({"messages": turns([USE])}, "`tool_use` blocks can only be in `assistant` messages"),
        ({"messages": turns("x", [SIGNED | {"signature": "x"}])}, "Invalid `signature` in"),
        ({"messages": turns("x", [SIGNED | {"thinking": "other"}])}, "Invalid `signature` in"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1_023}}, "equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, "must be greater than"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
        ({"thinking": THINKS, "temperature": 0.5}, "`temperature` may only be set to 1"),
        ({"thinking": THINKS, "top_k": 5}, "`top_k` must be unset"),
        ({"thinking": THINKS, "top_p": 0.5}, "`top_p` must be greater"),
        ({"thinking": THINKS, "tools": [TOOL], "tool_choice": {"type": "any"}}, "forces tool use"),
        (
            {
                "thinking": THINKS,
                "tools": [TOOL],
                "messages": turns("x", [USE], [RESULT]),
            },
            (
                "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                "`tool_use`"
            ),
        ),
        ({"tools": [{"name": "sum"}]}, "tools.0.input_schema: Field required"),
        ({"tools": [{"name": "s u", "input_schema": {}}]}, "should match pattern"),
        ({"tools": [TOOL | {"input_schema": {"type": "string"}}]}, "input_schema.type"),
        ({"tools": [TOOL | {"parameters": {}}]}, "tools.0.parameters: Extra inputs"),
        ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
        ({"tools": [{"type": "function"}]}, "tools.0.type: Input should be"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "not found"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice: Input should be a valid object"),
        ({"tool_choice": {"type": "any"}}, "only be specified while providing tools"),
        ({"stop_sequences": [" "]}, "stop_sequences.0: String should match pattern"),
        ({"system": [{"type": "image"}]}, "system.0.text: Field required"),
        ({"output_format": {}}, "output_format: Extra inputs"),
    ],
)
def test_refusals(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(**request_)
    assert message in caught.value.message
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": turns("x", [SIGNED, USE], [RESULT]), "thinking": THINKS, "tools": [TOOL]},
        {"messages": turns("x", [USE], [RESULT, {"type": "text", "text": "and?"}])},
        {"messages": turns("x", [{"type": "text", "text": "so"}])},
        {"messages": turns("x", "")},
        {"messages": [HELLO, HELLO, {"role": "system", "content": "be brief"}]},
        {"messages": turns("x", [USE], [RESULT]), "thinking": {"type": "adaptive"}},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
        {"metadata": {"user_id": "someone"}, "service_tier": "auto", "top_k": 3, "top_p": 0.5},
        {"output_config": {"effort": "low"}},
    ],
)
def test_what_is_accepted(request_: dict[str, Any]) -> None:
    assert parse(**request_).model == "m"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 5_000])
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_messages_request(body, VERSION, SIGNER)


def test_the_version_is_needed() -> None:
    with pytest.raises(ApiError, match="anthropic-version: header is required"):
        parse_messages_request(b"{}", {}, SIGNER)


def test_betas_open_what_only_they_have() -> None:
    document = {"model": "m", "messages": [HELLO], "max_tokens": 5, "mcp_servers": []}
    body = orjson.dumps(document)
    for more in ({"beta": True}, {}):
        headers = VERSION if more else VERSION | {b"anthropic-beta": b"mcp"}
        assert parse_messages_request(body, headers, SIGNER, **more).model == "m"
    with pytest.raises(ApiError, match="mcp_servers: Extra inputs"):
        parse_messages_request(body, VERSION, SIGNER)


def test_counting_takes_no_limit() -> None:
    body = orjson.dumps({"model": "m", "messages": [HELLO]})
    assert parse_messages_request(body, VERSION, SIGNER, counting=True).framing_tokens > 0
    limited = orjson.dumps({"model": "m", "messages": [HELLO], "max_tokens": 3})
    with pytest.raises(ApiError, match="max_tokens: Extra inputs"):
        parse_messages_request(limited, VERSION, SIGNER, counting=True)


def test_what_the_request_comes_to() -> None:
    request = parse(
        messages=turns("#sim tokens=3", [SIGNED, USE], [RESULT]),
        tools=[TOOL],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        stream=True,
    )
    assert request.directives == "tokens=3"
    assert (request.rounds, request.parallel, request.stream) == (1, False, True)
    assert (request.signatures, request.may_call, request.forced) == ("verified", True, ())
    assert request.reasoning == "none"
    assert parse(messages=turns("#sim a=1", "y", "#sim b=2")).directives == "b=2"
    assert parse(thinking=THINKS).reasoning == "text"
    assert parse(thinking={"type": "adaptive", "display": "omitted"}).reasoning == "signature"


DOCTORED = "completion-tools-call-with-tool-result"
"""Recordings whose request was changed by hand: the result is of another call."""


@needs_recordings
@pytest.mark.parametrize("name", names_of("anthropic-messages", "anthropic-count_tokens"))
def test_recorded_requests_are_answered_as_they_were(name: str) -> None:
    """All but the foreign signatures, which only their issuer takes."""
    stored = read_recording(name)
    body = (stored.get("request") or {}).get("body")
    if not isinstance(body, dict) or DOCTORED in name:
        pytest.skip("no request of a real client")
    headers = VERSION | {b"anthropic-beta": b"x"}
    counting = "count_tokens" in name
    refusal = ""
    try:
        parse_messages_request(orjson.dumps(body), headers, SIGNER, counting=counting)
    except ApiError as error:
        refusal = error.message
    foreign = "Invalid `signature`" in refusal
    assert not refusal or foreign or stored["response"]["status"] == 400, refusal
