"""generateContent requests are refused as Gemini refuses them, and accepted as it accepts them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate.chat import ChatRequest
from bench.simulate.errors import ApiError
from bench.simulate.gemini_request import parse_generate_request
from bench.simulate.signatures import CALL, THOUGHT, Signer, call_content
from tests.bench.recordings import names_of, needs_recordings, read_recording

SIGNER = Signer(b"seed")
SUM = {"a": 1, "b": [2, {"c": None}]}
SIGNATURE = SIGNER.sign(b"nonce", CALL, call_content("sum", SUM))
SIGNED = {"functionCall": {"name": "sum", "args": SUM}, "thoughtSignature": SIGNATURE}
NOW = {"functionCall": {"name": "now"}}
RESULT = {"functionResponse": {"name": "sum", "response": {"result": 3}}}
NOW_RESULT = {"functionResponse": {"name": "now", "response": {"result": 3}}}
SUM_TOOL = {"functionDeclarations": [{"name": "sum"}]}


def text(words: str) -> dict[str, Any]:
    return {"text": words}


def turns(*turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Contents of the user and the model in turn."""
    roles = ("user", "model")
    return [{"role": roles[i % 2], "parts": parts} for i, parts in enumerate(turns)]


def parse(method: str = "generateContent", **request: Any) -> ChatRequest:
    document = {"contents": turns([text("Hello")]), **request}
    document = {name: value for name, value in document.items() if value is not None}
    return parse_generate_request(
        orjson.dumps(document), SIGNER, model="m", method=method, as_array=False
    )


MISSING = "Function call is missing a thought_signature in functionCall parts."


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"contents": None}, "* GenerateContentRequest.contents: contents is not specified"),
        ({"foo": 1}, 'Unknown name "foo": Cannot find field.'),
        ({"max_tokens": 1}, 'Unknown name "max_tokens": Cannot find field.'),
        (
            {"generationConfig": {"foo": 1}},
            "Unknown name \"foo\" at 'generation_config': Cannot find field.",
        ),
        (
            {"contents": turns([{"text": "x", "type": "text"}])},
            "Unknown name \"type\" at 'contents[0].parts[0]': Cannot find field.",
        ),
        ({"generationConfig": {"temperature": "x"}}, "at 'generation_config.temperature' (number)"),
        ({"generationConfig": {"temperature": 2.5}}, "generation_config.temperature: the value"),
        ({"generationConfig": {"stopSequences": ["x"] * 6}}, "at most 5 items"),
        ({"generationConfig": {"candidateCount": 9}}, "candidate_count"),
        ({"contents": [{"role": "assistant", "parts": [text("x")]}]}, "Please use a valid role"),
        ({"contents": [{"role": "user"}]}, "contents[0].parts: contents.parts must not be empty"),
        ({"contents": turns([{}])}, "parts[0].data: required oneof field 'data'"),
        ({"contents": turns([text("x") | NOW])}, "oneof field 'data' is already set"),
        ({"contents": turns([text("x")], [SIGNED])}, "number of function response parts"),
        ({"contents": turns([text("x")], [SIGNED], [text("y")])}, "number of function response"),
        ({"contents": turns([text("x")], [SIGNED, NOW], [RESULT])}, "number of function response"),
        ({"contents": turns([text("x")], [SIGNED], [RESULT, RESULT])}, "number of function"),
        ({"contents": turns([RESULT])}, "number of function response parts"),
        ({"contents": turns([text("x")], [SIGNED], [NOW_RESULT])}, "have the names of"),
        ({"contents": turns([NOW])}, "only allowed in content with role 'model'"),
        ({"contents": turns([text("x")], [NOW], [NOW_RESULT])}, MISSING),
        ({"contents": turns([text("x")], [NOW, SIGNED], [NOW_RESULT, RESULT])}, MISSING),
        (
            {"contents": turns([text("x")], [SIGNED], [RESULT], [NOW], [NOW_RESULT])},
            "`default_api:now` , position 4",
        ),
        (
            {"contents": turns([text("x")], [NOW | {"thoughtSignature": SIGNATURE}], [NOW_RESULT])},
            "Corrupted thought signature.",
        ),
        (
            {"contents": turns([text("x")], [text("y") | {"thoughtSignature": SIGNATURE}])},
            "Corrupted thought signature.",
        ),
        (
            {"contents": turns([text("x")], [SIGNED | {"thoughtSignature": "?"}], [RESULT])},
            "thought_signature",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}},
            "only set only one of thinking budget and thinking level",
        ),
        ({"generationConfig": {"responseSchema": {"type": "STRING"}}}, "application/json"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "name is not specified"),
        ({"tools": [{"functionDeclarations": [{"name": "1x"}]}]}, "Invalid value at 'tools[0]"),
        (
            {"tools": [{"functionDeclarations": [{"name": "x", "parameters": {"$ref": "y"}}]}]},
            'Unknown name "$ref"',
        ),
        (
            {
                "tools": [
                    {"functionDeclarations": [{"name": "x", "parameters": {"type": "STRING"}}]}
                ]
            },
            "should be OBJECT",
        ),
        (
            {
                "tools": [
                    {
                        "functionDeclarations": [
                            {"name": "x", "parameters": {}, "parametersJsonSchema": {}}
                        ]
                    }
                ]
            },
            "Only one of parameters and parameters_json_schema",
        ),
        ({"tools": [SUM_TOOL, SUM_TOOL]}, "Duplicate function declaration found: sum"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "no function declarations"),
        (
            {
                "tools": [SUM_TOOL],
                "toolConfig": {
                    "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x"]}
                },
            },
            "The allowed function name x is not declared",
        ),
        ({"contents": turns([{"inlineData": {"mimeType": "image/png", "data": "%"}}])}, "data"),
        ({"contents": turns([{"inlineData": {"data": "AAAA"}}])}, "mime_type is not specified"),
    ],
)
def test_refusals(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(**request_)
    assert message in caught.value.message
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("request_", "signed"),
    [
        ({"contents": turns([text("x")], [SIGNED, NOW], [RESULT, NOW_RESULT])}, "verified"),
        ({"contents": turns([text("x")], [SIGNED, NOW], [NOW_RESULT, RESULT])}, "verified"),
        (
            {
                "contents": turns(
                    [text("x")],
                    [NOW | {"thoughtSignature": "skip_thought_signature_validator"}],
                    [NOW_RESULT],
                )
            },
            "skipped",
        ),
        # A turn of before the user's last text needs no signature.
        ({"contents": turns([text("x")], [NOW], [NOW_RESULT], [text("y")], [text("z")])}, None),
        # A streamed turn comes back in pieces.
        (
            {
                "contents": [
                    *turns([text("x")], [SIGNED]),
                    {"role": "model", "parts": [NOW]},
                    {"role": "model", "parts": [text("")]},
                    {"role": "function", "parts": [RESULT]},
                    {"role": "user", "parts": [NOW_RESULT]},
                ]
            },
            "verified",
        ),
        (
            {
                "contents": turns(
                    [text("x")],
                    [text("y") | {"thoughtSignature": SIGNER.sign(b"n", THOUGHT, b"")}],
                    [text("z")],
                )
            },
            "verified",
        ),
        ({"contents": turns([{"inline_data": {"mime_type": "image/png", "data": "-_8="}}])}, None),
        ({"system_instruction": {"parts": [text("x")]}, "safety_settings": []}, None),
        ({"generation_config": {"max_output_tokens": 5, "thinkingConfig": {}}}, None),
        ({"tools": {"function_declarations": [{"name": "a.b-c"}]}, "store": True}, None),
        ({"tools": [{"googleSearch": {}}, {"codeExecution": {}}]}, None),
    ],
)
def test_what_is_accepted(request_: dict[str, Any], signed: str | None) -> None:
    assert parse(**request_).signatures == signed


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 5_000])
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_generate_request(body, SIGNER, model="m", method="generateContent", as_array=False)


