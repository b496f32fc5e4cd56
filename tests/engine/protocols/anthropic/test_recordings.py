"""Recorded traffic: what is read of it, and that it comes back as it was."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN
from engine.errors import InvalidRequestError, UpstreamError, UpstreamRejectedError
from engine.events import (
    Call,
    Event,
    Finish,
    FinishReason,
    Operation,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.anthropic import CODEC
from engine.protocols.codec import HeldIdError, InexpressibleError, UpstreamTarget
from engine.usage import MoreUnit
from tests.engine.protocols.anthropic import sdk
from tests.recordings import RECORDINGS, load, names

FOLDER = "anthropic-messages"
BROKEN = f"{FOLDER}/synthetic--overloaded-mid-stream-after-text.json"
STREAMS = [name for name in names(FOLDER, stream=True, status=200) if name != BROKEN]
UNARY = names(FOLDER, stream=False, status=200)
ERRORS = [
    name
    for name in names(FOLDER, stream=False) + names("anthropic-count_tokens")
    if not isinstance(name, str) or load(name).status >= 400
]
REQUESTS = [
    name
    for name in names(FOLDER) + names("anthropic-count_tokens")
    if not isinstance(name, str) or load(name).request is not None
]

REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.FILTERED,
    "pause_turn": FinishReason.PAUSED,
}


def check_events(events: list[Event], message: dict[str, Any]) -> None:
    """The events say what the SDK's message says."""
    content = message["content"]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == "".join(b["text"] for b in content if b["type"] == "text")
    thinking = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert thinking == "".join(b["thinking"] for b in content if b["type"] == "thinking")
    calls = [event for event in events if isinstance(event, ToolCallBegin)]
    said = [
        (
            call.id,
            call.name,
            orjson.loads(
                "".join(
                    event.arguments
                    for event in events
                    if isinstance(event, ToolCallDelta) and event.index == call.index
                )
            ),
        )
        for call in calls
    ]
    assert said == [(b["id"], b["name"], b["input"]) for b in content if b["type"] == "tool_use"]
    finish = next(event for event in events if isinstance(event, Finish))
    assert finish.reason is REASONS[message["stop_reason"]]
    assert finish.stop_sequence == message.get("stop_sequence")
    check_usage(events, message["usage"])


def check_usage(events: list[Event], said: dict[str, Any]) -> None:
    report = [event for event in events if isinstance(event, UsageReport)][-1].usage
    levels = [said] + [
        iteration
        for iteration in said.get("iterations") or []
        if iteration["type"] in ("compaction", "advisor_message")
    ]
    cached = sum(level.get("cache_read_input_tokens") or 0 for level in levels)
    written = sum(level.get("cache_creation_input_tokens") or 0 for level in levels)
    details = said.get("output_tokens_details") or {}
    creation = [level.get("cache_creation") or {} for level in levels]
    more: dict[MoreUnit, int] = {
        "cache_write_1h_tokens": sum(each.get("ephemeral_1h_input_tokens", 0) for each in creation),
        "web_searches": (said.get("server_tool_use") or {}).get("web_search_requests", 0),
    }
    assert report == Usage(
        input_tokens=sum(level["input_tokens"] for level in levels) + cached + written,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=sum(level["output_tokens"] for level in levels),
        reasoning_tokens=details.get("thinking_tokens", 0),
        more={unit: count for unit, count in more.items() if count},
    )


def first_answer(body: bytes) -> bytes:
    """One recording holds three streams, one behind another."""
    end = body.index(b"event: message_stop")
    return body[: body.index(b"\n\n", end) + 2]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_as_the_sdk_reads_it(name: str) -> None:
    body = first_answer(load(name).body)
    check_events(sdk.decode_stream(body), sdk.accumulate(body))


@pytest.mark.parametrize("name", UNARY)
def test_a_message_is_read_as_the_sdk_reads_it(name: str) -> None:
    body = load(name).body
    check_events(list(CODEC.decode_response(body)), sdk.message(body))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_comes_back_equal_to_the_sdk(name: str) -> None:
    body = first_answer(load(name).body)
    again = sdk.encode_stream(sdk.decode_stream(body))
    sdk.check_grammar(again)
    assert sdk.accumulate(again) == sdk.accumulate(body)


