"""A canonical conversation as the body for a provider of Anthropic's."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN, Capabilities
from engine.conversation import (
    CacheHint,
    Conversation,
    JsonObject,
    JsonSchema,
    Media,
    Native,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    ReasoningRequest,
    Refusal,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Unexpressed,
)
from engine.protocols.anthropic import CODEC
from engine.protocols.anthropic.marks import plain_id
from engine.protocols.codec import InexpressibleError, UpstreamTarget
from tests.engine.protocols.anthropic import sdk

HELLO = Conversation((Turn("user", (Text("hello"),)),))
TARGET = UpstreamTarget("claude", UNKNOWN, stream=False)
F = Tool("f", "does f", {"type": "object", "properties": {"a": {"type": "string"}}})


def encode(
    conversation: Conversation, target: UpstreamTarget = TARGET
) -> tuple[dict[str, Any], tuple[str, ...]]:
    encoded = CODEC.encode_request(conversation, target)
    body: dict[str, Any] = orjson.loads(encoded.body)
    assert sdk.request_problems(body) == []
    return body, encoded.dropped


def able(**traits: Any) -> UpstreamTarget:
    return replace(TARGET, capabilities=Capabilities(**traits))


def content(*parts: Part, role: Any = "user") -> list[dict[str, Any]]:
    body, _ = encode(Conversation((Turn(role, parts), Turn("user", (Text("go on"),)))))
    blocks: list[dict[str, Any]] = body["messages"][0]["content"]
    return blocks


def test_the_least_request() -> None:
    assert encode(HELLO) == (
        {
            "model": "claude",
            "max_tokens": 8_192,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        },
        (),
    )
    assert encode(HELLO, able(output_max_tokens=4_096))[0]["max_tokens"] == 4_096
    assert encode(HELLO, replace(TARGET, stream=True))[0]["stream"] is True


@pytest.mark.parametrize(("limit", "expected"), [(None, 500), (100, 100), (900, 500)])
def test_funds_lower_the_limit(limit: int | None, expected: int) -> None:
    body, _ = encode(replace(HELLO, max_output_tokens=500), replace(TARGET, output_limit=limit))
    assert body["max_tokens"] == expected


def test_system_turns_are_hoisted_and_neighbours_merged() -> None:
    body, dropped = encode(
        Conversation(
            (
                Turn("system", (Text("a"), Text(""))),
                Turn("user", (Text("b"),)),
                Turn("system", (Text("c", cache=CacheHint("1h")),)),
                Turn("user", (Text("d"),), name="Ann"),
            )
        )
    )
    hint = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "c"} | hint]
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["b", "d"]
    assert dropped == ("turns.system", "turns.name")
    assert (
        encode(replace(HELLO, turns=(Turn("system", (Text("a"),)), *HELLO.turns)))[0]["system"]
        == "a"
    )


def test_results_come_first_in_one_message_and_ids_stay_paired() -> None:
    odd = "functions.f:0"
    body, dropped = encode(
        Conversation(
            (
                Turn("user", (Text("hi"),)),
                Turn(
                    "assistant",
                    (
                        Text(""),
                        ToolCall(odd, "f", '{"a": 1}', signature=Signature("gemini", "AbA=")),
                        ToolCall("toolu_2", "g", ""),
                        ToolCall("toolu_3", "h", "not json"),
                    ),
                ),
                Turn("user", (ToolResult(odd, (Text("one"),)),)),
                Turn("user", (Text("and"), ToolResult("toolu_2", (), is_error=True))),
                Turn("user", (ToolResult("toolu_3", (Text("x", cache=CacheHint()),)),)),
            )
        )
    )
    _, answer, results = body["messages"]
    assert answer["content"] == [
        {"type": "tool_use", "id": plain_id(odd), "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        {"type": "tool_use", "id": "toolu_3", "name": "h", "input": {"arguments": "not json"}},
    ]
    assert results["content"] == [
        {"type": "tool_result", "tool_use_id": plain_id(odd), "content": "one"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_3",
            "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        },
        {"type": "text", "text": "and"},
    ]
    assert dropped == ("turns.reasoning",)


def test_thinking_goes_back_to_its_issuer_only() -> None:
    parts: tuple[Part, ...] = (
        Reasoning("a", Signature("anthropic", "ErUB")),
        Reasoning("", Signature("anthropic", "Em"), redacted=True),
        Reasoning("b", Signature("gemini", "AbA=")),
        Reasoning("c"),
        Refusal("no"),
    )
    body, dropped = encode(Conversation((*HELLO.turns, Turn("assistant", parts), *HELLO.turns)))
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "ErUB"},
        {"type": "redacted_thinking", "data": "Em"},
        {"type": "text", "text": "no"},
    ]
    assert dropped == ("turns.reasoning",)


def test_media() -> None:
    png = "iVBORw0KGgoAAAA"
    text = base64.b64encode("wörds".encode()).decode()
    assert content(
        Media("image", "image/png", data=png, detail="auto"),
        Media("image", data=png),
        Media("image", "image/jpg", data="/9j/"),
        Media("image", url="https://example.com/x.png", cache=CacheHint("5m")),
        Media("document", "application/pdf", data="JVBERi0", name="T"),
        Media("document", url="https://example.com/x.pdf"),
        Media("document", "text/plain", text="words"),
        Media("document", "text/markdown; charset=utf-8", data=text),
    ) == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://example.com/x.png"},
            "cache_control": {"type": "ephemeral", "ttl": "5m"},
        },
        {
            "type": "document",
            "title": "T",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"},
        },
        {"type": "document", "source": {"type": "url", "url": "https://example.com/x.pdf"}},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "wörds"},
        },
        {"type": "text", "text": "go on"},
    ]
    looked = replace(HELLO, turns=(Turn("user", (Media("image", data=png, detail="high"),)),))
    assert encode(looked)[1] == ("turns.detail",)


@pytest.mark.parametrize(
    ("media", "code"),
    [
        (Media("audio", "audio/wav", data="UklGR"), "audio_not_supported_by_model"),
        (Media("video", url="https://example.com/v"), "video_not_supported_by_model"),
        (Media("image", "image/tiff", data="SUkq"), "images_not_supported_by_model"),
        (Media("image", data="????"), "images_not_supported_by_model"),
        (Media("document", "application/msword", data="0M8R"), "documents_not_supported_by_model"),
        (Media("document", "text/plain", data="/w=="), "documents_not_supported_by_model"),
        (Media("image", url="gs://bucket/x"), "not_supported_by_model"),
    ],
)
def test_media_that_no_model_takes_are_refused(media: Media, code: str) -> None:
    for part in (media, ToolResult("t", (media,))):
        with pytest.raises(InexpressibleError) as caught:
            content(part)
        assert caught.value.code == code
        assert caught.value.field.startswith("turns[0].parts[0]")
        if media.kind == "audio":
            assert "/v1/audio/transcriptions" in caught.value.message


def test_an_answer_that_is_begun_must_not_end_in_whitespace() -> None:
    begun = replace(HELLO, turns=(*HELLO.turns, Turn("assistant", (Text("so \n"), Text(" ")))))
    body, dropped = encode(begun)
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "so \n"}]
    assert dropped == ("turns.trailing_whitespace",)
    with pytest.raises(InexpressibleError):
        encode(begun, able(prefill=False))


@pytest.mark.parametrize(
    ("changes", "traits", "field"),
    [
        ({"choices": 2}, {}, "choices"),
        ({"presence_penalty": 0.5}, {}, "presence_penalty"),
        ({"frequency_penalty": -1}, {}, "frequency_penalty"),
        ({"top_logprobs": 0}, {}, "top_logprobs"),
        ({"modalities": ("text", "image")}, {}, "modalities"),
        ({"output_format": JsonObject()}, {}, "output_format"),
        ({"output_format": JsonSchema({})}, {"json_schema": False}, "output_format"),
        ({"temperature": 1.1}, {}, "temperature"),
        ({"temperature": 0.5}, {"sampling": False}, "temperature"),
        ({"top_p": 0.5}, {"sampling": False}, "top_p"),
        (
            {"temperature": 0.5, "reasoning": ReasoningRequest(budget_tokens=2048)},
            {},
            "temperature",
        ),
        ({"top_p": 0.5, "reasoning": ReasoningRequest(budget_tokens=2048)}, {}, "top_p"),
        ({"stop": ("x",)}, {"stop": False}, "stop"),
        ({"stop": ("\n",)}, {}, "stop"),
        ({"tools": (F,)}, {"tools": False}, "tools"),
        ({"tools": (Tool("a.b"),)}, {}, "tools[0].name"),
        ({"tools": (NativeTool(Native("gemini", {}), "googleSearch"),)}, {}, "tools[0]"),
        ({"tools": (F,), "tool_choice": ToolChoice("required", ("g",))}, {}, "tool_choice"),
        ({"unexpressed": (Unexpressed("logit_bias", harmless=False),)}, {}, "logit_bias"),
        ({"turns": (Turn("system", (Text("x"),)),)}, {}, "turns"),
        ({"turns": (Turn("system", (Text("x"),)), *HELLO.turns)}, {"system": False},
         "turns.system"),
        ({"turns": (Turn("system", (Media("image", url="https://x"),)),)}, {}, "turns[0].parts[0]"),
        ({"turns": (Turn("assistant", (Media("image", url="https://x"),)),)}, {},
         "turns[0].parts[0]"),
        ({"turns": (Turn("user", (NativePart(Native("gemini", {}), "code"),)),)}, {},
         "turns[0].parts[0]"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_name(
    changes: dict[str, Any], traits: dict[str, Any], field: str
) -> None:
    with pytest.raises(InexpressibleError) as caught:
        encode(replace(HELLO, **changes), able(**traits))
    assert caught.value.field == field
    assert caught.value.status == 400


def test_what_is_harmless_is_left_out_and_named() -> None:
    body, dropped = encode(
        replace(
            HELLO,
            seed=7,
            verbosity="low",
            metadata={"a": "b"},
            service_tier="flex",
            unexpressed=(Unexpressed("prompt_cache_key", harmless=True),),
        )
    )
    assert body.keys() == {"model", "max_tokens", "messages"}
    assert set(dropped) == {"seed", "verbosity", "metadata", "service_tier", "prompt_cache_key"}


def test_defaults_are_not_said_to_models_that_refuse_them() -> None:
    asked = replace(
        HELLO, temperature=1.0, top_p=1.0, top_k=5, presence_penalty=0.0, parallel_tool_calls=True
    )
    assert encode(asked)[0].keys() == {"model", "max_tokens", "messages", "temperature", "top_k"}
    body, dropped = encode(asked, able(sampling=False))
    assert body.keys() == {"model", "max_tokens", "messages"}
    assert dropped == ("top_k",)


def test_settings() -> None:
    schema = {"type": "object", "properties": {}}
    body, dropped = encode(
        replace(
            HELLO,
            temperature=0.5,
            top_p=0.9,
            stop=("x",),
            end_user="u",
            service_tier="default",
            output_format=JsonSchema(schema, name="n", description="d", strict=True),
        )
    )
    del body["messages"]
    assert body == {
        "model": "claude",
        "max_tokens": 8_192,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
        "service_tier": "standard_only",
        "output_config": {"format": {"type": "json_schema", "schema": schema | {
            "description": "d"}}},
    }  # fmt: skip
    assert dropped == ()


def tools_of(*tools: Tool | NativeTool, **changes: Any) -> tuple[list[Any], Any]:
    body, _ = encode(replace(HELLO, tools=tools, **changes))
    return body["tools"], body.get("tool_choice")


G = Tool("g", cache=CacheHint(), strict=True)
NO_PARAMETERS = {"type": "object", "properties": {}}


def test_tools() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    tools, choice = tools_of(F, G, NativeTool(Native("anthropic", search), "web_search"))
    assert tools == [
        {"name": "f", "description": "does f", "input_schema": F.parameters},
        {
            "name": "g",
            "input_schema": NO_PARAMETERS,
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        search,
    ]
    assert choice is None
    assert encode(replace(HELLO, tools=(G,)), able(json_schema=False))[1] == ("tools.strict",)
    assert tools_of(Tool("h", parameters={}))[0][0]["input_schema"] == NO_PARAMETERS


@pytest.mark.parametrize(
    ("choice", "parallel", "expected", "names"),
    [
        (ToolChoice("auto"), None, {"type": "auto"}, ["f", "g"]),
        (ToolChoice("auto"), False, {"type": "auto", "disable_parallel_tool_use": True},
         ["f", "g"]),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, ["f", "g"]),
        (None, True, None, ["f", "g"]),
        (ToolChoice("none"), False, {"type": "none"}, ["f", "g"]),
        (ToolChoice("required"), None, {"type": "any"}, ["f", "g"]),
        (ToolChoice("required", ("g",)), None, {"type": "tool", "name": "g"}, ["f", "g"]),
        (ToolChoice("required", ("f", "g")), None, {"type": "any"}, ["f", "g"]),
        (ToolChoice("auto", ("f",)), None, {"type": "auto"}, ["f"]),
    ],
)  # fmt: skip
def test_tool_choice(
    choice: ToolChoice | None, parallel: bool | None, expected: Any, names: list[str]
) -> None:
    tools, said = tools_of(F, G, tool_choice=choice, parallel_tool_calls=parallel)
    assert said == expected
    assert [tool["name"] for tool in tools] == names


def test_a_choice_of_no_tools_is_not_said() -> None:
    body, _ = encode(replace(HELLO, tool_choice=ToolChoice("auto"), parallel_tool_calls=False))
    assert "tool_choice" not in body
