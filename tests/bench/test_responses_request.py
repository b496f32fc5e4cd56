"""Responses requests, as strict as the API."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate.chat import ChatRequest
from bench.simulate.errors import ApiError
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.kept.shelf import Shelf
from bench.simulate.responses_request import parse_responses_request
from bench.simulate.signatures import REASONING, Signer
from bench.simulate.tokens import count_tokens
from tests.bench.recordings import names_of, needs_recordings, read_recording

SIGNER = Signer(b"seed")
STORE = ResponseStore(SIGNER, Shelf("none"))
QUESTION: dict[str, Any] = {"role": "user", "content": "#sim tokens=3\nHow?"}
CALL: dict[str, Any] = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "now",
    "arguments": "{}",
}
RESULT: dict[str, Any] = {"type": "function_call_output", "call_id": "call_1", "output": "12"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]}
THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": SIGNER.sign(b"n", REASONING, b"hm"),
}
NOW: dict[str, Any] = {"type": "function", "name": "now", "parameters": {"type": "object"}}


def parse(*items: object, **more: Any) -> ChatRequest:
    body = {"model": "sim-openai", "input": list(items) or "Hello", **more}
    return parse_responses_request(orjson.dumps(body), STORE)


def refusal(*items: object, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(*items, **more)
    return caught.value


ACCEPTED: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([QUESTION], {}),
    ([QUESTION, CALL, RESULT], {}),
    ([QUESTION, CALL, CALL | {"call_id": "b"}, RESULT | {"call_id": "b"}, RESULT], {}),
    ([QUESTION, THOUGHT, CALL, RESULT], {"tools": [NOW]}),
    ([QUESTION, THOUGHT, THOUGHT, ANSWER, QUESTION], {"store": False}),
    ([QUESTION, CALL, RESULT | {"output": [{"type": "input_text", "text": "12"}]}], {}),
    ([QUESTION], {"tools": [NOW, {"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
    ([QUESTION], {"temperature": None, "tools": None, "instructions": None}),
    ([QUESTION, {"type": "web_search_call", "id": "ws_1", "status": "completed"}, ANSWER], {}),
    ([QUESTION], {"text": {"format": {"type": "text"}, "verbosity": "low"}}),
]


@pytest.mark.parametrize(("items", "more"), ACCEPTED)
def test_what_the_api_accepts(items: list[dict[str, Any]], more: dict[str, Any]) -> None:
    assert parse(*items, **more).model == "sim-openai"


IMAGE = {"type": "input_image", "image_url": {"url": "https://example.org/a.png"}}
REFUSED: list[tuple[list[Any], dict[str, Any], str | None, str | None]] = [
    ([QUESTION], {"messages": []}, "messages", "unknown_parameter"),
    ([QUESTION], {"stop": ["x"]}, "stop", "unknown_parameter"),
    ([QUESTION], {"max_tokens": 20}, "max_tokens", "unknown_parameter"),
    ([QUESTION], {"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value"),
    ([QUESTION], {"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ([QUESTION], {"include": ["thoughts"]}, "include[0]", "invalid_value"),
    ([QUESTION], {"stream_options": {}}, "stream_options", None),
    ([QUESTION], {"reasoning": {"effort": "some"}}, "reasoning.effort", "invalid_value"),
    (
        [QUESTION],
        {"text": {"format": {"type": "json_schema", "name": "a"}}},
        "text.format.schema",
        "missing_required_parameter",
    ),
    ([QUESTION], {"response_format": {}}, "response_format", "unknown_parameter"),
    (
        [QUESTION],
        {"tools": [{"type": "function", "function": {"name": "now"}}]},
        "tools[0].function",
        "unknown_parameter",
    ),
    ([QUESTION], {"tools": [NOW | {"name": "a b"}]}, "tools[0].name", "invalid_value"),
    ([QUESTION], {"tool_choice": {"type": "function", "name": "x"}}, "tool_choice", None),
    ([QUESTION], {"tool_choice": "required"}, "tool_choice", None),
    ([{"role": "tool", "content": "x"}], {}, "input[0].role", "invalid_value"),
    ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], {}, None, "invalid_value"),
    ([{"role": "user", "content": [IMAGE]}], {}, "input[0].content[0].image_url", "invalid_type"),
    (
        [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}],
        {},
        "input[0].content[0].type",
        "invalid_value",
    ),
    ([{"type": "message", "role": "user"}], {}, "input[0].content", "missing_required_parameter"),
    ([CALL], {}, "input", None),
    ([RESULT], {}, "input", None),
    ([QUESTION, CALL | {"id": "call_1"}, RESULT], {}, "input[1].id", "invalid_value"),
    ([CALL | {"call_id": ""}, RESULT], {}, "input[0].call_id", "empty_string"),
    ([CALL | {"call_id": "x" * 65}, RESULT], {}, None, "string_above_max_length"),
    ([QUESTION, THOUGHT], {}, "input", None),
    ([QUESTION, THOUGHT, QUESTION], {}, "input", None),
    ([QUESTION, THOUGHT | {"summary": []}, ANSWER], {}, None, "invalid_encrypted_content"),
    ([{"type": "item_reference", "id": "msg_1"}], {}, "input", None),
    ([QUESTION], {"previous_response_id": "resp_1"}, None, "previous_response_not_found"),
    ([QUESTION], {"conversation": "conv_1"}, None, None),
]


@pytest.mark.parametrize(("items", "more", "param", "code"), REFUSED)
def test_what_the_api_refuses(
    items: list[Any], more: dict[str, Any], param: str | None, code: str | None
) -> None:
    error = refusal(*items, **more)
    assert error.status in (400, 404)
    assert error.code == code
    assert param is None or error.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"x"}', b'{"input":"x"}'])
def test_bodies_that_are_no_request(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_responses_request(body, STORE)


def test_reasoning_by_its_id_alone() -> None:
    ours = {"type": "reasoning", "id": SIGNER.issue_id("rs", b"n"), "summary": []}
    assert parse(QUESTION, ours, ANSWER, QUESTION).signatures is None
    assert refusal(QUESTION, ours, ANSWER, QUESTION, store=False).status == 404
    theirs = ours | {"id": "rs_" + "0" * 50}
    assert refusal(QUESTION, theirs, ANSWER, QUESTION).status == 404


def test_what_is_acted_on() -> None:
    request = parse(
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "#sim steps=2\nHow?"}]},
        THOUGHT,
        CALL,
        RESULT,
        CALL | {"call_id": "b"},
        CALL | {"call_id": "c"},
        RESULT | {"call_id": "c"},
        RESULT | {"call_id": "b"},
        tools=[NOW],
        tool_choice={"type": "allowed_tools", "mode": "required", "tools": [NOW]},
        max_output_tokens=20,
        include=["reasoning.encrypted_content"],
    )
    assert request.directives == "steps=2"
    assert (request.rounds, request.max_output_tokens) == (2, 20)
    assert (request.forced, request.reasoning) == (("now",), "signature")
    assert request.signatures == "verified"
    assert parse(QUESTION, reasoning={"summary": "auto"}).reasoning == "text"
    assert parse(QUESTION).seed_material == parse(QUESTION, stream=True).seed_material


KEPT_AT_OPENAI = ("previous_response_id", "conversation", "background")


def _ours(body: Any) -> bool:
    """Whether the simulator could answer it: nothing kept, or encrypted, by the recorded API."""
    if any(body.get(name) for name in KEPT_AT_OPENAI) or "model" not in body:
        return False
    if any(tool.get("vector_store_ids") for tool in body.get("tools") or ()):
        return False
    return not any("encrypted_content" in item for item in body["input"] if isinstance(item, dict))


RECORDED = [
    name
    for name in names_of("openai-responses", "openai-responses-input_tokens")
    if isinstance(read_recording(name)["request"]["body"], dict)
    and read_recording(name)["response"]["status"] == 200
    and _ours(read_recording(name)["request"]["body"])
]


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_requests_are_accepted(name: str) -> None:
    body = orjson.dumps(read_recording(name)["request"]["body"])
    parse_responses_request(body, STORE, counting="input_tokens" in name)


@needs_recordings
def test_input_is_counted_as_recorded() -> None:
    """Without tools, whose inner form is not known."""
    compared = 0
    for name in names_of("openai-responses-input_tokens"):
        stored = read_recording(name)
        if not stored["request"]["body"].get("tools"):
            body = orjson.dumps(stored["request"]["body"])
            request = parse_responses_request(body, STORE, counting=True)
            counted = count_tokens(request.texts) + request.framing_tokens
            assert counted == orjson.loads(stored["response"]["body"])["input_tokens"], name
            compared += 1
    assert compared == 2