@pytest.mark.parametrize("name", UNARY)
def test_a_message_comes_back_equal_to_the_sdk(name: str) -> None:
    body = load(name).body
    again = CODEC.encode_response(CODEC.decode_response(body), sdk.REQUEST, sdk.IDENTITY)
    assert sdk.message(again) == sdk.message(body)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_as_a_whole_message_is_what_the_sdk_accumulates(name: str) -> None:
    body = first_answer(load(name).body)
    whole = CODEC.encode_response(sdk.decode_stream(body), sdk.REQUEST, sdk.IDENTITY)
    expected = sdk.accumulate(body)
    if any(block["type"] == "fallback" for block in expected["content"]):
        expected["model"] = sdk.message(whole)["model"]  # the SDK takes the fallback's
    # What a stream does not say, the accumulator sets to null.
    assert sdk.without_null(sdk.message(whole)) == sdk.without_null(expected)


@pytest.mark.parametrize(
    ("seed", "line_end"), [(0, b"\n"), (1, b"\r\n")], ids=["seed0-lf", "seed1-crlf"]
)
@pytest.mark.parametrize("name", STREAMS)
def test_any_split_gives_the_same_events_and_bytes(name: str, line_end: bytes, seed: int) -> None:
    chance = random.Random(seed)
    body = first_answer(load(name).body).replace(b"\n", line_end)
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=True)
    events: list[Event] = []
    out = []
    rest = body
    while rest:
        size = chance.choice((1, 2, 3, 7, 100, 5_000))
        for frame in decoder.split(rest[:size]):
            events.extend(decoder.decode(frame))
            out.append(decoder.client_frame(frame))
        rest = rest[size:]
    events.extend(decoder.end_of_input())
    out.append(decoder.end_frame())
    assert events == sdk.decode_stream(body), f"seed {seed}"
    assert decoder.done
    assert b"".join(out) == body, f"seed {seed}"


@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_at_every_event_makes_a_valid_stream(name: str) -> None:
    body = first_answer(load(name).body)
    usage = Usage(input_tokens=30, cached_input_tokens=10, output_tokens=5)
    frames = CODEC.open_decoder(end_marker=True).split(body)
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=True)
    out = b""
    for frame in frames:
        cut = out + decoder.cut(usage)
        sdk.check_grammar(cut)
        message = sdk.accumulate(cut)
        if not any(b"event: message_delta" in sent for sent in frames[: frames.index(frame)]):
            assert message["stop_reason"] == "max_tokens"
            assert message["usage"]["input_tokens"] == 20
            assert message["usage"]["cache_read_input_tokens"] == 10
            assert message["usage"]["output_tokens"] == 5
        decoder.decode(frame)
        out += decoder.client_frame(frame)
    assert decoder.cut(usage) == b""


