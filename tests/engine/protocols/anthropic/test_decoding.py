"""A client's request as a canonical conversation."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import (
    CacheHint,
    Conversation,
    JsonSchema,
    Media,
    Native,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    ReasoningRequest,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Unexpressed,
)
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols.anthropic import CODEC
from engine.protocols.carried import carry
from tests.engine.protocols.anthropic.test_requests import PDF, PNG, of_blocks, parse


def decode(**changes: Any) -> Conversation:
    return CODEC.decode_request(parse(**changes))


def parts(*blocks: dict[str, Any], role: str = "user") -> tuple[Part, ...]:
    return decode(**of_blocks(*blocks, role=role)).turns[0].parts


def test_system_and_turns_are_merged_by_role() -> None:
    conversation = decode(
        system=[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        messages=[
            {"role": "user", "content": "b"},
            {"role": "user", "content": [{"type": "text", "text": "c"}]},
            {"role": "system", "content": "d"},
            {"role": "assistant", "content": "e"},
        ],
    )
    assert conversation.turns == (
        Turn("system", (Text("a", cache=CacheHint("1h")),)),
        Turn("user", (Text("b"), Text("c"))),
        Turn("system", (Text("d"),)),
        Turn("assistant", (Text("e"),)),
    )


def test_media_and_documents() -> None:
    url = {"type": "url", "url": "https://example.com/x"}
    text = {"type": "text", "media_type": "text/plain", "data": "words"}
    inner = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert parts(
        {"type": "image", "source": PNG, "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": url},
        {"type": "document", "source": PDF, "title": "T", "context": "about it"},
        {"type": "document", "source": url},
        {"type": "document", "source": text},
        {"type": "document", "source": {"type": "content", "content": inner}},
        {
            "type": "document",
            "source": {"type": "content", "content": [*inner, {"type": "image", "source": url}]},
        },
    ) == (
        Media("image", "image/png", data=PNG["data"], cache=CacheHint()),
        Media("image", url=url["url"]),
        Text("about it"),
        Media("document", "application/pdf", data=PDF["data"], name="T"),
        Media("document", "application/pdf", url=url["url"]),
        Media("document", "text/plain", text="words"),
        Media("document", "text/plain", text="one\ntwo"),
        Text("one"),
        Text("two"),
        Media("image", url=url["url"]),
    )


def test_thinking_belongs_to_whoever_signed_it() -> None:
    assert parts(
        {"type": "thinking", "thinking": "a", "signature": "ErUB"},
        {"type": "thinking", "thinking": "b", "signature": "parshall:gemini:AbA="},
        {"type": "thinking", "thinking": "c", "signature": "parshall:none:"},
        {"type": "redacted_thinking", "data": "Em"},
        role="assistant",
    ) == (
        Reasoning("a", Signature("anthropic", "ErUB")),
        Reasoning("b", Signature("gemini", "AbA=")),
        Reasoning("c", None),
        Reasoning("", Signature("anthropic", "Em"), redacted=True),
    )


def test_calls_and_results_give_back_what_their_ids_carry() -> None:
    carried = carry("call_1", Signature("gemini", "AbA="))
    assert parts(
        {"type": "tool_use", "id": carried, "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}, "caller": {"type": "direct"}},
        role="assistant",
    ) == (
        ToolCall("call_1", "f", '{"a":1}', signature=Signature("gemini", "AbA=")),
        ToolCall("t2", "g", "{}", native=Native("anthropic", {"caller": {"type": "direct"}})),
    )
    assert parts(
        {"type": "tool_result", "tool_use_id": carried, "content": "x", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "image", "source": PNG}]},
        {"type": "tool_result", "tool_use_id": "t3"},
    ) == (
        ToolResult("call_1", (Text("x"),), is_error=True),
        ToolResult("t2", (Media("image", "image/png", data=PNG["data"]),)),
        ToolResult("t3", ()),
    )


def test_what_only_anthropic_knows_is_kept_whole() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    conversation = decode(**of_blocks(block, role="assistant"), tools=[tool])
    assert conversation.turns[0].parts == (
        NativePart(Native("anthropic", {"block": block}), "server_tool_use"),
    )
    assert conversation.tools == (NativeTool(Native("anthropic", tool), "web_search_20250305"),)


def test_settings() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    conversation = decode(
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["x"],
        metadata={"user_id": "u"},
        service_tier="standard_only",
        output_config={"format": {"type": "json_schema", "schema": schema}},
        tools=[
            {"name": "f", "input_schema": schema, "strict": True, "description": "d"},
            {"name": "g", "input_schema": {"type": "object", "properties": {}}, "type": "custom"},
        ],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    )
    assert conversation.max_output_tokens == 100
    assert (conversation.temperature, conversation.top_p, conversation.top_k) == (0.5, 0.9, 5)
    assert conversation.stop == ("x",)
    assert conversation.end_user == "u"
    assert conversation.service_tier == "standard_only"
    assert conversation.output_format == JsonSchema(schema)
    assert conversation.tools == (Tool("f", "d", schema, strict=True), Tool("g"))
    assert conversation.tool_choice == ToolChoice("required", ("f",))
    assert conversation.parallel_tool_calls is False
    assert conversation.unexpressed == ()
    old = decode(output_format={"type": "json_schema", "schema": schema})
    assert old.output_format == JsonSchema(schema)


@pytest.mark.parametrize(
    ("said", "choice", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required"), None),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto"), False),
        ({"type": "none"}, ToolChoice("none"), None),
        (None, None, None),
    ],
)
def test_tool_choice(said: Any, choice: ToolChoice | None, parallel: bool | None) -> None:
    conversation = decode(tool_choice=said)
    assert (conversation.tool_choice, conversation.parallel_tool_calls) == (choice, parallel)


@pytest.mark.parametrize(
    ("thinking", "effort", "reasoning"),
    [
        (None, None, None),
        (None, "high", ReasoningRequest(effort="high")),
        ({"type": "disabled"}, None, ReasoningRequest(budget_tokens=0)),
        ({"type": "enabled", "budget_tokens": 2048}, None, ReasoningRequest(budget_tokens=2048)),
        (
            {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
            None,
            ReasoningRequest(budget_tokens=2048, visible=False),
        ),
        (
            {"type": "adaptive", "display": "summarized"},
            "xhigh",
            ReasoningRequest(effort="xhigh", adaptive=True, visible=True),
        ),
    ],
)
def test_thinking(thinking: Any, effort: str | None, reasoning: ReasoningRequest | None) -> None:
    assert decode(thinking=thinking, output_config={"effort": effort}).reasoning == reasoning


@pytest.mark.parametrize(
    ("changes", "unexpressed"),
    [
        ({"cache_control": {"type": "ephemeral"}}, Unexpressed("cache_control", True)),
        ({"speed": "fast"}, Unexpressed("speed", True)),
        ({"metadata": {"user_id": "u", "more": 1}}, Unexpressed("metadata.more", True)),
        ({"mcp_servers": [{"name": "x"}]}, Unexpressed("mcp_servers", False)),
        ({"context_management": {"edits": [{}]}}, Unexpressed("context_management", False)),
        ({"inference_geo": "us"}, Unexpressed("inference_geo", False)),
        ({"unheard_of": 0}, Unexpressed("unheard_of", False)),
        (
            {"output_config": {"task_budget": {"type": "tokens", "total": 1}}},
            Unexpressed("output_config.task_budget", False),
        ),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "output_config": {"effort": "low"},
            },
            Unexpressed("output_config.effort", True),
        ),
        (
            {"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]},
            Unexpressed("tools[0].defer_loading", True),
        ),
        (
            of_blocks({"type": "document", "source": PDF, "citations": {"enabled": True}}),
            Unexpressed("messages[0].content[0].citations", True),
        ),
        (
            of_blocks(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "tool_reference", "tool_name": "f"}],
                }
            ),
            Unexpressed("messages[0].content[0].content[0]", False),
        ),
    ],
)
def test_what_has_no_canonical_place_is_named(
    changes: dict[str, Any], unexpressed: Unexpressed
) -> None:
    assert decode(**changes).unexpressed == (unexpressed,)


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": "standard"},
        {"mcp_servers": []},
        {"context_management": {"edits": []}},
        {"container": None},
        {"top_k": None},
        {"tool_choice": None},
    ],
)
def test_defaults_said_aloud_say_nothing(changes: dict[str, Any]) -> None:
    assert decode(**changes) == decode()


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"system": 7}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"thinking": {"type": "wild"}}, "thinking.type"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "many"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        (of_blocks({"type": "text"}), "messages[0].content[0].text"),
        (of_blocks({"text": "x"}), "messages[0].content[0].type"),
        (of_blocks({"type": "image"}), "messages[0].content[0].source"),
        (
            of_blocks({"type": "image", "source": {"type": "x"}}),
            "messages[0].content[0].source.type",
        ),
        (of_blocks({"type": "tool_use", "id": "t", "name": "f"}), "messages[0].content[0].input"),
        (of_blocks({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        (
            of_blocks({"type": "text", "text": "x", "cache_control": {"type": "ephemeral",
                                                                      "ttl": "2h"}}),
            "messages[0].content[0].cache_control.ttl",
        ),
    ],
)  # fmt: skip
def test_what_the_provider_would_refuse_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(**changes)
    assert caught.value.param == param


def test_arguments_too_deep_to_be_written_are_refused() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": "DEEP"}
    body = orjson.dumps(
        {"model": "m", "max_tokens": 1} | of_blocks(call, role="assistant")
    ).replace(b'"DEEP"', b'{"a":' * 400 + b"1" + b"}" * 400)
    request = CODEC.parse_request(Call(body, None, "anthropic"))
    with pytest.raises(InvalidRequestError):
        CODEC.decode_request(request)
