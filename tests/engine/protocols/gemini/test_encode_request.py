"""A canonical conversation as a request to Gemini."""

from __future__ import annotations

from typing import Any

import pytest

from engine.capabilities import UNKNOWN, Capabilities
from engine.conversation import (
    CacheHint,
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
from engine.errors import InvalidRequestError
from engine.protocols.codec import InexpressibleError, UpstreamTarget
from engine.protocols.gemini import CODEC
from engine.protocols.gemini.signatures import SKIP_VALIDATOR, invent_id
from tests.engine.protocols.gemini.samples import ASK, ask, encoded

LEVEL = Capabilities(reasoning="level")
BUDGET = Capabilities(reasoning="budget", reasoning_budget_max=24_576)
F = Tool("f", parameters={"type": "object", "properties": {"a": {}}})


def config(capabilities: Capabilities = UNKNOWN, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = encoded(ask(**fields), capabilities).get("generationConfig", {})
    return found


def contents(*turns: Turn, capabilities: Capabilities = UNKNOWN) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encoded(ask(turns=turns), capabilities)["contents"]
    return found


def parts(*given: Part) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = contents(Turn("user", given))[0]["parts"]
    return found


def dropped(**fields: Any) -> tuple[str, ...]:
    target = UpstreamTarget("m", UNKNOWN, stream=False)
    return CODEC.encode_request(ask(**fields), target).dropped


def test_a_greeting_is_all_there_is() -> None:
    assert encoded(ask()) == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


def test_the_configuration() -> None:
    assert config(
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        choices=2,
        max_output_tokens=100,
        stop=("a", "b"),
        seed=1,
        presence_penalty=0.0,
        frequency_penalty=0.5,
        top_logprobs=2,
        modalities=("text", "image"),
    ) == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "candidateCount": 2,
        "maxOutputTokens": 100,
        "stopSequences": ["a", "b"],
        "seed": 1,
        "frequencyPenalty": 0.5,
        "responseLogprobs": True,
        "logprobs": 2,
        "responseModalities": ["TEXT", "IMAGE"],
    }
    assert config(modalities=("text",), temperature=None) == {}
    assert config(top_logprobs=0) == {"responseLogprobs": True}


def test_limits() -> None:
    assert encoded(ask(max_output_tokens=5), output_limit=9)["generationConfig"] == {
        "maxOutputTokens": 5
    }
    assert encoded(ask(), output_limit=9)["generationConfig"] == {"maxOutputTokens": 9}


def test_output_formats() -> None:
    mime = {"responseMimeType": "application/json"}
    assert config(output_format=JsonObject()) == mime
    schema = {"type": "object", "$defs": {}}
    assert config(output_format=JsonSchema(schema, "name", strict=True)) == mime | {
        "responseJsonSchema": schema
    }


@pytest.mark.parametrize(
    ("reasoning", "capabilities", "expected"),
    [
        (ReasoningRequest(effort="low"), BUDGET, {"thinkingBudget": 1_024}),
        (ReasoningRequest(effort="max"), BUDGET, {"thinkingBudget": 24_576}),
        (ReasoningRequest(effort="high"), UNKNOWN, {"thinkingBudget": 24_576}),
        (ReasoningRequest(budget_tokens=50_000), BUDGET, {"thinkingBudget": 24_576}),
        (ReasoningRequest(budget_tokens=50_000), UNKNOWN, {"thinkingBudget": 50_000}),
        (ReasoningRequest(adaptive=True), BUDGET, {"thinkingBudget": -1}),
        (ReasoningRequest(effort="medium"), LEVEL, {"thinkingLevel": "MEDIUM"}),
        (ReasoningRequest(effort="xhigh"), LEVEL, {"thinkingLevel": "HIGH"}),
        (ReasoningRequest(budget_tokens=9_000), LEVEL, {"thinkingLevel": "MEDIUM"}),
        (ReasoningRequest(budget_tokens=-1), LEVEL, {}),
        (
            ReasoningRequest(effort="medium"),
            Capabilities(reasoning="level", efforts=("low", "high")),
            {"thinkingLevel": "LOW"},
        ),
    ],
)
def test_how_much_to_think(
    reasoning: ReasoningRequest, capabilities: Capabilities, expected: dict[str, Any]
) -> None:
    """Thoughts are shown unless the client wants none of them."""
    shown = {"thinkingConfig": expected | {"includeThoughts": True}}
    assert config(capabilities, reasoning=reasoning) == shown


def test_not_to_think() -> None:
    off = ReasoningRequest(effort="none")
    assert config(BUDGET, reasoning=off) == {"thinkingConfig": {"thinkingBudget": 0}}
    assert config(LEVEL, reasoning=off) == {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}
    assert config(Capabilities(reasoning="none"), reasoning=off) == {}
    hidden = ReasoningRequest(budget_tokens=5, visible=False)
    assert config(BUDGET, reasoning=hidden) == {"thinkingConfig": {"thinkingBudget": 5}}


def test_a_model_that_cannot_think_or_cannot_stop() -> None:
    """What was asked is left out, and said to be."""
    for reasoning, capabilities, expected in (
        (ReasoningRequest(effort="low"), Capabilities(reasoning="none"), {}),
        (
            ReasoningRequest(budget_tokens=0),
            Capabilities(reasoning="level", reasoning_off=False, efforts=("low", "high")),
            {"thinkingConfig": {"thinkingLevel": "LOW"}},
        ),
        (
            ReasoningRequest(effort="none"),
            Capabilities(reasoning="budget", reasoning_off=False),
            {"thinkingConfig": {"thinkingBudget": 1_024}},
        ),
    ):
        assert config(capabilities, reasoning=reasoning) == expected
        target = UpstreamTarget("m", capabilities, stream=False)
        assert CODEC.encode_request(ask(reasoning=reasoning), target).dropped == ("reasoning",)


TOO_MUCH: list[tuple[dict[str, Any], Capabilities, str]] = [
    ({"choices": 9}, UNKNOWN, "choices"),
    ({"stop": tuple("abcdef")}, UNKNOWN, "stop"),
    ({"stop": ("a",)}, Capabilities(stop=False), "stop"),
    ({"temperature": 2.5}, UNKNOWN, "temperature"),
    ({"temperature": 0.5}, Capabilities(sampling=False), "temperature"),
    ({"tools": (F,)}, Capabilities(tools=False), "tools"),
    ({"tools": (F,), "parallel_tool_calls": False}, UNKNOWN, "parallel_tool_calls"),
    ({"tools": (NativeTool(Native("anthropic"), "bash"),)}, UNKNOWN, "tools[0]"),
    ({"output_format": JsonSchema({})}, Capabilities(json_schema=False), "output_format"),
    ({"turns": ()}, UNKNOWN, "turns"),
    (
        {"turns": (Turn("system", (Text("be"),)), ASK)},
        Capabilities(system=False),
        "turns.system",
    ),
    (
        {"turns": (ASK, Turn("assistant", (Text("It"),)))},
        Capabilities(prefill=False),
        "turns",
    ),
    (
        {"turns": (Turn("user", (NativePart(Native("anthropic"), "bash"),)),)},
        UNKNOWN,
        "turns[0].parts[0]",
    ),
    ({"unexpressed": (Unexpressed("logit_bias", harmless=False),)}, UNKNOWN, "logit_bias"),
]


@pytest.mark.parametrize(
    ("fields", "capabilities", "field"),
    TOO_MUCH,
    ids=[f"{i}-{x[2]}" for i, x in enumerate(TOO_MUCH)],
)
def test_what_cannot_be_said(
    fields: dict[str, Any], capabilities: Capabilities, field: str
) -> None:
    with pytest.raises(InexpressibleError) as caught:
        encoded(ask(**fields), capabilities)
    assert caught.value.field == field


def test_what_is_left_out() -> None:
    assert dropped(
        end_user="u",
        metadata={"a": "b"},
        verbosity="low",
        seed=2**40,
        service_tier="scale",
        unexpressed=(Unexpressed("store", harmless=True),),
        tools=(Tool("f", strict=True, cache=CacheHint()),),
        turns=(
            Turn("user", (Text("a", cache=CacheHint()),), name="ann"),
            Turn("assistant", (Reasoning("hm", Signature("anthropic", "s")), Text("b"))),
            Turn("system", (Text("be"),)),
            Turn("user", (Media("image", "image/png", data="QQ==", name="n", detail="low"),)),
        ),
    ) == (
        "store",
        "verbosity",
        "end_user",
        "metadata",
        "cache",
        "tools.strict",
        "seed",
        "service_tier",
        "turns.name",
        "turns.reasoning",
        "turns.system",
        "turns.title",
        "detail",
    )
    assert dropped(service_tier="auto", parallel_tool_calls=True, presence_penalty=0.0) == ()
    assert dropped(tools=(Tool("f", strict=False),)) == ()


def test_sampling_defaults_of_a_model_without_it() -> None:
    fields = {"temperature": 1.0, "top_p": 1.0, "top_k": 5, "presence_penalty": 0.0}
    assert config(Capabilities(sampling=False), **fields) == {}


def test_system_messages_are_gathered() -> None:
    body = encoded(
        ask(
            turns=(
                Turn("system", (Text("be"), Text("brief"))),
                ASK,
                Turn("assistant", (Text("a"),)),
                Turn("system", (Text("now"),)),
                Turn("assistant", (Refusal("no"),)),
                ASK,
            )
        )
    )
    assert body["systemInstruction"] == {
        "parts": [{"text": "be"}, {"text": "brief"}, {"text": "now"}]
    }
    assert [(c["role"], len(c["parts"])) for c in body["contents"]] == [
        ("user", 1),
        ("model", 2),
        ("user", 1),
    ]


def test_instructions_alone() -> None:
    assert encoded(ask(turns=(Turn("system", (Text("be"),)),))) == {
        "contents": [{"role": "user", "parts": [{"text": ""}]}],
        "systemInstruction": {"parts": [{"text": "be"}]},
    }


def test_media() -> None:
    assert parts(
        Media("image", "image/png", data="QQ=="),
        Media("image", url="data:image/gif;base64,QQ=="),
        Media("document", url="data:,a%20b"),
        Media("image", url="https://example.com/a.jpg?x=1"),
        Media("video", "video/mp4", url="https://example.com/a"),
        Media("video", url="https://youtu.be/x"),
        Media("document", text="é"),
        Media("document", data="QQ==", name="a.pdf"),
    ) == [
        {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
        {"inlineData": {"mimeType": "image/gif", "data": "QQ=="}},
        {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}},
        {"fileData": {"fileUri": "https://example.com/a.jpg?x=1", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://example.com/a", "mimeType": "video/mp4"}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {"inlineData": {"mimeType": "text/plain", "data": "w6k="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}},
    ]


CALLED = Turn("assistant", (ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "")))
RESULTS = Turn("user", (ToolResult("c2", (Text("no"),), is_error=True), ToolResult("c1", ())))


def test_calls_and_results() -> None:
    _, model, user = contents(ASK, CALLED, RESULTS)
    assert model["parts"] == [
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}},
        {"functionCall": {"id": "c2", "name": "g", "args": {}}},
    ]
    assert user["parts"] == [
        {"functionResponse": {"id": "c2", "name": "g", "response": {"error": "no"}}},
        {"functionResponse": {"id": "c1", "name": "f", "response": {"result": ""}}},
    ]