@pytest.mark.parametrize("name", STREAMS)
def test_a_translated_stream_cut_at_every_event_is_valid(name: str) -> None:
    events = sdk.decode_stream(first_answer(load(name).body))
    for count in range(0, len(events), max(1, len(events) // 40)):
        encoder = CODEC.open_encoder(sdk.REQUEST, sdk.IDENTITY)
        out = b"".join(encoder.encode(event) for event in events[:count])
        out += encoder.cut(Usage(input_tokens=3, output_tokens=2))
        sdk.check_grammar(out)
        assert sdk.accumulate(out)["stop_reason"] == "max_tokens", f"after {count} events"


@pytest.mark.skipif(not RECORDINGS.exists(), reason=f"no recordings at {RECORDINGS}")
def test_an_error_inside_a_stream_ends_it() -> None:
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=True)
    for frame in decoder.split(load(BROKEN).body):
        decoder.decode(frame)
    assert isinstance(decoder.error, UpstreamRejectedError)
    assert decoder.error.status == 529
    assert not decoder.done


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_breaks_off_is_an_error(name: str) -> None:
    body = first_answer(load(name).body)
    with pytest.raises(UpstreamError):
        sdk.decode_stream(body[: body.index(b"event: message_stop")])


@pytest.mark.parametrize("name", ERRORS)
def test_a_recorded_error_is_read_and_written_again(name: str) -> None:
    recording = load(name)
    error = CODEC.read_error(recording.status, recording.body)
    said = orjson.loads(recording.body)["error"]
    if recording.status == 401:
        assert (error.status, error.code) == (502, "upstream_credentials_refused")
        assert said["message"] not in error.message
        return
    assert error.status == recording.status
    again = orjson.loads(CODEC.encode_error(error, "req_1"))
    shown = {"type": said["type"], "message": said["message"], "code": error.code}
    assert again["error"] == shown


def kind_of(name: str) -> str:
    """`held`: it names what lives at the provider; `files`: files, which are the gateway's; `bad`:
    the provider refused it as well, or it names another model; `native`: it asks for what no
    canonical request has a place for; else `canonical`."""
    recording = load(name)
    text = orjson.dumps(recording.request)
    if b'"container' in text:
        return "held"
    if b'"file_id"' in text:
        return "files"
    if b'"Invalid content"' in text or b'"advisor_' in text:
        return "bad"
    natives = (b'"context_management"', b'"mcp_servers"', b'"tool_reference"')
    return "native" if any(native in text for native in natives) else "canonical"


def call_of(name: str) -> Call:
    operation: Operation = "count_tokens" if "count_tokens" in name else "chat"
    return Call(orjson.dumps(load(name).request), None, "anthropic", operation)


def requests(*kinds: str) -> list[Any]:
    return [name for name in REQUESTS if not isinstance(name, str) or kind_of(name) in kinds]


@pytest.mark.parametrize("name", requests("canonical"))
def test_a_recorded_request_is_decoded_and_encoded_again(name: str) -> None:
    call = call_of(name)
    request = CODEC.parse_request(call)
    conversation = CODEC.decode_request(request)
    target = UpstreamTarget("upstream", UNKNOWN, request.stream)
    body = CODEC.encode_request(conversation, target).body

    assert sdk.request_problems(orjson.loads(body), beta=True) == []
    before, after = request.document, orjson.loads(body)
    assert [t["name"] for t in after.get("tools", ())] == [
        t["name"] for t in before.get("tools", ())
    ]
    again = CODEC.decode_request(CODEC.parse_request(Call(body, None, "anthropic")))
    assert again.turns == conversation.turns
    assert again.tools == conversation.tools


@pytest.mark.parametrize("name", requests("canonical", "native"))
def test_a_recorded_request_goes_on_verbatim(name: str) -> None:
    request = CODEC.parse_request(call_of(name))
    again = orjson.loads(CODEC.encode_verbatim(request, "upstream", None))
    assert again == (load(name).request or {}) | {"model": "upstream"}
    assert CODEC.decode_request(request).turns


@pytest.mark.parametrize("name", requests("native"))
def test_what_has_no_canonical_place_is_refused_elsewhere(name: str) -> None:
    request = CODEC.parse_request(call_of(name))
    with pytest.raises(InexpressibleError):
        CODEC.encode_request(
            CODEC.decode_request(request), UpstreamTarget("upstream", UNKNOWN, request.stream)
        )


@pytest.mark.parametrize("name", requests("held"))
def test_a_recorded_request_with_ids_at_the_provider_is_refused(name: str) -> None:
    with pytest.raises(HeldIdError):
        CODEC.parse_request(call_of(name))


@pytest.mark.parametrize("name", requests("files"))
def test_a_recorded_request_with_files_says_which(name: str) -> None:
    assert all(
        use.path.endswith("source.file_id") for use in CODEC.parse_request(call_of(name)).files
    )


@pytest.mark.parametrize("name", requests("bad"))
def test_what_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        CODEC.parse_request(call_of(name))
