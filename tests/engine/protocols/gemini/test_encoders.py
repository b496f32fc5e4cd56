"""Canonical events for a Gemini client: streams, whole answers, early cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from google.genai import types

from engine.conversation import Native, Signature
from engine.errors import UpstreamError
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
    TokenLogprob,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.gemini import CODEC
from engine.protocols.gemini.signatures import invent_id, is_marked, read_signature
from engine.wire.sse import EventTooLargeError
from tests.engine.protocols.gemini import sdk
from tests.engine.protocols.gemini.samples import HELLO, IDENTITY, request

USAGE = Usage(input_tokens=10, cached_input_tokens=4, output_tokens=7, reasoning_tokens=2)
STOP = Finish(FinishReason.STOP)
ANTHROPIC = Signature("anthropic", "s1")


def stream(events: Sequence[Event], *, array: bool = False) -> bytes:
    encoder = CODEC.open_encoder(request(stream=True, array=array), IDENTITY)
    return b"".join(map(encoder.encode, events)) + encoder.finish()


def whole(events: Sequence[Event]) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(CODEC.encode_response(events, request(), IDENTITY))
    sdk.whole(orjson.dumps(document))  # which google-genai takes
    return document


def parts(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Of a whole answer; a stream's are the same, but for the empty one of its end."""
    (candidate,) = whole([*events, STOP])["candidates"]
    found: list[dict[str, Any]] = candidate["content"]["parts"]
    return found


def called(index: int, name: str, *arguments: str, call_id: str = "c1") -> list[Event]:
    deltas = [ToolCallDelta(index, piece) for piece in arguments]
    return [ToolCallBegin(index, call_id, name), *deltas]


def test_a_stream() -> None:
    body = stream(
        [Begin("id1", "the-model"), TextDelta("a"), TextDelta("é"), STOP, UsageReport(USAGE)]
    )
    *events, rest = body.split(b"\r\n\r\n")
    assert rest == b""
    assert all(event.startswith(b"data: {") for event in events)
    chunks, error = sdk.chunks(body)
    assert error is None
    assert [chunk.text for chunk in chunks] == ["a", "é", ""]
    assert {(chunk.response_id, chunk.model_version) for chunk in chunks} == {("id1", "the-model")}
    assert sdk.ends(chunks[-1]) == [(0, "STOP")]
    assert sdk.figures(chunks[-1]) == {
        "prompt_token_count": 10,
        "cached_content_token_count": 4,
        "candidates_token_count": 5,
        "thoughts_token_count": 2,
        "total_token_count": 17,
    }


def test_an_array_holds_the_same() -> None:
    events: list[Event] = [Begin(None, None), TextDelta("a"), STOP]
    body = stream(events, array=True)
    assert body.startswith(b"[{")
    assert b"},\r\n{" in body
    lines = stream(events).split(b"\r\n\r\n")[:-1]
    assert orjson.loads(body) == [orjson.loads(line[6:]) for line in lines]
    assert orjson.loads(body)[0]["responseId"] == IDENTITY.id
    assert [one["modelVersion"] for one in orjson.loads(stream([], array=True))] == ["a-model"]


def test_calls_are_written_whole() -> None:
    encoder = CODEC.open_encoder(request(stream=True), IDENTITY)
    for event in called(0, "f", '{"a"', ": 1}"):
        assert encoder.encode(event) == b""
        assert encoder.holding
    out = encoder.encode(BlockEnd())
    assert not encoder.holding
    chunk = orjson.loads(out[6:])
    (part,) = chunk["candidates"][0]["content"]["parts"]
    assert part["functionCall"] == {"id": "c1", "name": "f", "args": {"a": 1}}


def test_calls_come_before_what_follows_them() -> None:
    found = parts([TextDelta("a"), *called(0, "f"), *called(1, "g", "{}"), TextDelta("b")])
    assert [next(iter(part)) for part in found] == ["text", "functionCall", "functionCall", "text"]
    first, second = found[1:3]
    assert is_marked(first["thoughtSignature"])  # Gemini 3 wants one, when the history goes there
    assert read_signature(first["thoughtSignature"]) == (None, False)
    assert "thoughtSignature" not in second


