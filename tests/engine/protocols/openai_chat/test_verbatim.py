"""A stream that passes to a client of this protocol: its edits, its end, its faults, a cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.events import Begin, Finish, FinishReason, TextDelta, Usage, UsageReport
from engine.protocols.codec import ClientRequest, VerbatimDecoder
from engine.protocols.openai_chat import CODEC

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 3, "model": "m"}


def opened(
    *, include_usage: bool = False, choices: int = 1, end_marker: bool = True
) -> VerbatimDecoder:
    request = ClientRequest("openai_chat", "m", True, include_usage, None, choices)
    return CODEC.open_verbatim(request, end_marker=end_marker)


def event(document: dict[str, Any] | bytes) -> bytes:
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return b"data: " + data + b"\n\n"


def passed(decoder: VerbatimDecoder, data: bytes) -> bytes:
    out = b""
    for frame in decoder.split(data):
        decoder.decode(frame)
        out += decoder.client_frame(frame)
    return out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"choices":[{}],"usage":null}', b'{"choices":[{}]}'),
        (b'{"choices":[{}],"usage" : null ,"z":1}', b'{"choices":[{}] ,"z":1}'),
        (b'{"usage":null,"choices":[{}]}', b'{"choices":[{}]}'),
        (
            rb'{"choices":[{"delta":{"content":"\"usage\":null"}}],"usage":null}',
            rb'{"choices":[{"delta":{"content":"\"usage\":null"}}]}',
        ),
        (
            b'{"x":{"a":1,"usage":null},"choices":[{}],"usage":null}',
            b'{"x":{"a":1,"usage":null},"choices":[{}]}',
        ),
        (
            rb'{"s":"}]\\","usage":null,"choices":[{"a":0,"usage":null}]}',
            rb'{"s":"}]\\","choices":[{"a":0,"usage":null}]}',
        ),
        (b'{"x":{"usage":null},"choices":[{}]}', b'{"x":{"usage":null},"choices":[{}]}'),
    ],
)
def test_a_null_usage_is_cut_out_and_no_other_byte(before: bytes, after: bytes) -> None:
    assert passed(opened(), event(before)) == event(after)
    assert passed(opened(include_usage=True), event(before)) == event(before)


def test_the_usage_only_chunk_is_read_and_dropped() -> None:
    chunk = event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
    decoder = opened()
    assert UsageReport(Usage(input_tokens=5, output_tokens=7)) in decoder.decode(chunk)
    assert decoder.client_frame(chunk) == b""
    assert passed(opened(include_usage=True), chunk) == chunk


def test_a_chunk_without_choices_that_is_not_usage_goes_on() -> None:
    chunk = event({"choices": [], "prompt_filter_results": []})
    assert passed(opened(), chunk) == chunk


def test_comments_and_empty_events_go_on() -> None:
    data = b": OPENROUTER PROCESSING\n\nevent: ping\r\n\r\ndata:\n\n"
    assert passed(opened(), data) == data


def test_text_is_told_while_it_passes() -> None:
    decoder = opened()
    role = {"role": "assistant", "content": "", "refusal": None}
    deltas = [role, {"content": "he"}, {"content": "y"}]
    frames = [event(HEAD | {"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    frames.append(event(HEAD | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))

    events = [told for frame in frames for told in decoder.decode(frame)]

    assert events == [
        Begin("c", "m", 3), TextDelta("he"), TextDelta("y"), Finish(FinishReason.STOP),
    ]  # fmt: skip


def test_the_marker_is_the_ending() -> None:
    decoder = opened()
    [marker] = decoder.split(b"data: [DONE]\r\n\r\n")
    assert decoder.decode(marker) == ()
    assert (decoder.ending, decoder.done) == (True, True)
    assert decoder.client_frame(marker) == marker
    assert decoder.decode(event({"error": "late"})) == ()
    assert decoder.error is None


@pytest.mark.parametrize("end_marker", [True, False])
def test_a_marker_without_its_blank_line_is_one(end_marker: bool) -> None:
    decoder = opened(end_marker=end_marker)
    assert decoder.split(b"data: [DONE]\n") == []
    decoder.end_of_input()
    assert (decoder.done, decoder.ending, decoder.error) == (True, True, None)
    assert decoder.end_frame() == b"data: [DONE]\n\n"


@pytest.mark.parametrize("rest", [b"", b'data: {"choices": [{"del', b"data: {}"])
def test_an_end_without_the_marker_is_a_fault_where_there_should_be_one(rest: bytes) -> None:
    decoder = opened()
    decoder.split(rest)
    assert decoder.end_of_input() == ()
    assert decoder.error is not None
    assert not decoder.done
    assert decoder.end_frame() == b""


def test_where_no_marker_is_due_a_whole_last_chunk_counts() -> None:
    decoder = opened(end_marker=False)
    last = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"}}]}'
    decoder.split(last)
    assert TextDelta("x") in decoder.end_of_input()
    assert (decoder.done, decoder.error) == (True, None)
    assert decoder.end_frame() == last + b"\n\n"

    broken = opened(end_marker=False)
    broken.split(last[:-3])
    broken.end_of_input()
    assert broken.error is not None


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"error":{"message":"no","code":500}}\n\n',
        b'event: error\ndata: {"message":"no"}\n\n',
        b'data: {"object":"error","message":"no"}\r\n\r\n',
        b'data: {"detail":"no"}\n\n',
        b'data: {"id":"c","choices":[],"error":{"message":"no"}}\n\n',
    ],
)
def test_an_error_within_the_stream_is_one(frame: bytes) -> None:
    decoder = opened()
    assert decoder.decode(frame) == ()
    assert decoder.error is not None
    assert decoder.error.message == "no"
    assert decoder.client_frame(frame) == b""


@pytest.mark.parametrize(
    "data", [b"data: 1\n\n", b"data: [1]\n\n", b"data: {\n\n", b"data: \xff\n\n"]
)
def test_what_is_no_json_object_is_a_fault(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        opened().decode(data)


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_cut_ends_what_is_open(include_usage: bool) -> None:
    decoder = opened(include_usage=include_usage, choices=3)
    finish = {"index": 1, "delta": {}, "finish_reason": "stop"}
    passed(decoder, event(HEAD | {"choices": [finish]}))

    frames = decoder.cut(Usage(5, 0, 0, 7)).split(b"\n\n")

    assert frames[-2:] == [b"data: [DONE]", b""]
    documents = [orjson.loads(frame[6:]) for frame in frames[:-2]]
    assert all(document.items() >= HEAD.items() for document in documents)
    ends = [choice for document in documents for choice in document["choices"]]
    assert [(end["index"], end["finish_reason"]) for end in ends] == [(0, "length"), (2, "length")]
    if include_usage:
        assert documents[-1]["usage"]["total_tokens"] == 12
        assert [document["usage"] for document in documents[:-1]] == [None, None]
    else:
        assert not any("usage" in document for document in documents)


def test_what_has_not_gone_out_is_not_ended() -> None:
    decoder = opened()
    decoder.decode(event(HEAD | {"choices": [{"index": 0, "finish_reason": "stop", "delta": {}}]}))
    assert b'"finish_reason":"length"' in decoder.cut(Usage())
