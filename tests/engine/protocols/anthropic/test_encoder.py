"""Canonical events for Anthropic's clients: the grammar of streams, and whole messages."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Native, Signature
from engine.events import (
    Begin,
    BlockEnd,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.anthropic import CODEC
from engine.protocols.anthropic import grammar as grammar_module
from tests.engine.protocols.anthropic import sdk

BEGIN = Begin("msg_1", "model-1", usage=Usage(input_tokens=9, cached_input_tokens=4))
STOP = Finish(FinishReason.STOP)
USAGE = UsageReport(
    Usage(
        input_tokens=10,
        cached_input_tokens=4,
        cache_write_tokens=1,
        output_tokens=7,
        reasoning_tokens=2,
    )
)


def call(index: int, *pieces: str) -> list[Event]:
    begin = ToolCallBegin(index, f"call_{index}", f"f{index}")
    return [begin, *(ToolCallDelta(index, piece) for piece in pieces)]


def message_of(*events: Event) -> dict[str, Any]:
    """The SDK's message of a stream; the whole message has to be the same."""
    stream = sdk.encode_stream(events)
    sdk.check_grammar(stream)
    whole = CODEC.encode_response(events, sdk.REQUEST, sdk.IDENTITY)
    message = sdk.accumulate(stream)
    assert sdk.without_null(sdk.message(whole)) == sdk.without_null(message)
    return message


def content_of(*events: Event) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = message_of(BEGIN, *events)["content"]
    return content


def test_an_answer_from_beginning_to_end() -> None:
    events: list[Event] = [BEGIN, TextDelta("Hel"), TextDelta("lo"), STOP, USAGE]
    assert sdk.stream_documents(sdk.encode_stream(events)) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "model-1",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 5,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 4,
                    "output_tokens": 0,
                },
            },
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hel"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "lo"},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 1,
                "cache_read_input_tokens": 4,
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 2},
            },
        },
        {"type": "message_stop"},
    ]


def test_an_answer_that_does_not_begin_has_our_identity() -> None:
    message = message_of(TextDelta("x"))
    assert (message["id"], message["model"]) == ("msg_ours", "model-ours")
    assert message_of()["content"] == []


def test_the_beginning_goes_out_at_once_and_the_ending_only_in_the_end() -> None:
    encoder = CODEC.open_encoder(sdk.REQUEST, sdk.IDENTITY)
    assert b"message_start" in encoder.encode(BEGIN)
    assert b"text_delta" in encoder.encode(TextDelta("x"))
    assert encoder.encode(STOP) == b""
    assert encoder.encode(USAGE) == b""
    assert not encoder.holding


def test_a_change_of_kind_ends_a_block() -> None:
    assert content_of(
        ReasoningDelta("hm"),
        TextDelta("a"),
        *call(0, '{"x"', ":1}"),
        TextDelta("b"),
        RefusalDelta("no"),
        RefusalDelta("pe"),
    ) == [
        {"type": "thinking", "thinking": "hm", "signature": "parshall:none:"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "call_0", "name": "f0", "input": {"x": 1}},
        {"type": "text", "text": "b"},
        {"type": "text", "text": "nope"},
    ]


def test_a_call_begins_with_an_empty_piece() -> None:
    documents = sdk.stream_documents(sdk.encode_stream([BEGIN, *call(0, '{"a":1}')]))
    pieces = [d["delta"]["partial_json"] for d in documents if d["type"] == "content_block_delta"]
    assert pieces == ["", '{"a":1}']


def test_thinking_keeps_whose_it_is() -> None:
    assert content_of(
        ReasoningDelta("a", signature=Signature("gemini", "AbA=")),
        TextDelta("x"),
        ReasoningDelta("b"),
        ReasoningDelta("", signature=Signature("anthropic", "ErUB")),
        RedactedReasoning(Signature("anthropic", "Em")),
        RedactedReasoning(Signature("openai", "gAAA")),
    ) == [
        {"type": "thinking", "thinking": "a", "signature": "parshall:gemini:AbA="},
        {"type": "text", "text": "x"},
        {"type": "thinking", "thinking": "b", "signature": "ErUB"},
        {"type": "redacted_thinking", "data": "Em"},
        {"type": "redacted_thinking", "data": "parshall:openai:gAAA"},
    ]


def test_ids_of_calls_are_in_anthropics_alphabet_and_carry_signatures() -> None:
    signed = ToolCallBegin(0, "call_1", "f", signature=Signature("gemini", "AbA="))
    odd = ToolCallBegin(1, "functions.f:0", "f")
    blocks = content_of(signed, ToolCallDelta(0, "{}"), odd, ToolCallDelta(1, "{}"))
    assert blocks[0]["id"] == "call_1__g1__AbA"
    assert blocks[1]["id"].startswith("functions_f_0_")


def test_calls_whose_pieces_interleave_stand_one_after_another() -> None:
    events: list[Event] = [
        BEGIN,
        *call(0, '{"a"'),
        *call(1, '{"b"'),
        *call(2),
        ToolCallDelta(0, ":1"),
        ToolCallDelta(2, "{}"),
        ToolCallDelta(1, ":2}"),
        TextDelta("then"),
        ToolCallDelta(0, "}"),
        TextDelta(" more"),
    ]
    encoder = CODEC.open_encoder(sdk.REQUEST, sdk.IDENTITY)
    held = []
    for event in events:
        encoder.encode(event)
        held.append(encoder.holding)
    assert held == [False] * 3 + [True] * 7 + [False] * 2
    assert [block.get("input", block.get("text")) for block in content_of(*events[1:])] == [
        {"a": 1}, {"b": 2}, {}, "then more",
    ]  # fmt: skip


