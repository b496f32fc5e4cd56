"""Streams that pass verbatim: frames, the ending, early cuts, faults; both forms."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UpstreamError, UpstreamRejectedError
from engine.events import Finish, TextDelta, Usage
from engine.protocols.gemini import CODEC
from engine.wire.sse import EventTooLargeError
from tests.engine.protocols.gemini import sdk
from tests.engine.protocols.gemini.samples import HELLO, Read, array_of, chunk, sse, verbatim

USAGE = Usage(input_tokens=3, output_tokens=5, reasoning_tokens=2)
STREAM = (
    chunk({"text": "é𝄞"}),
    chunk({"text": "b"}, finishReason="STOP"),
    {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}},
)
ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
BARE = b'{\n  "error": {\n    "code": 503,\n    "message": "The {model} is overloaded."\n  }\n}\n'


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("array", [False, True])
def test_the_bytes_are_the_same_however_split(array: bool, step: int) -> None:
    body = array_of(*STREAM) if array else sse(*STREAM)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    read = Read(pieces, verbatim(array=array))
    assert read.client_bytes == body
    assert (read.error, read.done, read.ending_at) == (None, True, 1)
    assert "".join(e.text for e in read.events if isinstance(e, TextDelta)) == "é𝄞b"


def test_the_ending_waits_for_the_last_candidate() -> None:
    documents = (
        chunk({"text": "a"}, finishReason="STOP"),
        chunk({"text": "b"}, index=1),
        chunk(index=1, finishReason="STOP"),
    )
    two = HELLO | {"generationConfig": {"candidateCount": 2}}
    assert Read([sse(*documents)], verbatim(document=two)).ending_at == 2
    assert Read([sse(*documents)], verbatim()).ending_at == 0
    fewer = Read([sse(documents[0])], verbatim(document=two))
    assert (fewer.done, fewer.ending_at) == (True, None)


def test_a_last_event_without_its_blank_line() -> None:
    body = sse(*STREAM)
    read = Read([body[:-4]], verbatim())
    assert (read.done, read.client_bytes) == (True, body)
    whole = array_of(*STREAM)
    read = Read([whole[:-2]], verbatim(array=True))
    assert (read.done, orjson.loads(read.client_bytes)) == (True, list(STREAM))
    read = Read([whole + b"\r\n"], verbatim(array=True))
    assert (read.done, read.client_bytes) == (True, whole + b"\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        sse(STREAM[0]),
        sse(*STREAM) + b'data: {"usage',
        sse({"usageMetadata": {"promptTokenCount": 1}}),
    ],
)
def test_a_stream_that_breaks_off(body: bytes) -> None:
    read = Read([body])
    assert (type(read.error), read.done) == (UpstreamError, False)
    assert Read([body], verbatim()).error is not None


@pytest.mark.parametrize("body", [b"", b"[", b"[]", array_of(STREAM[0]), b'[{"candidates":'])
def test_an_array_that_breaks_off(body: bytes) -> None:
    read = Read([body], verbatim(array=True))
    assert (type(read.error), read.done) == (UpstreamError, False)


def test_a_provider_that_says_no_end() -> None:
    assert Read([sse(STREAM[0])], end_marker=False).done
    assert Read([b""], end_marker=False).error is not None


@pytest.mark.parametrize(
    "ending",
    [sse(ERROR), BARE, BARE + b"\n", b"data: [" + orjson.dumps(ERROR) + b"]\n\n"],
)
def test_an_error_in_a_stream(ending: bytes) -> None:
    for body in (sse(STREAM[0]) + ending, ending):
        read = Read([body], verbatim())
        assert isinstance(read.error, UpstreamRejectedError)
        assert (read.error.status, read.done) == (503, False)
        assert "overloaded" in read.error.message


def test_an_error_in_an_array() -> None:
    for body in (array_of(STREAM[0], ERROR), array_of(ERROR), BARE):
        read = Read([body], verbatim(array=True))
        assert isinstance(read.error, UpstreamRejectedError)
        assert read.error.status == 503


def test_the_form_has_to_be_the_one_asked_for() -> None:
    for array, body in ((True, sse(*STREAM)), (False, array_of(*STREAM))):
        with pytest.raises(ValueError, match="form"):
            Read([body], verbatim(array=array))
    assert Read([array_of(*STREAM)]).done  # what is translated may have either


def test_what_is_no_chunk() -> None:
    for body in (b"data: x\n\n", b"data: 1\n\n", b"data: {\n\n", b"[1,{}]"):
        with pytest.raises(ValueError):  # noqa: PT011 - any message
            Read([body])
    assert Read([b": comment\r\n\r\nevent: x\r\n\r\n" + sse(*STREAM)]).done


def test_data_in_several_lines() -> None:
    text = orjson.dumps(STREAM[1], option=orjson.OPT_INDENT_2)
    for end in (b"\n", b"\r", b"\r\n"):
        body = b"".join(b"data: " + line + end for line in text.split(b"\n")) + b"\r\n"
        assert Read([body]).done
        mixed = text.replace(b"\n", end + b"data: ")
        assert Read([b"data: " + mixed + b"\r\n\r\n"]).done


@pytest.mark.parametrize("opening", [b"data: ", b'[{"a":"'])
def test_an_endless_event(opening: bytes) -> None:
    decoder = CODEC.open_decoder(end_marker=True)
    decoder.split(opening + b"x" * 16_000_000)
    assert decoder.pending_bytes == len(opening) + 16_000_000
    with pytest.raises(EventTooLargeError):
        decoder.split(b"x" * 1_000_000)


def cut_after(frames: int, documents: tuple[dict[str, Any], ...], *, array: bool) -> bytes:
    decoder = verbatim(array=array)
    body = array_of(*documents) if array else sse(*documents)
    sent = b""
    for frame in decoder.split(body)[:frames]:
        decoder.decode(frame)
        sent += decoder.client_frame(frame)
    return sent + decoder.cut(USAGE)


@pytest.mark.parametrize("frames", range(4))
@pytest.mark.parametrize("array", [False, True])
def test_a_cut_is_a_valid_end(array: bool, frames: int) -> None:
    documents = (chunk({"text": "a"}), chunk({"text": "b"}, index=1), chunk({"text": "c"}))
    body = cut_after(frames, documents, array=array)
    if array:
        chunks = [sdk.whole(orjson.dumps(one)) for one in orjson.loads(body)]
    else:
        chunks, error = sdk.chunks(body)
        assert error is None
    assert len(chunks) == frames + 1
    last = chunks[-1]
    open_choices = [0, 1] if frames > 1 else [0]
    assert sdk.ends(last) == [(index, "MAX_TOKENS") for index in open_choices]
    assert sdk.figures(last) == {
        "prompt_token_count": 3,
        "candidates_token_count": 3,
        "thoughts_token_count": 2,
        "total_token_count": 8,
    }
    assert last.response_id == ("r1" if frames else None)


def test_only_open_candidates_are_cut() -> None:
    documents = (chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, index=1))
    last = orjson.loads(cut_after(2, documents, array=True))[-1]
    assert [candidate["index"] for candidate in last["candidates"]] == [1]
    blocked = ({"promptFeedback": {"blockReason": "SAFETY"}},)
    assert "candidates" not in orjson.loads(cut_after(1, blocked, array=True))[-1]


@pytest.mark.parametrize("array", [False, True])
def test_an_end_that_has_not_gone_out_is_cut_too(array: bool) -> None:
    """The last frame was read, and what is in it is not covered by the funds."""
    decoder = verbatim(array=array)
    first, last, *_ = decoder.split(array_of(*STREAM) if array else sse(*STREAM))
    decoder.decode(first)
    sent = decoder.client_frame(first)
    decoder.decode(last)
    body = sent + decoder.cut(USAGE)
    chunks = [sdk.whole(orjson.dumps(one)) for one in orjson.loads(body)] if array else []
    ending = chunks[-1] if array else sdk.chunks(body)[0][-1]
    assert sdk.ends(ending) == [(0, "MAX_TOKENS")]


def test_nothing_is_decoded_after_the_end() -> None:
    decoder = verbatim()
    for frame in decoder.split(sse(STREAM[0], ERROR)):
        decoder.decode(frame)
    assert decoder.decode(sse(STREAM[1])) == ()
    assert decoder.end_of_input() == ()
    assert decoder.end_frame() == b""


_BYTES = st.binary(max_size=60) | st.text(max_size=20).map(str.encode)
_FRAMED = st.builds(lambda data: b"data: " + data + b"\r\n\r\n", _BYTES)
_KEYS = st.sampled_from(
    [
        "candidates",
        "content",
        "parts",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "name",
        "args",
        "id",
        "partialArgs",
        "jsonPath",
        "stringValue",
        "willContinue",
        "inlineData",
        "mimeType",
        "data",
        "finishReason",
        "index",
        "usageMetadata",
        "promptTokenCount",
        "promptFeedback",
        "blockReason",
        "groundingMetadata",
        "groundingChunks",
        "web",
        "uri",
        "groundingSupports",
        "segment",
        "startIndex",
        "endIndex",
        "groundingChunkIndices",
        "logprobsResult",
        "chosenCandidates",
        "topCandidates",
        "token",
        "logProbability",
        "citationMetadata",
        "citationSources",
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["STOP", "", "$.a", "QQ=="]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=5,
)
_OBJECTS = st.dictionaries(_KEYS, _VALUES, max_size=3)


@st.composite
def _shaped(draw: st.DrawFn) -> bytes:
    """Something like an answer."""
    content = {"content": {"parts": draw(st.lists(_OBJECTS, max_size=2))}}
    return orjson.dumps({"candidates": [content | draw(_OBJECTS)]} | draw(_OBJECTS))


@given(
    bodies=st.lists(
        _BYTES | _FRAMED | _shaped().map(lambda d: b"data: " + d + b"\n\n"), max_size=3
    ),
    array=st.booleans(),
)
def test_anything_ends_in_events_or_a_typed_error(bodies: list[bytes], array: bool) -> None:
    for decoder in (None, verbatim(array=array)):
        try:
            read = Read(bodies, decoder)
        except ValueError:
            continue
        assert read.done != (read.error is not None)


@given(body=_BYTES | _shaped())
def test_any_whole_answer_too(body: bytes) -> None:
    try:
        events = CODEC.decode_response(body)
    except (ValueError, UpstreamRejectedError):
        return
    assert any(isinstance(event, Finish) for event in events)
