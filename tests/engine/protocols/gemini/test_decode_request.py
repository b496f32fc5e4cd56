"""A Gemini client's request as a canonical conversation."""

from __future__ import annotations

from typing import Any

import pytest

from engine.conversation import (
    JsonObject,
    JsonSchema,
    Media,
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
from engine.protocols.gemini.schema import to_json_schema
from engine.protocols.gemini.signatures import is_invented, sign
from tests.engine.protocols.gemini.samples import ASK, decoded


def parts(*raw: dict[str, Any], role: str = "user") -> tuple[Part, ...]:
    (turn,) = decoded({"contents": [{"role": role, "parts": list(raw)}]}).turns
    return turn.parts


def test_roles_and_system() -> None:
    conversation = decoded(
        {
            "system_instruction": {"role": "user", "parts": [{"text": "be"}, {"text": "brief"}]},
            "contents": [
                {"parts": [{"text": "a"}]},
                {"role": "MODEL", "parts": [{"text": "b"}, {"text": "c"}]},
                {"role": "function", "parts": {"text": "d"}},
                {"role": "user", "parts": [{"text": "e"}, {}]},
            ],
        }
    )
    assert conversation.turns == (
        Turn("system", (Text("be"), Text("brief"))),
        Turn("user", (Text("a"),)),
        Turn("assistant", (Text("bc"),)),
        Turn("user", (Text("d"), Text("e"))),
    )
    assert conversation.unexpressed == ()
    assert decoded({"systemInstruction": "be"}).turns[0] == Turn("system", (Text("be"),))


def test_every_field_of_the_configuration() -> None:
    conversation = decoded(
        {
            "generation_config": {
                "temperature": 0,
                "top_p": 0.5,
                "topK": 40.0,
                "candidateCount": 2,
                "max_output_tokens": 9,
                "stopSequences": ["x"],
                "seed": -3,
                "presencePenalty": 0.5,
                "frequency_penalty": -0.5,
                "response_logprobs": True,
                "logprobs": 3,
                "responseModalities": ["TEXT", "image"],
                "thinkingConfig": {"thinking_budget": 5, "include_thoughts": True},
            },
            "labels": {"a": "b"},
            "serviceTier": "FLEX",
        }
    )
    assert (conversation.temperature, conversation.top_p, conversation.top_k) == (0, 0.5, 40)
    assert (conversation.choices, conversation.max_output_tokens) == (2, 9)
    assert (conversation.stop, conversation.seed) == (("x",), -3)
    assert (conversation.presence_penalty, conversation.frequency_penalty) == (0.5, -0.5)
    assert conversation.top_logprobs == 3
    assert conversation.modalities == ("text", "image")
    assert conversation.reasoning == ReasoningRequest(budget_tokens=5, visible=True)
    assert (conversation.metadata, conversation.service_tier) == ({"a": "b"}, "flex")
    assert conversation.unexpressed == ()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"thinkingLevel": "low"}, ReasoningRequest(effort="low", visible=False)),
        ({"thinkingBudget": -1}, ReasoningRequest(budget_tokens=-1, visible=False)),
        ({"includeThoughts": True}, ReasoningRequest(visible=True)),
        ({"includeThoughts": False}, None),
    ],
)
def test_thinking(config: dict[str, Any], expected: ReasoningRequest | None) -> None:
    assert decoded({"generationConfig": {"thinkingConfig": config}}).reasoning == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": "many"}}},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "EXTREME"}}},
        {"generationConfig": {"temperature": "hot"}},
        {"generationConfig": {"stopSequences": [1]}},
        {"generationConfig": {"seed": 2**40}},
        {"generationConfig": {"responseSchema": {}, "responseJsonSchema": {}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
        {"contents": [{"role": "system", "parts": [{"text": "be"}]}]},
        {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
        {"systemInstruction": {"parts": [{"inlineData": {"mimeType": "image/png"}}]}},
    ],
)
def test_what_gemini_would_refuse(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        decoded(fields)


def test_output_formats() -> None:
    def output(**config: Any) -> object:
        return decoded({"generationConfig": config}).output_format

    assert output(responseMimeType="text/plain") is None
    assert output(responseMimeType="application/json") == JsonObject()
    schema = {"type": "object", "properties": {"snake_case": {"type": "string"}}}
    assert output(response_json_schema=schema) == JsonSchema(schema)
    own = {"type": "OBJECT", "properties": {"snake_case": {"type": "STRING"}}}
    assert output(response_mime_type="application/json", response_schema=own) == JsonSchema(schema)


def test_schemas() -> None:
    own = {
        "type": "OBJECT",
        "propertyOrdering": ["type", "nullable"],
        "properties": {
            "type": {"type": "STRING", "format": "enum", "enum": ["A"], "nullable": True},
            "nullable": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1"},
            "any_of": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
        },
        "required": ["type"],
    }
    assert to_json_schema(own) == {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["A", None]},
            "nullable": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "any_of": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
        },
        "required": ["type"],
    }
    plain = {
        "$defs": {"A": {"type": "object", "properties": {}}},
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"const": 1, "x_y": 2}},
        "additionalProperties": {"type": ["string", "null"]},
        "type": "object",
    }
    assert to_json_schema(plain) == plain
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"items": deep}
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        to_json_schema(deep)


