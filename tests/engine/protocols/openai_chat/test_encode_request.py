"""Conversations as requests to a provider of this protocol."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN, Capabilities
from engine.conversation import (
    CacheHint,
    Conversation,
    JsonSchema,
    Media,
    Native,
    NativeTool,
    Reasoning,
    ReasoningRequest,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget
from engine.protocols.openai_chat import CODEC
from engine.protocols.openai_chat.encode_messages import call_id_of

TURNS = (Turn("user", (Text("hello"),)),)


def encoded(
    *of: Turn, capabilities: Capabilities = UNKNOWN, model: str = "m", **fields: Any
) -> tuple[dict[str, Any], Encoded]:
    target = UpstreamTarget(model, capabilities, stream=False)
    got = CODEC.encode_request(Conversation(turns=of or TURNS, **fields), target)
    return orjson.loads(got.body), got


def test_messages_are_written_as_openai_wants_them() -> None:
    image = Media("image", "image/png", "AAAA", detail="high")
    document, got = encoded(
        Turn("system", (Text("be kind"), Text("be brief"))),
        Turn("user", (Text("look"), image), "ann"),
        Turn("assistant", (Reasoning("hm"), Text("so"), ToolCall("a", "f", ""))),
        Turn("user", (Text("and?"), ToolResult("a", (Text("1"), image), is_error=True))),
        Turn("assistant", (Reasoning("hm"),)),
    )
    shown = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"},
    }
    assert document["messages"] == [
        {"role": "system", "content": [
            {"type": "text", "text": "be kind"}, {"type": "text", "text": "be brief"},
        ]},
        {"role": "user", "content": [{"type": "text", "text": "look"}, shown], "name": "ann"},
        {"role": "assistant", "content": "so", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "a", "content": "Error: 1"},
        {"role": "user", "content": [
            {"type": "text", "text": "and?"},
            {"type": "text", "text": "What the call a has given beside its text:"},
            shown,
        ]},
    ]  # fmt: skip
    assert got.dropped == ("turns.is_error", "turns.reasoning", "turns.tool_results.media")


def test_media_are_written_or_refused() -> None:
    text = base64.b64encode("héllo".encode()).decode()
    document, got = encoded(
        Turn(
            "user",
            (
                Media("document", "text/plain", text, name="a.txt"),
                Media("document", text="plain"),
                Media("document", "application/pdf", "AAAA"),
                Media("audio", "audio/x-wav", "AAAA"),
            ),
        )
    )
    assert document["messages"][0]["content"] == [
        {"type": "text", "text": "héllo"},
        {"type": "text", "text": "plain"},
        {"type": "file", "file": {
            "file_data": "data:application/pdf;base64,AAAA", "filename": "document.pdf",
        }},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]  # fmt: skip
    assert got.dropped == ("turns.title",)
    for media in (
        Media("document", url="https://x/y.pdf"),
        Media("audio", url="https://x/y.wav"),
        Media("audio", "audio/flac", "AAAA"),
        Media("video", "video/mp4", "AAAA"),
    ):
        with pytest.raises(InexpressibleError) as caught:
            encoded(Turn("user", (media,)))
        assert caught.value.field == "turns"


@pytest.mark.parametrize(
    ("model", "capabilities", "name"),
    [
        ("gpt-4o", UNKNOWN, "max_completion_tokens"),
        ("openai/o3", UNKNOWN, "max_completion_tokens"),
        ("any", Capabilities(reasoning="effort"), "max_completion_tokens"),
        ("mistral-large", UNKNOWN, "max_tokens"),
    ],
)
def test_the_limit_has_the_name_that_the_model_knows(
    model: str, capabilities: Capabilities, name: str
) -> None:
    document, _ = encoded(model=model, capabilities=capabilities, max_output_tokens=7)
    assert document[name] == 7
    target = UpstreamTarget(model, capabilities, stream=True, output_limit=3)
    body = CODEC.encode_request(Conversation(turns=TURNS, max_output_tokens=7), target).body
    document = orjson.loads(body)
    assert document[name] == 3
    assert document["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fields", "capabilities", "field"),
    [
        ({"temperature": 0.5}, Capabilities(sampling=False), "temperature"),
        ({"presence_penalty": 1.5}, Capabilities(sampling=False), "presence_penalty"),
        ({"temperature": 2.5}, UNKNOWN, "temperature"),
        ({"stop": ("a",)}, Capabilities(stop=False), "stop"),
        ({"stop": tuple("abcde")}, UNKNOWN, "stop"),
        ({"top_logprobs": 21}, UNKNOWN, "top_logprobs"),
        ({"modalities": ("audio",)}, UNKNOWN, "modalities"),
        ({"tools": (Tool("f"),)}, Capabilities(tools=False), "tools"),
        ({"tools": (NativeTool(Native("gemini"), "googleSearch"),)}, UNKNOWN, "tools"),
        ({"output_format": JsonSchema({})}, Capabilities(json_schema=False), "output_format"),
        (
            {"turns": (*TURNS, Turn("assistant", (Text("so"),)))},
            Capabilities(prefill=False),
            "turns",
        ),
    ],
)
def test_what_the_model_cannot_be_told_is_refused(
    fields: dict[str, Any], capabilities: Capabilities, field: str
) -> None:
    of = fields.pop("turns", ())
    with pytest.raises(InexpressibleError) as caught:
        encoded(*of, capabilities=capabilities, **fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("request_", "capabilities", "effort", "dropped"),
    [
        (ReasoningRequest("high"), UNKNOWN, "high", ()),
        (ReasoningRequest("max"), Capabilities(efforts=("low", "medium", "high")), "high", ()),
        (ReasoningRequest("minimal"), Capabilities(efforts=("low", "high")), "low", ()),
        (ReasoningRequest(budget_tokens=2_000), UNKNOWN, "low", ()),
        (ReasoningRequest(budget_tokens=9_000), UNKNOWN, "medium", ()),
        (ReasoningRequest(budget_tokens=30_000), UNKNOWN, "high", ()),
        (ReasoningRequest(budget_tokens=-1), UNKNOWN, None, ()),
        (ReasoningRequest(adaptive=True), UNKNOWN, None, ()),
        (ReasoningRequest("low", adaptive=True), UNKNOWN, "low", ()),
        (ReasoningRequest(budget_tokens=0), UNKNOWN, "none", ()),
        (ReasoningRequest("none"), Capabilities(reasoning_off=False), None, ("reasoning",)),
        (ReasoningRequest("none"), Capabilities(reasoning="none"), None, ()),
        (ReasoningRequest("high"), Capabilities(reasoning="none"), None, ("reasoning",)),
    ],
)
def test_reasoning_is_an_effort(
    request_: ReasoningRequest,
    capabilities: Capabilities,
    effort: str | None,
    dropped: tuple[str, ...],
) -> None:
    document, got = encoded(capabilities=capabilities, reasoning=request_)
    assert (document.get("reasoning_effort"), got.dropped) == (effort, dropped)


def test_what_is_harmless_is_dropped_and_named() -> None:
    cached = Turn("user", (Text("a", cache=CacheHint()),))
    document, got = encoded(
        cached, top_k=3, verbosity="shouting", service_tier="standard_only", temperature=1,
        capabilities=Capabilities(sampling=False),
    )  # fmt: skip
    assert got.dropped == ("cache", "service_tier", "top_k", "verbosity")
    assert sorted(document) == ["messages", "model"]


def test_a_model_without_system_messages_is_told_by_the_user() -> None:
    system = Turn("system", (Text("be kind"),))
    document, got = encoded(system, *TURNS, capabilities=Capabilities(system=False))
    assert [message["role"] for message in document["messages"]] == ["user", "user"]
    assert got.dropped == ("turns.system",)


def test_long_ids_of_calls_are_shortened_alike() -> None:
    long = "toolu_" + "x" * 60
    document, _ = encoded(
        Turn("assistant", (ToolCall(long, "f", "{}"),)),
        Turn("user", (ToolResult(long, (Text("1"),)),)),
    )
    made, answered = document["messages"]
    assert made["tool_calls"][0]["id"] == answered["tool_call_id"] == call_id_of(long)
    assert len(call_id_of(long)) <= 40
