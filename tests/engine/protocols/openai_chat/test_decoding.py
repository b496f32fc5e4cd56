"""What the many servers of this protocol do differently, as events."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Native, Signature
from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.openai_chat import CODEC
from engine.protocols.openai_usage import read_usage
from engine.usage import MoreUnit


def decoded(*documents: dict[str, Any]) -> list[Event]:
    """Events of a stream, without the beginning and what only this protocol knows."""
    decoder = CODEC.open_decoder(end_marker=True)
    events: list[Event] = []
    for document in documents:
        events.extend(decoder.decode(b"data: " + orjson.dumps({"id": "c"} | document) + b"\n\n"))
    return [event for event in events if not isinstance(event, (Begin, NativeEvent))]


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(index: int | None = None, call_id: str | None = None, **function: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"function": function}
    if index is not None:
        fields["index"] = index
    if call_id is not None:
        fields["id"] = call_id
    return fields


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    return delta(tool_calls=list(fragments))


def test_reasoning_under_either_name_or_both() -> None:
    once = ReasoningDelta("hm")
    assert decoded(delta(reasoning_content="hm")) == [once]
    named = Native("openai_chat", {"field": "reasoning"})
    assert decoded(delta(reasoning="hm")) == [ReasoningDelta("hm", native=named)]
    assert decoded(delta(reasoning_content="hm", reasoning="hm")) == [once]


def test_content_that_is_a_list() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "hello"},
        {"type": "refusal", "refusal": "no"},
        "noise",
    ]
    assert decoded(delta(content=content)) == [
        ReasoningDelta("hm"), TextDelta("hello"), RefusalDelta("no"),
    ]  # fmt: skip


def test_calls_in_fragments_by_index() -> None:
    assert decoded(
        calls(call(0, "a", name="f", arguments="")),
        calls(call(0, arguments='{"x"'), call(1, "b", name="g", arguments="{}")),
        calls(call(0, arguments=":1}")),
    ) == [
        ToolCallBegin(0, "a", "f"),
        ToolCallDelta(0, '{"x"'),
        ToolCallBegin(1, "b", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ":1}"),
    ]


@pytest.mark.parametrize("index", [None, 0])
def test_whole_calls_without_an_index_or_all_of_index_0(index: int | None) -> None:
    first = call(index, "a", name="f", arguments="{}")
    second = call(index, "b", name="f", arguments="[]")
    both = [
        ToolCallBegin(0, "a", "f"),
        ToolCallDelta(0, "{}"),
        ToolCallBegin(1, "b", "f"),
        ToolCallDelta(1, "[]"),
    ]
    assert decoded(calls(first), calls(second)) == both
    assert decoded(calls(first, second)) == both


def test_fragments_without_an_index_continue_the_last_call() -> None:
    begun = calls(call(None, "a", name="f", arguments="{"))
    assert decoded(begun, calls(call(None, arguments="}"))) == [
        ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "{"), ToolCallDelta(0, "}"),
    ]  # fmt: skip


def test_a_call_begins_when_its_name_is_known() -> None:
    assert decoded(calls(call(0, "a", arguments="{")), calls(call(0, name="f", arguments="}"))) == [
        ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "{}"),
    ]  # fmt: skip
    nameless = decoded(calls(call(0, "a", arguments="{}")), delta("tool_calls"))
    assert nameless[:2] == [ToolCallBegin(0, "a", ""), ToolCallDelta(0, "{}")]


def test_a_call_without_an_id_gets_one_and_always_the_same() -> None:
    first, second = decoded(calls(call(0, name="f"))), decoded(calls(call(0, name="f")))
    assert first == second
    [begin] = first
    assert isinstance(begin, ToolCallBegin)
    assert begin.id.startswith("call_ps")


def test_arguments_that_are_an_object() -> None:
    fragment = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
    assert decoded(calls(fragment))[1] == ToolCallDelta(0, '{"x":1}')


def test_custom_and_legacy_calls() -> None:
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "free"}}
    kept = Native("openai_chat", {"type": "custom"})
    assert decoded(calls(custom)) == [
        ToolCallBegin(0, "a", "f", native=kept), ToolCallDelta(0, "free"),
    ]  # fmt: skip
    legacy = decoded(
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": "{}"}),
        delta("function_call"),
    )
    assert [type(event) for event in legacy] == [ToolCallBegin, ToolCallDelta, Finish]
    assert legacy[-1] == Finish(
        FinishReason.TOOL_CALLS, native=Native("openai_chat", {"finish_reason": "function_call"})
    )


def test_geminis_signature_behind_this_protocol() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    [begin] = decoded(calls(call(0, "a", name="f") | extra))
    assert isinstance(begin, ToolCallBegin)
    assert begin.signature == Signature("gemini", "c2ln")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.FILTERED),
        ("eos", FinishReason.STOP),
        ("model_length", FinishReason.CONTEXT_LENGTH),
        ("insufficient_system_resource", FinishReason.OTHER),
    ],
)
def test_finish_reasons(said: str, reason: FinishReason) -> None:
    [finish] = decoded(delta(said), delta(said))
    assert isinstance(finish, Finish)
    assert finish.reason == reason


def test_a_stop_after_a_call_is_a_call() -> None:
    finish = decoded(calls(call(0, "a", name="f")), delta("stop"))[-1]
    spelled = Native("openai_chat", {"finish_reason": "stop"})
    assert finish == Finish(FinishReason.TOOL_CALLS, native=spelled)


def test_names_come_from_the_first_chunk_that_has_them() -> None:
    decoder = CODEC.open_decoder(end_marker=True)
    azure = {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [1]}
    assert decoder.decode(b"data: " + orjson.dumps(azure) + b"\n\n") == []
    named = {"id": "c", "model": "m", "created": 9} | delta(content="x")
    begin, *_ = decoder.decode(b"data: " + orjson.dumps(named) + b"\n\n")
    native = Native("openai_chat", {"prompt_filter_results": [1]})
    assert begin == Begin("c", "m", 9, native=native)


def test_usage_on_any_chunk() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    native = Native("openai_chat", usage)
    report = UsageReport(Usage(3, output_tokens=4), native)
    assert decoded(delta(content="a") | {"usage": usage}) == [TextDelta("a"), report]
    assert decoded({"choices": [], "usage": usage}) == [report]
    assert decoded(delta("stop") | {"x_groq": {"usage": usage}})[-1] == report


def test_annotations_logprobs_audio_images() -> None:
    place = {"start_index": 1, "end_index": 2, "title": "t", "url": "https://x"}
    annotation = {"type": "url_citation", "url_citation": place}
    assert decoded(delta(annotations=[annotation])) == [
        Citation("https://x", "t", None, 1, 2, native=Native("openai_chat", annotation))
    ]
    token = {"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": [{"token": "b"}, {}]}
    chunk = delta(content="a")
    chunk["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
    assert decoded(chunk)[1] == LogprobsDelta((TokenLogprob("a", -1.0, (97,)),))
    audio = decoded(delta(audio={"id": "audio_1", "data": "AA", "transcript": "hi"}))
    named = Native("openai_chat", {"id": "audio_1"})
    assert audio == [MediaDelta("audio", data="AA", transcript="hi", native=named)]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert decoded(delta(images=[image])) == [MediaDelta("image", "image/png", "AA")]


def test_half_of_a_surrogate_pair_is_read_as_unknown() -> None:
    decoder = CODEC.open_decoder(end_marker=True)
    data = rb'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}'
    assert TextDelta("a\ufffd") in decoder.decode(data + b"\n\n")


def test_choices_interleave() -> None:
    def piece(index: int, text: str) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": text}}]}

    assert decoded(piece(1, "a"), piece(0, "b"), piece(1, "c")) == [
        TextDelta("a", 1), TextDelta("b", 0), TextDelta("c", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [-1, 2**60, 1.5, "7", None, True, float("nan")])
def test_an_absurd_figure_is_as_unsaid(count: object) -> None:
    document = {"usage": {"prompt_tokens": 5, "completion_tokens": count}}
    usage = read_usage(document)
    assert usage == Usage(input_tokens=5)
    assert usage.unsaid == {"output_tokens"}
    assert usage.invalid is (count is not None)
    assert read_usage({"usage": {"prompt_tokens": None}}) is None


def test_usage_of_other_units() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 90},
        "completion_tokens_details": {"audio_tokens": 20},
        "num_search_queries": 3,
    }
    # No more of the input can be sound than is not cached.
    more: dict[MoreUnit, int] = {
        "input_audio_tokens": 40,
        "output_audio_tokens": 20,
        "web_searches": 3,
    }
    assert read_usage({"usage": usage}) == Usage(100, 60, 0, 50, more=more)


def test_usage_details() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert read_usage({"usage": usage}) == Usage(100, 60, 30, 50, 20)


@pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"])
def test_cached_tokens_under_other_names(name: str) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, name: 4}
    assert read_usage({"usage": usage}) == Usage(9, 4, 0, 1)


def test_reasoning_beside_the_output_is_counted_with_it() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    assert read_usage({"usage": usage}) == Usage(10, 0, 0, 105, 100)
