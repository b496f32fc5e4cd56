"""Streams for clients: every rule of the grammar, whatever was said and wherever it ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.conversation import Signature
from engine.errors import UpstreamError, UpstreamRejectedError
from engine.events import (
    Begin,
    BlockEnd,
    Call,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
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
from engine.protocols.codec import ClientRequest
from engine.protocols.openai_responses import CODEC
from engine.protocols.registry import codec_of
from engine.wire.sse import EventTooLargeError
from tests import recordings
from tests.answers.objects import parsed
from tests.answers.recorded import PROTOCOLS, answers, protocol_of
from tests.answers.translating import IDENTITY, decode_stream, encode_stream
from tests.engine.protocols.openai_responses.sdk import accumulated, check_grammar, raised
from tests.events import answers as drawn_answers

BEGIN = Begin("gen_1", "some-model", 1_700_000_000)
STOP = Finish(FinishReason.STOP)
LOGPROBS = {"include": ["message.output_text.logprobs"]}
USAGE = Usage(input_tokens=7, output_tokens=5, reasoning_tokens=2)


def request_of(**fields: Any) -> ClientRequest:
    body = orjson.dumps({"model": "m", "input": "hello", "stream": True} | fields)
    return CODEC.parse_request(Call(body=body, key=None, protocol="openai_responses"))


def encoded(events: list[Event], **fields: Any) -> bytes:
    return encode_stream(CODEC, events, request_of(**fields))


def final(events: list[Event], **fields: Any) -> dict[str, Any]:
    """The last object of a stream that keeps the grammar, which a whole answer is equal to."""
    body = encoded(events, **fields)
    response: dict[str, Any] = check_grammar(body)["response"]
    whole = orjson.loads(CODEC.encode_response(events, request_of(**fields), IDENTITY))
    assert response == whole
    return response


def test_text() -> None:
    response = final([BEGIN, TextDelta("Hel"), TextDelta("lo"), STOP, UsageReport(USAGE)])
    [message] = response["output"]
    assert message == {
        "id": message["id"],
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
    }
    assert message["id"].startswith("msg_")
    assert response["usage"]["output_tokens"] == 5
    assert response["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
    assert (response["id"], response["created_at"]) == ("gen_1", 1_700_000_000)


def test_ids_are_the_same_for_the_same_answer() -> None:
    events: list[Event] = [BEGIN, TextDelta("a"), ToolCallBegin(0, "call_1", "f"), STOP]
    ids = [[item["id"] for item in final(events)["output"]] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_what_was_asked_is_repeated() -> None:
    asked = {
        "instructions": "Be brief.",
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "max_output_tokens": 99,
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
        "tool_choice": "required",
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "parallel_tool_calls": False,
    }
    response = final([BEGIN, TextDelta("a"), STOP], **asked, store=True)
    assert {name: response[name] for name in asked} == asked | {
        "reasoning": {"effort": "low", "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
    }
    assert response["store"] is False, "nothing is stored"


def test_thinking_then_text() -> None:
    signed = ReasoningDelta("", signature=Signature("anthropic", "AbC="))
    response = final(
        [BEGIN, ReasoningDelta("Hm"), ReasoningDelta("m"), signed, TextDelta("a"), STOP]
    )
    reasoning, message = response["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Hmm"}]
    assert reasoning["encrypted_content"] == "parshall:anthropic:AbC="
    assert message["content"][0]["text"] == "a"


def test_thinking_without_a_secret_is_marked_too() -> None:
    """Its id is known to nobody: no provider may be asked to look it up."""
    [item] = final([BEGIN, ReasoningDelta("Hm"), STOP])["output"]
    assert item["encrypted_content"] == "parshall:none:"


def test_thinking_that_only_its_issuer_reads() -> None:
    redacted = RedactedReasoning(Signature("anthropic", "EoY"))
    first, second = final([BEGIN, redacted, ReasoningDelta("Hm"), STOP])["output"]
    assert (first["summary"], first["encrypted_content"]) == ([], "parshall:redacted:anthropic:EoY")
    assert second["summary"][0]["text"] == "Hm"


def test_signed_blocks_are_items_of_their_own() -> None:
    blocks: list[Event] = []
    for number in range(2):
        blocks += [ReasoningDelta(f"t{number}", signature=Signature("anthropic", f"s{number}"))]
    first, second = final([BEGIN, *blocks, STOP])["output"]
    assert first["encrypted_content"].endswith(":s0")
    assert second["encrypted_content"].endswith(":s1")


def test_calls_whose_arguments_come_in_turns() -> None:
    events: list[Event] = [
        BEGIN,
        TextDelta("Let me see."),
        ToolCallBegin(0, "call_1", "f", signature=Signature("gemini", "+/8=")),
        ToolCallBegin(1, "call_2", "g"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(1, '{"b":2'),
        ToolCallDelta(0, "1}"),
        ToolCallDelta(1, "}"),
        ToolCallBegin(2, "call_3", "h"),
        Finish(FinishReason.TOOL_CALLS),
    ]
    _, *calls = final(events)["output"]
    assert [call["arguments"] for call in calls] == ['{"a":1}', '{"b":2}', "{}"]
    assert [call["call_id"] for call in calls] == ["call_1__g1__-_8", "call_2", "call_3"]
    assert {call["status"] for call in calls} == {"completed"}


def test_a_call_ends_where_its_provider_says() -> None:
    """A client may act on a call before the answer is over."""
    events: list[Event] = [BEGIN, ToolCallBegin(0, "c", "f"), ToolCallDelta(0, "{}"), BlockEnd()]
    encoder = CODEC.open_encoder(request_of(), IDENTITY)
    out = b"".join(encoder.encode(event) for event in events)
    assert b"event: response.output_item.done\n" in out


def test_texts_between_ends_of_blocks_are_one_part() -> None:
    events: list[Event] = [BEGIN, TextDelta("a"), BlockEnd(), TextDelta(""), TextDelta("b"), STOP]
    [message] = final(events)["output"]
    assert [part["text"] for part in message["content"]] == ["ab"]


def test_a_refusal_after_text() -> None:
    [message] = final([BEGIN, TextDelta("a"), RefusalDelta("No."), STOP])["output"]
    assert message["content"][1] == {"type": "refusal", "refusal": "No."}


def test_sources_point_at_their_part() -> None:
    """Their positions are in the answer; here a call stands between its two texts."""
    events: list[Event] = [
        BEGIN,
        TextDelta("12345"),
        Citation("https://a.example", "A", start=1, end=3),
        ToolCallBegin(0, "c", "f"),
        TextDelta("678"),
        Citation("https://b.example", None, start=5, end=8),
        Citation(None, "a document of the prompt"),
        STOP,
    ]
    first, _, second = final(events)["output"]
    assert first["content"][0]["annotations"] == [
        {
            "type": "url_citation",
            "url": "https://a.example",
            "title": "A",
            "start_index": 1,
            "end_index": 3,
        }
    ]
    [cited] = second["content"][0]["annotations"]
    assert (cited["start_index"], cited["end_index"], cited["title"]) == (0, 3, "")


@pytest.mark.parametrize("asked", [True, False])
def test_logprobs_come_with_their_text(asked: bool) -> None:
    token = TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -1.0),))
    fields = LOGPROBS if asked else {}
    events: list[Event] = [BEGIN, TextDelta("a"), LogprobsDelta((token,)), TextDelta("b"), STOP]
    [message] = final(events, **fields)["output"]
    [said] = message["content"][0]["logprobs"]
    assert (said["token"], said["logprob"], said["bytes"]) == ("a", -0.5, [97])
    assert said["top_logprobs"] == [{"token": "b", "logprob": -1.0, "bytes": None}]
    assert (b'"delta":"a","logprobs":[{' in encoded(events, **fields)) == asked


def test_text_that_waits_is_never_lost() -> None:
    encoder = CODEC.open_encoder(request_of(**LOGPROBS), IDENTITY)
    out = encoder.encode(BEGIN) + encoder.encode(TextDelta("word"))
    assert encoder.holding
    assert b"word" not in out
    assert b"word" in encoder.cut(USAGE)


def test_an_image() -> None:
    [image] = final([BEGIN, MediaDelta("image", "image/webp", "QUJD"), STOP])["output"]
    assert (image["type"], image["result"], image["output_format"]) == (
        "image_generation_call",
        "QUJD",
        "webp",
    )


ENDS = {
    FinishReason.STOP: ("completed", None),
    FinishReason.STOP_SEQUENCE: ("completed", None),
    FinishReason.LENGTH: ("incomplete", {"reason": "max_output_tokens"}),
    FinishReason.CONTEXT_LENGTH: ("incomplete", {"reason": "max_output_tokens"}),
    FinishReason.FILTERED: ("incomplete", {"reason": "content_filter"}),
    FinishReason.PROMPT_BLOCKED: ("incomplete", {"reason": "content_filter"}),
    FinishReason.PAUSED: ("completed", None),
}


@pytest.mark.parametrize("reason", ENDS)
def test_ends(reason: FinishReason) -> None:
    response = final([BEGIN, TextDelta("a"), Finish(reason)])
    assert (response["status"], response["incomplete_details"]) == ENDS[reason]
    assert response["output"][0]["status"] == response["status"]


def test_an_answer_without_its_end_is_not_called_complete() -> None:
    response = final([BEGIN, TextDelta("a")])
    assert (response["status"], response["incomplete_details"]) == ("incomplete", None)


def test_nothing_at_all() -> None:
    assert final([])["output"] == []


def test_only_the_first_choice_is_told() -> None:
    [message] = final([BEGIN, TextDelta("a"), TextDelta("x", choice=1), STOP])["output"]
    assert message["content"][0]["text"] == "a"


def test_a_failure_goes_on_from_what_was_said() -> None:
    encoder = CODEC.open_encoder(request_of(), IDENTITY)
    out = encoder.encode(BEGIN) + encoder.encode(TextDelta("a"))
    error = UpstreamRejectedError("Slow down.", status=429, code="rate_limit_exceeded")
    body = out + encoder.fail(error)  # type: ignore[attr-defined]
    assert raised(body).message == "Slow down."
    failed, last = (orjson.loads(f.partition(b"data: ")[2]) for f in body.split(b"\n\n")[-3:-1])
    assert failed["type"] == "error"
    assert failed["error"]["code"] == "rate_limit_exceeded"
    assert last["sequence_number"] == failed["sequence_number"] + 1
    assert last["response"]["id"] == "gen_1"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}


def test_a_failure_before_all() -> None:
    body = CODEC.encode_stream_error(UpstreamError("Broken."))
    assert raised(body).message == "Broken."
    assert body.startswith(b"event: error\n")


def test_an_answer_is_not_kept_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.protocols.openai_responses.output._KEPT_MAX_CHARS", 10)
    encoder = CODEC.open_encoder(request_of(), IDENTITY)
    encoder.encode(TextDelta("0123456789"))
    with pytest.raises(EventTooLargeError):
        encoder.encode(TextDelta("x"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_can_be_said_is_said_by_the_rules(protocol: str, data: st.DataObject) -> None:
    events = data.draw(drawn_answers(protocol))
    fields = data.draw(st.sampled_from([{}, LOGPROBS]))
    response = final(events, **fields)
    accumulated(encoded(events, **fields)) if response["status"] == "completed" else None
    count = data.draw(st.integers(0, len(events)), label="cut after")
    encoder = CODEC.open_encoder(request_of(**fields), IDENTITY)
    begun = b"".join(encoder.encode(event) for event in events[:count])
    cut = check_grammar(begun + encoder.cut(USAGE))["response"]
    assert (cut["status"], cut["usage"]["output_tokens"]) == ("incomplete", 5)


@pytest.mark.parametrize("name", answers("openai_chat", "anthropic", "gemini", stream=True))
def test_recordings_of_others_keep_the_rules(name: str) -> None:
    """The helper takes them, and the stream ends with what a whole answer would be."""
    decoded = decode_stream(codec_of(protocol_of(name)), [recordings.load(name).body])
    if decoded.error is not None:
        pytest.skip("it fails")
    events = list(decoded.events)
    response = final(events)
    assert accumulated(encoded(events)).id == response["id"]


@pytest.mark.parametrize("name", answers("openai_responses"))
def test_recordings_of_its_own_are_the_same_object(name: str) -> None:
    recording = recordings.load(name)
    if recording.stream:
        decoded = decode_stream(CODEC, [recording.body])
        if decoded.error is not None:
            pytest.skip("it fails")
        body = encode_stream(CODEC, decoded.events, request_of())
    else:
        events = CODEC.decode_response(recording.body)
        body = CODEC.encode_response(events, request_of(stream=False), IDENTITY)
    assert parsed("openai_responses", body, stream=recording.stream) == parsed(
        "openai_responses", recording.body, stream=recording.stream
    )
