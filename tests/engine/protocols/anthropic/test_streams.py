"""A provider's streams: what is tolerated, what is an error, where a verbatim one is cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.conversation import Native
from engine.errors import UpstreamRejectedError
from engine.events import (
    Begin,
    BlockEnd,
    Event,
    Finish,
    FinishReason,
    NativeEvent,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.anthropic import CODEC
from engine.wire.sse import EventTooLargeError
from tests.engine.protocols.anthropic import sdk


def frame(kind: str, **members: Any) -> bytes:
    document = orjson.dumps({"type": kind} | members)
    return b"event: " + kind.encode() + b"\ndata: " + document + b"\n\n"


def start(**usage: Any) -> bytes:
    message = {"id": "msg_1", "model": "m", "role": "assistant", "type": "message", "content": []}
    return frame("message_start", message=message | {"usage": usage})


def block(index: int, **members: Any) -> bytes:
    return frame("content_block_start", index=index, content_block=members)


def delta(index: int, kind: str, **members: Any) -> bytes:
    return frame("content_block_delta", index=index, delta={"type": kind} | members)


def end(**usage: Any) -> bytes:
    return frame(
        "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage
    )


STOP = frame("message_stop")


def plain(events: list[Event]) -> list[Event]:
    """Texts, calls and blocks; not what stands around them."""
    return [event for event in events if not isinstance(event, (Begin, Finish, UsageReport))]


def test_usage_is_merged_field_by_field() -> None:
    events = sdk.decode_stream(
        start(input_tokens=5, cache_read_input_tokens=20, output_tokens=1)
        + end(output_tokens=9, cache_read_input_tokens=None, cache_creation_input_tokens=3)
        + STOP
    )
    assert isinstance(events[0], Begin)
    assert events[0].usage == Usage(input_tokens=25, cached_input_tokens=20)
    assert isinstance(events[-1], UsageReport)
    assert events[-1].usage == Usage(28, 20, 3, 9)


@pytest.mark.parametrize("absurd", [-1, 2**40, 1.5, "9", True, None, [9]])
@pytest.mark.parametrize("member", ["output_tokens", "input_tokens", "cache_read_input_tokens"])
def test_absurd_figures_are_as_unsaid(member: str, absurd: object) -> None:
    usage = {"input_tokens": 5, "output_tokens": 9, member: absurd}
    events = sdk.decode_stream(start() + end(**usage) + STOP)
    [report] = [event.usage for event in events if isinstance(event, UsageReport)]
    unsaid = {"output_tokens"} if member == "output_tokens" else {"input_tokens"}
    if absurd is None and member == "cache_read_input_tokens":
        unsaid = set()  # null says that there were none
    assert report.unsaid == unsaid
    assert report.invalid is (absurd is not None)
    assert all(getattr(report, unit) == 0 for unit in unsaid)


def test_what_is_not_known_is_passed_over() -> None:
    events = sdk.decode_stream(
        b": a comment\n\nevent: ping\ndata: {}\n\ndata:\n\n"
        + start(input_tokens=1)
        + frame("message_unheard_of", a=1)
        + frame("content_block_stop", index=0)
        + start(input_tokens=7)
        + end(output_tokens=1)
        + STOP
        + b"anything at all\n\n"
    )
    assert [type(event) for event in events] == [Begin, Finish, UsageReport]


def test_deltas_without_a_beginning_are_read_all_the_same() -> None:
    assert sdk.decode_stream(delta(0, "text_delta", text="x") + STOP) == [
        Begin(None, None),
        TextDelta("x"),
    ]


def test_a_block_ends_where_the_next_begins() -> None:
    events = sdk.decode_stream(
        start()
        + block(0, type="tool_use", id="t", name="f", input={})
        + block(1, type="tool_use", id="u", name="g", input={"a": 1})
        + STOP
    )
    assert plain(events) == [
        ToolCallBegin(0, "t", "f"),
        ToolCallDelta(0, "{}"),
        BlockEnd(),
        ToolCallBegin(1, "u", "g"),
        ToolCallDelta(1, '{"a":1}'),
        BlockEnd(),
    ]


def test_a_providers_own_tools_are_metered() -> None:
    call = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": '{"query":"x"}'}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "t"}]}
    summary = {"type": "compaction_delta", "content": "so far"}
    events = sdk.decode_stream(
        start()
        + block(0, **call)
        + frame("content_block_delta", index=0, delta=piece)
        + block(1, **result)
        + block(2, type="compaction", content=None)
        + frame("content_block_delta", index=2, delta=summary)
        + block(3, type="brand_new")
        + delta(3, "text_delta", text="new")
        + STOP
    )
    natives = [event for event in events if isinstance(event, NativeEvent)]
    assert [(event.label, event.generated) for event in natives] == [
        ("server_tool_use", "web_search"),
        ("server_tool_use", '{"query":"x"}'),
        ("web_search_tool_result", ""),
        ("compaction", ""),
        ("compaction", "so far"),
        ("brand_new", ""),
        ("brand_new", "new"),
    ]
    assert natives[2].native == Native("anthropic", {"block": result})


def test_a_lone_surrogate_is_replaced() -> None:
    stream = start() + delta(0, "text_delta", text="SURROGATE") + STOP
    events = sdk.decode_stream(stream.replace(b"SURROGATE", b"a\\ud83d"))
    assert plain(events) == [TextDelta("a�")]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded_error", 529), ("api_error", 500), ("authentication_error", 502), ("?", 502)],
)
def test_an_error_event_may_come_first(kind: str, status: int) -> None:
    error = frame("error", error={"type": kind, "message": "m"}, request_id="req_secret")
    with pytest.raises(UpstreamRejectedError) as caught:
        sdk.decode_stream(error)
    assert caught.value.status == status
    assert "req_secret" not in caught.value.message


def test_a_bare_error_of_a_compatible_server_is_one() -> None:
    with pytest.raises(UpstreamRejectedError):
        sdk.decode_stream(start() + b'data: {"error":{"message":"m"}}\n\n')


@pytest.mark.parametrize("data", [b"[1]", b"{", b"nothing", b'"x"', b"\xff", b"[" * 2_000])
def test_what_is_no_json_object_is_a_value_error(data: bytes) -> None:
    decoder = CODEC.open_decoder(end_marker=True)
    (only,) = decoder.split(b"event: x\ndata: " + data + b"\n\n")
    with pytest.raises(ValueError, match=r"."):
        decoder.decode(only)


def test_json_too_deep_to_be_written_again_is_a_value_error() -> None:
    deep = b'{"type":"content_block_start","content_block":' + b'{"a":' * 300 + b"1" + b"}" * 301
    decoder = CODEC.open_decoder(end_marker=True)
    with pytest.raises(ValueError, match="deep"):
        decoder.decode(b"data: " + deep + b"\n\n")
    body = b'{"type":"message","content":[' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"]}"
    with pytest.raises(ValueError, match="deep"):
        CODEC.decode_response(body)


def test_an_event_without_end_is_bounded() -> None:
    decoder = CODEC.open_decoder(end_marker=True)
    decoder.split(b"data: " + b"x" * 15 * 1024 * 1024)
    with pytest.raises(EventTooLargeError):
        decoder.split(b"x" * 1024 * 1024)


@pytest.mark.parametrize("end_marker", [True, False])
def test_a_last_event_without_its_blank_line(end_marker: bool) -> None:
    whole = start() + end(output_tokens=1) + STOP
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=end_marker)
    out = b""
    for event in decoder.split(whole[:-2]):
        decoder.decode(event)
        out += decoder.client_frame(event)
    decoder.end_of_input()
    assert (decoder.done, decoder.ending, decoder.error) == (True, True, None)
    assert out + decoder.end_frame() == whole


@pytest.mark.parametrize(
    ("rest", "end_marker", "done"),
    [
        (b"", True, False),
        (b"", False, True),
        (b"\n\n", False, True),
        (b"data: {", False, False),
        (b"data: {", True, False),
        (b'data: {"type":"ping"}', False, True),
        (b'data: {"type":"error","error":{}}', False, False),
    ],
)
def test_an_end_without_message_stop(rest: bytes, end_marker: bool, done: bool) -> None:
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=end_marker)
    for event in decoder.split(start() + end(output_tokens=1) + rest):
        decoder.decode(event)
    decoder.end_of_input()
    assert decoder.done is done
    assert (decoder.error is None) is done


def test_a_cut_ends_what_has_gone_out_and_not_what_was_only_decoded() -> None:
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=True)
    usage = Usage(input_tokens=8, cached_input_tokens=3, output_tokens=2)
    first, second, third = decoder.split(
        start(input_tokens=8) + block(0, type="text", text="") + delta(0, "text_delta", text="x")
    )
    out = b""
    for event in (first, second):
        decoder.decode(event)
        out += decoder.client_frame(event)
    decoder.decode(third)
    assert sdk.stream_documents(decoder.cut(usage)) == [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 3,
                "output_tokens": 2,
            },
        },
        {"type": "message_stop"},
    ]


def test_a_cut_before_anything_came_is_a_whole_message() -> None:
    stream = CODEC.open_verbatim(sdk.REQUEST, end_marker=True).cut(Usage(input_tokens=8))
    sdk.check_grammar(stream)
    message = sdk.accumulate(stream)
    assert message["model"] == "model-ours"
    assert message["content"] == []
    assert message["usage"]["input_tokens"] == 8


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{}", b'{"content":"x"}', b'{"type":"message"}', b"\xff"]
)
def test_what_is_no_message_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        CODEC.decode_response(body)


def test_an_error_in_place_of_a_message_is_raised() -> None:
    body = orjson.dumps({"type": "error", "error": {"type": "api_error", "message": "m"}})
    with pytest.raises(UpstreamRejectedError) as caught:
        CODEC.decode_response(body)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP_SEQUENCE),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.CONTEXT_LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.FILTERED),
        ("pause_turn", FinishReason.PAUSED),
        ("brand_new", FinishReason.OTHER),
    ],
)
def test_stop_reasons(stop_reason: str, reason: FinishReason) -> None:
    ending = {
        "stop_reason": stop_reason,
        "stop_sequence": "x",
        "stop_details": {"type": "refusal", "explanation": "because"},
    }
    (finish,) = (
        event
        for event in sdk.decode_stream(start() + frame("message_delta", delta=ending) + STOP)
        if isinstance(event, Finish)
    )
    assert finish.reason is reason
    assert (finish.stop_sequence, finish.explanation) == ("x", "because")