def test_interleaved_calls() -> None:
    found = parts(
        [
            ToolCallBegin(0, "c0", "f"),
            ToolCallBegin(1, "c1", "g"),
            ToolCallDelta(1, '{"b"'),
            ToolCallDelta(0, '{"a":1}'),
            ToolCallDelta(1, ":2}"),
        ]
    )
    assert [part["functionCall"]["args"] for part in found] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ("  ", {}),
        ('{"a":', {"arguments": '{"a":'}),
        ("[1]", {"arguments": [1]}),
        ("null", {"arguments": None}),
        ('{"a":NaN}', {"arguments": '{"a":NaN}'}),
        ('{"a":"\\ud800"}', {"a": "\ufffd"}),
        (
            '{"a":' + "[" * 300 + "]" * 300 + "}",
            {"arguments": '{"a":' + "[" * 300 + "]" * 300 + "}"},
        ),
    ],
)
def test_arguments_that_are_no_object(text: str, arguments: dict[str, Any]) -> None:
    (part,) = parts(called(0, "f", text))
    assert part["functionCall"]["args"] == arguments


def test_endless_arguments() -> None:
    encoder = CODEC.open_encoder(request(stream=True), IDENTITY)
    encoder.encode(ToolCallBegin(0, "c1", "f"))
    encoder.encode(ToolCallDelta(0, "x" * 16 * 1024 * 1024))
    with pytest.raises(EventTooLargeError):
        encoder.encode(ToolCallDelta(0, "x"))


def test_invented_ids_and_own_signatures() -> None:
    own = Signature("gemini", "QUJD")
    (part,) = parts([ToolCallBegin(0, invent_id("r"), "f", signature=own)])
    assert part == {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "QUJD"}


def test_thoughts() -> None:
    found = parts(
        [
            ReasoningDelta("let "),
            ReasoningDelta("me"),
            ReasoningDelta("", signature=ANTHROPIC),
            RedactedReasoning(ANTHROPIC),
            TextDelta("a"),
            TextDelta("b"),
        ]
    )
    assert [(part["text"], part.get("thought")) for part in found] == [
        ("let me", True),
        ("", True),
        ("ab", None),
    ]
    assert read_signature(found[0]["thoughtSignature"]) == (ANTHROPIC, False)
    assert read_signature(found[1]["thoughtSignature"]) == (ANTHROPIC, True)


def test_media() -> None:
    assert parts(
        [
            MediaDelta("image", "image/webp", "QQ=="),
            MediaDelta("audio", data="QQ=="),
            MediaDelta("audio", transcript="said"),
            MediaDelta("audio"),
        ]
    ) == [
        {"inlineData": {"mimeType": "image/webp", "data": "QQ=="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}},
        {"text": "said"},
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (FinishReason.STOP, "STOP"),
        (FinishReason.STOP_SEQUENCE, "STOP"),
        (FinishReason.TOOL_CALLS, "STOP"),
        (FinishReason.PAUSED, "STOP"),
        (FinishReason.LENGTH, "MAX_TOKENS"),
        (FinishReason.CONTEXT_LENGTH, "MAX_TOKENS"),
        (FinishReason.FILTERED, "SAFETY"),
        (FinishReason.MALFORMED_CALL, "MALFORMED_FUNCTION_CALL"),
        (FinishReason.OTHER, "OTHER"),
        (FinishReason.PROMPT_BLOCKED, "PROHIBITED_CONTENT"),
    ],
)
def test_reasons(reason: FinishReason, expected: str) -> None:
    (candidate,) = whole([TextDelta("a"), Finish(reason)])["candidates"]
    assert candidate["finishReason"] == expected
    assert set(FinishReason) >= {reason}


def test_a_blocked_prompt_has_no_candidate() -> None:
    blocked = Finish(FinishReason.PROMPT_BLOCKED, explanation="Never.")
    document = whole([Begin("i", "m"), blocked])
    assert "candidates" not in document
    assert document["promptFeedback"] == {"blockReason": "OTHER", "blockReasonMessage": "Never."}
    ((last,), _) = sdk.chunks(stream([blocked]))
    assert last.candidates is None
    assert last.prompt_feedback is not None
    assert last.prompt_feedback.block_reason == types.BlockedReason.OTHER


def test_a_refusal_ends_for_safety() -> None:
    (candidate,) = whole([RefusalDelta("I "), RefusalDelta("won't."), STOP])["candidates"]
    assert candidate["content"]["parts"] == [{"text": "I won't."}]
    assert candidate["finishReason"] == "SAFETY"
    explained = Finish(FinishReason.FILTERED, explanation="Because.")
    (candidate,) = whole([explained])["candidates"]
    assert candidate["finishMessage"] == "Because."