def test_tools() -> None:
    conversation = decoded(
        {
            "tools": [
                {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]},
                {
                    "function_declarations": [
                        {"name": "g", "description": "d", "parameters_json_schema": {"$ref": "#"}}
                    ],
                    "google_search": {},
                },
            ],
            "tool_config": {
                "function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}
            },
        }
    )
    f, g, search = conversation.tools
    assert (f, g) == (
        Tool("f", parameters={"type": "object"}),
        Tool("g", "d", {"$ref": "#"}),
    )
    assert isinstance(search, NativeTool)
    assert (search.label, search.native.fields) == ("googleSearch", {"tool": {"google_search": {}}})
    assert conversation.tool_choice == ToolChoice("required", ("f",))


@pytest.mark.parametrize(
    ("mode", "choice"),
    [
        ("AUTO", ToolChoice("auto")),
        ("NONE", ToolChoice("none")),
        ("ANY", ToolChoice("required")),
        ("VALIDATED", ToolChoice("auto")),
        ("MODE_UNSPECIFIED", None),
    ],
)
def test_tool_choices(mode: str, choice: ToolChoice | None) -> None:
    config = {"toolConfig": {"functionCallingConfig": {"mode": mode}}}
    assert decoded(config).tool_choice == choice


@pytest.mark.parametrize(
    ("fields", "path", "harmless"),
    [
        ({"safetySettings": []}, "safetySettings", True),
        ({"modelArmorConfig": {}}, "modelArmorConfig", False),
        (
            {"generationConfig": {"speechConfig": {"multiSpeakerVoiceConfig": {}}}},
            "generationConfig.speechConfig.multiSpeakerVoiceConfig",
            False,
        ),
        (
            {"generationConfig": {"speechConfig": {"languageCode": "de-DE"}}},
            "generationConfig.speechConfig.languageCode",
            True,
        ),
        (
            {"generation_config": {"image_config": {"person_generation": "x"}}},
            "generation_config.image_config.person_generation",
            False,
        ),
        ({"generationConfig": {"mediaResolution": "X"}}, "generationConfig.mediaResolution", True),
        (
            {"generationConfig": {"responseMimeType": "text/x.enum"}},
            "generationConfig.responseMimeType",
            False,
        ),
        ({"toolConfig": {"retrievalConfig": {}}}, "toolConfig.retrievalConfig", False),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "response": {}}]}]},
            "tools[0].functionDeclarations[0].response",
            True,
        ),
        (
            {"contents": [{"parts": [{"text": "a", "videoMetadata": {"fps": 1}}]}]},
            "contents[0].parts[0].videoMetadata",
            False,
        ),
    ],
)
def test_what_has_no_place(fields: dict[str, Any], path: str, harmless: bool) -> None:
    assert decoded(fields).unexpressed == (Unexpressed(path, harmless),)


