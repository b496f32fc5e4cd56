"""Requests of this protocol as conversations, and conversations as requests."""

from __future__ import annotations

import base64
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
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget
from engine.protocols.openai_chat import CODEC
from engine.protocols.openai_chat.encode_messages import call_id_of

HELLO = [{"role": "user", "content": "hello"}]
TURNS = (Turn("user", (Text("hello"),)),)


def decoded(**fields: Any) -> Conversation:
    body = orjson.dumps({"model": "m", "messages": HELLO} | fields)
    return CODEC.decode_request(CODEC.parse_request(Call(body, None)))


def turns(*messages: dict[str, Any]) -> tuple[Turn, ...]:
    return decoded(messages=list(messages)).turns


def encoded(
    *of: Turn, capabilities: Capabilities = UNKNOWN, model: str = "m", **fields: Any
) -> tuple[dict[str, Any], Encoded]:
    target = UpstreamTarget(model, capabilities, stream=False)
    got = CODEC.encode_request(Conversation(turns=of or TURNS, **fields), target)
    return orjson.loads(got.body), got


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
        NativeTool(Native("openai_chat", custom), "custom"),
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