def test_a_call_without_arguments_is_only_known_to_be_whole_at_the_end() -> None:
    assert [block["input"] for block in content_of(*call(0), *call(1, '{"b":2}'))] == [
        {}, {"b": 2},
    ]  # fmt: skip
    blocks = content_of(*call(0), BlockEnd(), *call(1), BlockEnd(), TextDelta("x"))
    assert [block["type"] for block in blocks] == ["tool_use", "tool_use", "text"]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar_module, "_WAITING_MAX_CHARS", 100)
    encoder = CODEC.open_encoder(sdk.REQUEST, sdk.IDENTITY)
    events: list[Event] = [
        BEGIN,
        *call(0, '{"a"'),
        *call(1, '{"b":"'),
        ToolCallDelta(1, "x" * 100),
        ToolCallDelta(1, '"}'),
    ]
    held = []
    out = b""
    for event in events:
        out += encoder.encode(event)
        held.append(encoder.holding)
    assert held == [False, False, False, True, True, False, False]
    out += encoder.finish()
    sdk.check_grammar(out)
    assert sdk.accumulate(out)["content"][1]["input"] == {"b": "x" * 100}


def test_an_early_end_writes_what_waits() -> None:
    encoder = CODEC.open_encoder(sdk.REQUEST, sdk.IDENTITY)
    out = b"".join(
        encoder.encode(event) for event in [BEGIN, *call(0, '{"a": "b", "x'), *call(1, '{"c":1}')]
    )
    out += encoder.cut(Usage(input_tokens=3, output_tokens=2))
    sdk.check_grammar(out)
    message = sdk.accumulate(out)
    assert message["stop_reason"] == "max_tokens"
    assert [block["input"] for block in message["content"]] == [{"a": "b"}, {"c": 1}]


def test_empty_texts_open_no_blocks_unless_they_end_as_such() -> None:
    assert content_of(TextDelta(""), *call(0, "{}"), TextDelta(""), TextDelta("x")) == [
        {"type": "tool_use", "id": "call_0", "name": "f0", "input": {}},
        {"type": "text", "text": "x"},
    ]
    assert content_of(TextDelta(""), BlockEnd(), TextDelta("x")) == [
        {"type": "text", "text": ""},
        {"type": "text", "text": "x"},
    ]
    assert content_of(TextDelta("", signature=Signature("gemini", "AbA="))) == []


def test_citations() -> None:
    own = {
        "type": "char_location",
        "cited_text": "c",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 1,
    }
    blocks = content_of(
        TextDelta("a"),
        Citation(cited_text="c", native=Native("anthropic", {"citation": own})),
        Citation(url="https://example.com", title="T", start=0, end=1),
    )
    assert sdk.without_null(blocks[0]["citations"]) == [
        sdk.without_null(own),
        {
            "type": "web_search_result_location",
            "cited_text": "",
            "encrypted_index": "parshall:none:",
            "title": "T",
            "url": "https://example.com",
        },
    ]


def test_what_has_no_place_is_left_out() -> None:
    assert content_of(
        TextDelta("a"),
        LogprobsDelta(()),
        TextDelta("other", choice=1),
        Finish(FinishReason.LENGTH, choice=1),
        MediaDelta("audio", data="AAAA", transcript="said"),
        MediaDelta("image", data="AAAA"),
        NativeEvent(Native("gemini", {"block": {"type": "x"}}), "grounding"),
        Citation(url="https://example.com"),
    ) == [
        {
            "type": "text",
            "text": "asaid",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "cited_text": "",
                    "encrypted_index": "parshall:none:",
                    "title": None,
                    "url": "https://example.com",
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("finish", "events", "expected"),
    [
        (Finish(FinishReason.STOP), [], ("end_turn", None)),
        (None, [], ("end_turn", None)),
        (Finish(FinishReason.STOP_SEQUENCE, stop_sequence="x"), [], ("stop_sequence", "x")),
        (Finish(FinishReason.STOP_SEQUENCE), [], ("end_turn", None)),
        (Finish(FinishReason.LENGTH), [], ("max_tokens", None)),
        (Finish(FinishReason.CONTEXT_LENGTH), [], ("model_context_window_exceeded", None)),
        (Finish(FinishReason.TOOL_CALLS), call(0, "{}"), ("tool_use", None)),
        (Finish(FinishReason.STOP), call(0, "{}"), ("tool_use", None)),
        (Finish(FinishReason.FILTERED), [], ("refusal", None)),
        (Finish(FinishReason.PROMPT_BLOCKED), [], ("refusal", None)),
        (Finish(FinishReason.STOP), [RefusalDelta("no")], ("refusal", None)),
        (Finish(FinishReason.PAUSED), [], ("pause_turn", None)),
        (Finish(FinishReason.MALFORMED_CALL), [], ("end_turn", None)),
        (Finish(FinishReason.OTHER), [], ("end_turn", None)),
    ],
)
def test_reasons(
    finish: Finish | None, events: list[Event], expected: tuple[str, str | None]
) -> None:
    message = message_of(BEGIN, *events, *([] if finish is None else [finish]))
    assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_a_refusal_is_explained() -> None:
    message = message_of(BEGIN, Finish(FinishReason.FILTERED, explanation="because"))
    assert message["stop_details"] == {
        "type": "refusal", "category": None, "explanation": "because",
    }  # fmt: skip


def test_arguments_that_are_no_object_stand_in_one_in_whole_messages() -> None:
    events = [BEGIN, *call(0, "[1]"), *call(1, "oops"), *call(2, "[" * 500 + "]" * 500)]
    whole = orjson.loads(CODEC.encode_response(events, sdk.REQUEST, sdk.IDENTITY))
    assert [block["input"] for block in whole["content"]] == [
        {"arguments": "[1]"},
        {"arguments": "oops"},
        {"arguments": "[" * 500 + "]" * 500},
    ]