def test_calls_and_results_are_matched_without_ids() -> None:
    def called(name: str, **fields: Any) -> dict[str, Any]:
        return {"functionCall": {"name": name} | fields}

    def answer(name: str, response: object, **fields: Any) -> dict[str, Any]:
        return {"functionResponse": {"name": name, "response": response} | fields}

    conversation = decoded(
        {
            "contents": [
                {"parts": [{"text": "go"}]},
                {
                    "role": "model",
                    "parts": [
                        called("f", args={"a": 1}) | {"thoughtSignature": "-_8"},
                        called("f"),
                        called("g", id="g1"),
                    ],
                },
                {
                    "parts": [
                        answer("g", {"error": "no"}, id="g1"),
                        answer("f", {"result": "one"}),
                        answer("f", {"output": [2]}),
                    ]
                },
                {"role": "model", "parts": [called("f")]},
                {"parts": [answer("f", {"a": 1, "b": 2})]},
            ]
        }
    )
    _, model, results, again, last = conversation.turns
    first, second, third = (part for part in model.parts if isinstance(part, ToolCall))
    (fourth,) = (part for part in again.parts if isinstance(part, ToolCall))
    assert (first.arguments, second.arguments) == ('{"a":1}', "{}")
    assert first.signature == Signature("gemini", "+/8=")
    ids = {first.id, second.id, fourth.id}
    assert len(ids) == 3
    assert all(map(is_invented, ids))
    assert third.id == "g1"
    answers = [part for part in (*results.parts, *last.parts) if isinstance(part, ToolResult)]
    assert [(a.call_id, a.name, a.is_error, a.content) for a in answers] == [
        ("g1", "g", True, (Text("no"),)),
        (first.id, "f", False, (Text("one"),)),
        (second.id, "f", False, (Text("[2]"),)),
        (fourth.id, "f", False, (Text('{"a":1,"b":2}'),)),
    ]


def test_media() -> None:
    assert parts(
        {"inline_data": {"mime_type": "image/png", "data": "-_8"}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {
            "fileData": {"fileUri": "https://example.com/a", "mimeType": "audio/mp3"},
            "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
        },
        {"inlineData": {"mimeType": "application/pdf", "data": "QQ==", "displayName": "a.pdf"}},
    ) == (
        Media("image", "image/png", data="+/8="),
        Media("video", url="https://youtu.be/x"),
        Media("audio", "audio/mp3", url="https://example.com/a", detail="high"),
        Media("document", "application/pdf", data="QQ==", name="a.pdf"),
    )


def test_thoughts_and_signatures() -> None:
    anthropic = Signature("anthropic", "s1")
    assert parts(
        {"text": "let ", "thought": True},
        {"text": "me", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": sign(anthropic)},
        {"text": "", "thought": True, "thoughtSignature": sign(anthropic, redacted=True)},
        {"text": "It "},
        {"text": "is."},
        {"text": "", "thoughtSignature": "QUJD"},
        {"functionCall": {"name": "f"}, "thoughtSignature": sign(None)},
        role="model",
    )[:-1] == (
        Reasoning("let me", anthropic),
        Reasoning("", anthropic, redacted=True),
        Text("It is."),
        Text("", signature=Signature("gemini", "QUJD")),
    )


def test_what_only_gemini_has() -> None:
    code = {"executable_code": {"language": "PYTHON", "code": "1"}}
    (part,) = parts(code, role="model")
    assert isinstance(part, NativePart)
    assert (part.label, part.native.fields) == ("executableCode", {"part": code})


def test_a_greeting_says_nothing_else() -> None:
    assert decoded({}).turns == (ASK,)
    assert decoded({"generationConfig": {"temperature": None}}) == decoded({})
