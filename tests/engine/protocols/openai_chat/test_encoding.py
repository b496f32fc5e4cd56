"""Canonical events for a client of this protocol, streamed and whole."""

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
    TokenLogprob,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.openai_chat import CODEC

IDENTITY = Identity("req_1", "its-model", 7)
STOP = Finish(FinishReason.STOP)
CALLED = Finish(FinishReason.TOOL_CALLS)


def asked(*, include_usage: bool = False, choices: int = 1, **document: Any) -> ClientRequest:
    return ClientRequest("openai_chat", "m", True, include_usage, None, choices, document=document)


def chunks(out: bytes) -> list[dict[str, Any]]:
    assert out.endswith(b"data: [DONE]\n\n")
    return [orjson.loads(frame[6:]) for frame in out.split(b"\n\n")[:-2]]


def streamed(*events: Event, request: ClientRequest | None = None) -> list[dict[str, Any]]:
    encoder = CODEC.open_encoder(request or asked(), IDENTITY)
    return chunks(b"".join(map(encoder.encode, events)) + encoder.finish())


def deltas(*events: Event, request: ClientRequest | None = None) -> list[dict[str, Any]]:
    """Of the only choice, without the role and the end."""
    found = streamed(*events, STOP, request=request)
    return [chunk["choices"][0]["delta"] for chunk in found[1:-1]]


def whole(*events: Event, request: ClientRequest | None = None) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(
        CODEC.encode_response(events, request or asked(), IDENTITY)
    )
    return document


def message(*events: Event, request: ClientRequest | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = whole(*events, request=request)["choices"][0]["message"]
    return fields


def test_a_stream_of_text() -> None:
    got = streamed(Begin("msg_1", "claude", 5), TextDelta(""), TextDelta("hé"), BlockEnd(), STOP)
    head = {"id": "msg_1", "object": "chat.completion.chunk", "created": 5, "model": "claude"}
    choice = {"index": 0, "logprobs": None, "finish_reason": None}
    role = {"role": "assistant", "content": "", "refusal": None}
    assert got == [
        head | {"choices": [choice | {"delta": role}]},
        head | {"choices": [choice | {"delta": {"content": "hé"}}]},
        head | {"choices": [choice | {"delta": {}, "finish_reason": "stop"}]},
    ]


def test_names_that_the_provider_does_not_give_are_ours() -> None:
    for chunk in streamed(Begin(None, None), TextDelta("a"), STOP):
        assert (chunk["id"], chunk["model"], chunk["created"]) == ("req_1", "its-model", 7)


def test_usage_comes_last_and_only_where_it_was_asked_for() -> None:
    usage = UsageReport(Usage(5, 2, 1, 7, 3))
    events = (Begin("a", "m"), TextDelta("x"), STOP, usage)
    assert not any("usage" in chunk for chunk in streamed(*events))
    *others, last = streamed(*events, request=asked(include_usage=True))
    assert [chunk["usage"] for chunk in others] == [None] * 3
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


def test_calls_by_index_with_their_signatures() -> None:
    events = (
        ToolCallBegin(0, "call_1", "f", signature=Signature("gemini", "c2ln")),
        ToolCallDelta(0, '{"a"'),
        ToolCallBegin(1, "call_2", "g", signature=Signature("anthropic", "x")),
        ToolCallDelta(0, ":1}"),
    )
    got = streamed(*events, CALLED)
    assert got[0]["choices"][0]["delta"]["content"] is None
    fragments = [c["choices"][0]["delta"]["tool_calls"][0] for c in got[1:-1]]
    assert fragments == [
        {
            "index": 0,
            "id": "call_1__g1__c2ln",
            "type": "function",
            "function": {"name": "f", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"a"'}},
        {
            "index": 1,
            "id": "call_2",
            "type": "function",
            "function": {"name": "g", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": ":1}"}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    calls = message(*events, CALLED)["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', "{}"]
    assert [call["id"] for call in calls] == ["call_1__g1__c2ln", "call_2"]


def test_functions_get_a_function_call() -> None:
    request = asked(functions=[{"name": "f"}])
    events = (ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "{}"), CALLED)
    got = streamed(*events, request=request)
    assert [chunk["choices"][0]["delta"] for chunk in got[1:]] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {},
    ]
    assert got[-1]["choices"][0]["finish_reason"] == "function_call"
    assert message(*events, request=request)["function_call"] == {"name": "f", "arguments": "{}"}


def test_reasoning_and_refusal() -> None:
    signed = ReasoningDelta("hm", signature=Signature("anthropic", "s"))
    redacted = RedactedReasoning(Signature("anthropic", "r"))
    assert deltas(signed, redacted, RefusalDelta("no")) == [
        {"reasoning_content": "hm"}, {"refusal": "no"},
    ]  # fmt: skip
    assert message(signed, redacted, RefusalDelta("no"), STOP) == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
        "reasoning_content": "hm",
    }


def test_annotations_are_one_list_at_the_end() -> None:
    cited = Citation("https://x", "t", start=1, end=2)
    unplaced = Citation("https://y")
    of_a_document = Citation(cited_text="words")
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": start,
                "end_index": end,
                "title": title,
                "url": url,
            },
        }
        for url, title, start, end in (("https://x", "t", 1, 2), ("https://y", "", 0, 0))
    ]
    events = (TextDelta("a"), cited, unplaced, of_a_document, TextDelta("b"))
    assert deltas(*events)[-1] == {"annotations": annotations}
    assert message(*events, STOP)["annotations"] == annotations