def test_deeper_than_can_be_written_again() -> None:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(120):
        schema = {"type": "ARRAY", "items": schema}
    tools = [{"functionDeclarations": [{"name": "x", "parametersJsonSchema": schema}]}]
    assert parse(tools=tools).tools[0].schema == schema
    contents = turns([{"functionResponse": {"name": "x", "response": {"x": schema}}}])
    with pytest.raises(ApiError):
        parse(contents=contents)


def test_what_the_request_comes_to() -> None:
    request = parse(
        "streamGenerateContent",
        contents=turns([text("#sim tokens=3")], [SIGNED], [RESULT]),
        tools=[{"functionDeclarations": [{"name": "sum"}, {"name": "now"}]}],
        tool_config={"function_calling_config": {"mode": "any", "allowed_function_names": ["now"]}},
        generation_config={"candidate_count": 2, "thinking_config": {"include_thoughts": True}},
    )
    assert (request.directives, request.rounds) == ("tokens=3", 1)
    assert (request.forced, request.may_call) == (("now",), True)
    assert (request.choices, request.reasoning, request.stream) == (2, "text", True)
    assert parse(contents=turns([text("#sim a")], [text("x")], [text("#sim b")])).directives == "b"
    none = {"functionCallingConfig": {"mode": "NONE"}}
    assert not parse(tools=[SUM_TOOL], toolConfig=none).may_call


UNSIGNED = ("logfire--", "test-multiple-agent-tool-calls", "test-google-model-iter-stream")
"""Models of before signatures were required."""
VERTEX = ("model-armor", "vertexai-tests-cassettes-test-function-call-choice")
"""Fields that only Vertex has."""


@needs_recordings
@pytest.mark.parametrize(
    "name",
    names_of(
        "gemini-generateContent",
        "gemini-streamGenerateContent",
        "gemini-countTokens",
        "vertex-generateContent",
        "vertex-streamGenerateContent",
    ),
)
def test_recorded_requests_are_answered_as_they_were(name: str) -> None:
    """All but the foreign signatures, which only their issuer takes."""
    stored = read_recording(name)
    body = (stored.get("request") or {}).get("body")
    if not isinstance(body, dict) or any(word in name for word in VERTEX):
        pytest.skip("no request for this API")
    method = "countTokens" if "countTokens" in name else "generateContent"
    refusal = ""
    try:
        parse_generate_request(orjson.dumps(body), SIGNER, model="m", method=method, as_array=False)
    except ApiError as error:
        refusal = error.message
    unsigned = refusal.startswith(MISSING) and any(word in name for word in UNSIGNED)
    foreign = refusal == "Corrupted thought signature."
    refused = stored["response"]["status"] == 400
    assert not refusal or unsigned or foreign or refused, refusal