def test_invented_ids_stay_here() -> None:
    call_id = invent_id("r1", 0, 0)
    picture = Media("image", "image/png", data="QQ==")
    _, model, user = contents(
        ASK,
        Turn("assistant", (ToolCall(call_id, "f", "[1"),)),
        Turn("user", (ToolResult(call_id, (Text("a"), picture, Text("b"))),)),
    )
    assert model["parts"] == [{"functionCall": {"name": "f", "args": {"arguments": "[1"}}}]
    assert user["parts"] == [
        {
            "functionResponse": {
                "name": "f",
                "response": {"result": "a\nb"},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "QQ=="}}],
            }
        }
    ]


def test_a_result_without_its_call() -> None:
    with pytest.raises(InvalidRequestError, match="no call before it"):
        contents(Turn("user", (ToolResult("c9", (Text("a"),)),)))


def signatures(*turns: Turn, capabilities: Capabilities = LEVEL) -> list[list[str | None]]:
    return [
        [part.get("thoughtSignature") for part in content["parts"] if "functionCall" in part]
        for content in contents(*turns, capabilities=capabilities)
        if content["role"] == "model"
    ]


def test_the_current_turns_first_calls_are_signed() -> None:
    signed = Turn(
        "assistant",
        (ToolCall("c3", "f", "{}", Signature("gemini", "QUJD")), ToolCall("c4", "f", "{}")),
    )
    foreign = Turn("assistant", (ToolCall("c5", "f", "{}", Signature("anthropic", "s")),))
    turns = (ASK, CALLED, RESULTS, ASK, CALLED, RESULTS, signed, RESULTS, foreign, RESULTS)
    current = [[SKIP_VALIDATOR, None], ["QUJD", None], [SKIP_VALIDATOR]]
    assert signatures(*turns) == [[None, None], *current]
    unsigned = [[None, None], [None, None], ["QUJD", None], [None]]
    assert signatures(*turns, capabilities=BUDGET) == unsigned


def test_own_thoughts_are_kept() -> None:
    own = Reasoning("hm", Signature("gemini", "QUJD"))
    _, model = contents(ASK, Turn("assistant", (own, Text("", signature=own.signature))))
    assert model["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "QUJD"},
        {"text": "", "thoughtSignature": "QUJD"},
    ]


def test_tools_and_choices() -> None:
    search = NativeTool(Native("gemini", {"tool": {"googleSearch": {}}}), "googleSearch")
    bare = Tool("g", "d", {})
    body = encoded(ask(tools=(search, F, bare), tool_choice=ToolChoice("required", ("f",))))
    assert body["tools"] == [
        {"googleSearch": {}},
        {
            "functionDeclarations": [
                {"name": "f", "parametersJsonSchema": F.parameters},
                {"name": "g", "description": "d"},
            ]
        },
    ]
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("auto", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_choices(choice: ToolChoice, expected: dict[str, Any]) -> None:
    body = encoded(ask(tools=(F,), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": expected}
    assert "toolConfig" not in encoded(ask(tool_choice=choice))