def test_media_and_logprobs() -> None:
    spoken = (MediaDelta("audio", data="AA", transcript="h"), MediaDelta("audio", transcript="i"))
    assert deltas(*spoken) == [
        {"audio": {"id": "audio_req_1", "expires_at": 3607, "data": "AA", "transcript": "h"}},
        {"audio": {"transcript": "i"}},
    ]
    assert message(*spoken, STOP)["audio"] == {
        "id": "audio_req_1", "expires_at": 3607, "data": "AA", "transcript": "hi",
    }  # fmt: skip
    image = MediaDelta("image", "image/png", "AA")
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}, "index": 0}
    assert deltas(image) == [{"images": [shown]}]
    assert message(image, STOP)["images"] == [shown]
    logprobs = LogprobsDelta((TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -1.0),)),))
    chunk = streamed(TextDelta("a"), logprobs, STOP)[2]["choices"][0]
    token = {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": None}],
    }
    assert chunk["logprobs"] == {"content": [token], "refusal": None}
    got = whole(TextDelta("a"), logprobs, STOP)["choices"][0]["logprobs"]
    assert got == {"content": [token], "refusal": None}


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (FinishReason.STOP_SEQUENCE, "stop"),
        (FinishReason.CONTEXT_LENGTH, "length"),
        (FinishReason.TOOL_CALLS, "tool_calls"),
        (FinishReason.FILTERED, "content_filter"),
        (FinishReason.PROMPT_BLOCKED, "content_filter"),
        (FinishReason.PAUSED, "stop"),
        (FinishReason.OTHER, "stop"),
    ],
)
def test_finish_reasons(reason: FinishReason, said: str) -> None:
    assert streamed(Finish(reason))[-1]["choices"][0]["finish_reason"] == said
    assert whole(Finish(reason))["choices"][0]["finish_reason"] == said


def test_an_empty_answer_has_a_role() -> None:
    got = streamed(Begin("a", "m"), STOP)
    assert got[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}


def test_several_choices() -> None:
    got = streamed(
        TextDelta("a", 1), TextDelta("b", 0), Finish(FinishReason.STOP, 1), TextDelta("c", 0),
        Finish(FinishReason.LENGTH, 0),
    )  # fmt: skip
    told = [(c["choices"][0]["index"], c["choices"][0]["delta"].get("content")) for c in got]
    assert told == [(1, ""), (1, "a"), (0, ""), (0, "b"), (0, "c"), (0, None), (1, None)]
    assert [c["choices"][0]["finish_reason"] for c in got[-2:]] == ["length", "stop"]


def test_what_only_another_protocol_knows_is_left_out() -> None:
    foreign = Native("gemini", {"delta": {"x": 1}, "chunk": {"y": 1}, "finish_reason": "SAFETY"})
    got = streamed(
        Begin("a", "m", native=foreign),
        NativeEvent(foreign, "grounding"),
        Finish(FinishReason.FILTERED, native=foreign),
        UsageReport(Usage(1), foreign),
        request=asked(include_usage=True),
    )
    assert [sorted(chunk) for chunk in got] == [
        ["choices", "created", "id", "model", "object", "usage"]
    ] * 3
    assert got[1]["choices"][0]["finish_reason"] == "content_filter"
    assert got[2]["usage"]["prompt_tokens"] == 1


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_cut_ends_every_choice(include_usage: bool) -> None:
    encoder = CODEC.open_encoder(asked(include_usage=include_usage, choices=3), IDENTITY)
    out = encoder.encode(Begin("a", "m"))
    out += encoder.encode(TextDelta("x", 0))
    out += encoder.encode(TextDelta("y", 1))
    out += encoder.encode(Finish(FinishReason.STOP, 1))
    got = chunks(out + encoder.cut(Usage(1, output_tokens=2)))

    ends = [c for chunk in got for c in chunk["choices"] if c["finish_reason"]]
    assert [(end["index"], end["finish_reason"]) for end in ends] == [
        (0, "length"), (1, "stop"), (2, "length"),
    ]  # fmt: skip
    opened = [c["index"] for chunk in got for c in chunk["choices"] if "role" in c["delta"]]
    assert opened == [0, 1, 2]
    assert {chunk["id"] for chunk in got} == {"a"}
    assert ("usage" in got[-1]) == include_usage
    if include_usage:
        assert got[-1]["usage"]["total_tokens"] == 3