def test_citations_are_grounding() -> None:
    (candidate,) = whole(
        [
            TextDelta("Größe: 5 m."),
            Citation("https://a", "A", start=7, end=11),
            Citation("https://a", "A", start=0, end=5),
            Citation(title="Doc", cited_text="five"),
            Citation("https://own", native=Native("gemini")),
            STOP,
        ]
    )["candidates"]
    grounding = candidate["groundingMetadata"]
    assert grounding["groundingChunks"] == [
        {"web": {"uri": "https://a", "title": "A"}},
        {"retrievedContext": {"title": "Doc", "text": "five"}},
    ]
    assert grounding["groundingSupports"] == [
        {
            "segment": {"startIndex": 9, "endIndex": 13, "text": "5 m."},
            "groundingChunkIndices": [0],
        },
        {
            "segment": {"startIndex": 0, "endIndex": 7, "text": "Größe"},
            "groundingChunkIndices": [0],
        },
    ]


def test_logprobs() -> None:
    token = TokenLogprob("a", -0.5, top=(TokenLogprob("b", -1.0),))
    (candidate,) = whole([TextDelta("a"), LogprobsDelta((token,)), STOP])["candidates"]
    assert candidate["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.0}]}],
    }


def test_natives_of_others_are_left_out() -> None:
    other = NativeEvent(Native("anthropic", {"part": {"x": 1}}), "web_search", generated="q")
    assert parts([other, TextDelta("a", native=Native("openai_chat", {"part": {}}))]) == [
        {"text": "a"}
    ]


def test_choices() -> None:
    events: list[Event] = [
        TextDelta("a", 1),
        TextDelta("b"),
        Finish(FinishReason.LENGTH, 1),
        STOP,
    ]
    assert [(c["index"], c["finishReason"]) for c in whole(events)["candidates"]] == [
        (0, "STOP"),
        (1, "MAX_TOKENS"),
    ]


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("count", range(7))
def test_a_cut_anywhere(array: bool, count: int) -> None:
    events: list[Event] = [
        Begin("i", "m"),
        TextDelta("a"),
        *called(0, "f", "{}"),
        *called(1, "g", '{"a":'),
    ]
    two = HELLO | {"generationConfig": {"candidateCount": 2}}
    encoder = CODEC.open_encoder(request(two, stream=True, array=array), IDENTITY)
    body = b"".join(map(encoder.encode, events[:count])) + encoder.cut(USAGE)
    if array:
        chunks = orjson.loads(body)
    else:
        assert sdk.chunks(body)[1] is None
        chunks = [orjson.loads(line[6:]) for line in body.split(b"\r\n\r\n")[:-1]]
    last = chunks[-1]
    assert [(c["index"], c["finishReason"]) for c in last["candidates"]] == [
        (0, "MAX_TOKENS"),
        (1, "MAX_TOKENS"),
    ]
    assert last["usageMetadata"]["totalTokenCount"] == 17
    names = [
        part["functionCall"]["name"]
        for chunk in chunks
        for candidate in chunk["candidates"]
        for part in candidate["content"]["parts"]
        if "functionCall" in part
    ]
    assert names == (["f"] if count >= 4 else [])


def test_what_had_ended_is_not_cut() -> None:
    encoder = CODEC.open_encoder(request(stream=True, array=True), IDENTITY)
    events: list[Event] = [TextDelta("a"), STOP, TextDelta("b", 1)]
    body = b"".join(map(encoder.encode, events)) + encoder.cut(USAGE)
    ends = {
        candidate["index"]: candidate["finishReason"]
        for chunk in orjson.loads(body)
        for candidate in chunk["candidates"]
        if "finishReason" in candidate
    }
    assert ends == {0: "STOP", 1: "MAX_TOKENS"}


def test_a_failure_is_what_the_sdk_raises() -> None:
    encoder = CODEC.open_encoder(request(stream=True), IDENTITY)
    body = encoder.encode(TextDelta("a")) + CODEC.encode_stream_error(UpstreamError("It broke."))
    chunks, error = sdk.chunks(body)
    assert [chunk.text for chunk in chunks] == ["a"]
    assert error is not None
    assert (error.code, error.status, error.message) == (502, "UNAVAILABLE", "It broke.")
    encoder = CODEC.open_encoder(request(stream=True, array=True), IDENTITY)
    ending = CODEC.encode_stream_error(UpstreamError("It broke."), array=True)
    last = orjson.loads(encoder.encode(TextDelta("a")) + ending)[-1]
    assert (last["error"]["code"], last["error"]["status"]) == (502, "UNAVAILABLE")
