"""Requests of this protocol as conversations."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import (
    CacheHint,
    Conversation,
    JsonObject,
    JsonSchema,
    Media,
    Native,
    NativeTool,
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
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols.openai_chat import CODEC

HELLO = [{"role": "user", "content": "hello"}]
TURNS = (Turn("user", (Text("hello"),)),)


def decoded(**fields: Any) -> Conversation:
    body = orjson.dumps({"model": "m", "messages": HELLO} | fields)
    return CODEC.decode_request(CODEC.parse_request(Call(body, None)))


def turns(*messages: dict[str, Any]) -> tuple[Turn, ...]:
    return decoded(messages=list(messages)).turns


def part(part: dict[str, Any]) -> Any:
    [turn] = turns({"role": "user", "content": [part]})
    return turn.parts[0]


def test_what_is_not_said_or_said_as_its_default_is_none() -> None:
    plain = Conversation(turns=TURNS)
    assert decoded() == plain
    defaults = {
        "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False, "stop": None,
        "store": False, "parallel_tool_calls": True, "response_format": {"type": "text"},
        "modalities": ["text"], "metadata": {}, "logit_bias": {}, "tools": [], "x_unknown": None,
        "stream": False, "user": "",
    }  # fmt: skip
    assert decoded(**defaults) == plain


def test_every_scalar() -> None:
    got = decoded(
        n=2, max_tokens=9, temperature=0.5, top_p=0.9, top_k=4, stop=["a", "b"], seed=3,
        presence_penalty=1, frequency_penalty=-1, logprobs=True, top_logprobs=2,
        reasoning_effort="high", verbosity="low", parallel_tool_calls=False,
        modalities=["TEXT", "image"], user="u", metadata={"a": "b"}, service_tier="flex",
    )  # fmt: skip
    assert got == Conversation(
        turns=TURNS, choices=2, max_output_tokens=9, temperature=0.5, top_p=0.9, top_k=4,
        stop=("a", "b"), seed=3, presence_penalty=1, frequency_penalty=-1, top_logprobs=2,
        reasoning=ReasoningRequest("high"), verbosity="low", parallel_tool_calls=False,
        modalities=("text", "image"), end_user="u", metadata={"a": "b"}, service_tier="flex",
    )  # fmt: skip
    assert decoded(stop="a").stop == ("a",)
    assert decoded(logprobs=True).top_logprobs == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": "1"}, "top_p"),
        ({"stop": [1]}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"modalities": "text"}, "modalities"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"user": 1}, "user"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "messages[0].content[0].file.file_data",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "messages[0].tool_calls"),
    ],
)
def test_what_openai_would_refuse_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decoded(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"logit_bias": {"5": 1}}, Unexpressed("logit_bias", False)),
        ({"prediction": {"type": "content", "content": "x"}}, Unexpressed("prediction", False)),
        ({"web_search_options": {}}, Unexpressed("web_search_options", False)),
        ({"moderation": {"model": "m"}}, Unexpressed("moderation", False)),
        ({"x_unknown": 1}, Unexpressed("x_unknown", False)),
        ({"store": True}, Unexpressed("store", True)),
        ({"prompt_cache_key": "k"}, Unexpressed("prompt_cache_key", True)),
        (
            {"stream_options": {"include_obfuscation": True}},
            Unexpressed("stream_options.include_obfuscation", True),
        ),
        (
            {"messages": [*HELLO, {"role": "user", "content": [{"type": "hologram"}]}]},
            Unexpressed("messages[1].content[0].type", False),
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "annotations": [{}]}]},
            Unexpressed("messages[0].annotations", True),
        ),
        (
            {"messages": [{"role": "user", "content": "a", "x_unknown": 1}]},
            Unexpressed("messages[0].x_unknown", False),
        ),
    ],
)
def test_what_has_no_place_is_named(fields: dict[str, Any], lost: Unexpressed) -> None:
    assert decoded(**fields).unexpressed == (lost,)


def test_roles_names_and_adjacent_turns() -> None:
    assert turns(
        {"role": "developer", "content": "be kind"},
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": "a", "name": "ann"},
        {"role": "user", "content": "b", "name": "bob"},
        {"role": "user", "content": "c", "name": "bob"},
        {"role": "assistant", "content": "d", "reasoning_content": "hm", "refusal": "no"},
    ) == (
        Turn("system", (Text("be kind"), Text("be brief"))),
        Turn("user", (Text("a"),), "ann"),
        Turn("user", (Text("b"), Text("c")), "bob"),
        Turn("assistant", (Reasoning("hm"), Text("d"), Refusal("no"))),
    )


def test_calls_and_results() -> None:
    call = {"id": "a__g1__c2ln", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    free = {"id": "b", "type": "custom", "custom": {"name": "g", "input": "free"}}
    assert turns(
        {"role": "assistant", "content": None, "tool_calls": [call, free]},
        {"role": "tool", "tool_call_id": "a__g1__c2ln", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
        {"role": "user", "content": "and?"},
    ) == (
        Turn(
            "assistant",
            (
                ToolCall("a", "f", "{}", Signature("gemini", "c2ln")),
                ToolCall("b", "g", "free", native=Native("openai_chat", {"type": "custom"})),
            ),
        ),
        Turn(
            "user",
            (ToolResult("a", (Text("1"),)), ToolResult("b", (Text("2"),)), Text("and?")),
        ),
    )


def test_images_of_an_answer() -> None:
    image = {"type": "image_url", "index": 0, "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert turns({"role": "assistant", "content": "so", "images": [image]}) == (
        Turn("assistant", (Text("so"), Media("image", "image/png", "AAAA"))),
    )


def test_functions_of_old() -> None:
    got = decoded(
        messages=[
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    [call] = got.turns[0].parts
    [result] = got.turns[1].parts
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert (call.id, result.name) == (result.call_id, "f")
    assert got.tools == (Tool("f", None, {"type": "object"}),)
    assert got.tool_choice == ToolChoice("required", ("f",))


def test_parts() -> None:
    hint = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}
    assert part({"type": "text", "text": "a"} | hint) == Text("a", cache=CacheHint("30m"))
    url = {"url": "https://x/y.png", "detail": "low"}
    assert part({"type": "image_url", "image_url": url}) == Media(
        "image", url="https://x/y.png", detail="low"
    )
    data = {"url": "data:image/png;base64,AAAA"}
    assert part({"type": "image_url", "image_url": data}) == Media("image", "image/png", "AAAA")
    audio = {"data": "AAAA", "format": "mp3"}
    assert part({"type": "input_audio", "input_audio": audio}) == Media(
        "audio", "audio/mpeg", "AAAA"
    )
    file = {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}
    assert part({"type": "file", "file": file}) == Media(
        "document", "application/pdf", "AAAA", name="a.pdf"
    )


def test_tools_formats_and_choices() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    custom = {"type": "custom", "custom": {"name": "g"}}
    got = decoded(tools=[{"type": "function", "function": function}, custom])
    assert got.tools == (
        Tool("f", "d", {"type": "object"}, True),
        NativeTool(Native("openai_chat", custom), "custom: g"),
    )
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}
    assert decoded(
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    ).tool_choice == ToolChoice("auto", ("f",))
    assert decoded(tool_choice="any").tool_choice == ToolChoice("required")
    assert decoded(response_format={"type": "json_object"}).output_format == JsonObject()
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert decoded(
        response_format={"type": "json_schema", "json_schema": schema}
    ).output_format == JsonSchema({"type": "object"}, "n", None, True)


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"reasoning": {"effort": "low"}}, ReasoningRequest("low")),
        ({"reasoning": {"max_tokens": 99, "exclude": True}},
         ReasoningRequest(budget_tokens=99, visible=False)),
        ({"reasoning": {"enabled": False}}, ReasoningRequest(budget_tokens=0)),
        ({"thinking": {"type": "disabled"}}, ReasoningRequest(budget_tokens=0)),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, ReasoningRequest(budget_tokens=5)),
        ({"thinking": {"type": "adaptive"}}, ReasoningRequest(adaptive=True)),
    ],
)  # fmt: skip
def test_reasoning_as_others_ask_for_it(
    fields: dict[str, Any], reasoning: ReasoningRequest
) -> None:
    assert decoded(**fields).reasoning == reasoning
