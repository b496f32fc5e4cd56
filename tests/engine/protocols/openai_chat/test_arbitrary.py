"""Whatever comes: a typed error or a result, never anything else."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.capabilities import UNKNOWN
from engine.errors import InvalidRequestError, NotFoundError, UpstreamRejectedError
from engine.events import Call, Event, Usage
from engine.protocols.codec import ClientRequest, Identity, StreamDecoder, UpstreamTarget
from engine.protocols.openai_chat import CODEC
from tests.engine.protocols.openai_chat.jsons import ANSWERS, REQUESTS, VALUES

ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
IDENTITY = Identity("req_1", "m", 1)
STREAMED = ClientRequest("openai_chat", "m", True, True, None, 1)

FRAMES = st.lists(
    st.binary(max_size=60).map(lambda data: b"data: " + data + b"\n\n")
    | (ANSWERS | VALUES).map(lambda value: b"data: " + orjson.dumps(value) + b"\n\n")
    | st.sampled_from([b": ping\n\n", b"event: error\ndata: {}\r\n\r\n", b"data: [DONE]\n\n"]),
    max_size=8,
)


def events_of(decoder: StreamDecoder, data: bytes) -> list[Event]:
    """All events until the first fault."""
    events: list[Event] = []
    try:
        for frame in decoder.split(data):
            events.extend(decoder.decode(frame))
        events.extend(decoder.end_of_input())
    except ValueError:
        pass
    return events


@ANY
@given(data=st.binary(max_size=200) | FRAMES.map(b"".join), end_marker=st.booleans())
def test_a_stream_is_decoded_or_refused(data: bytes, end_marker: bool) -> None:
    encoder = CODEC.open_encoder(STREAMED, IDENTITY)
    decoder = CODEC.open_decoder(end_marker=end_marker)
    written = b"".join(map(encoder.encode, events_of(decoder, data)))
    ended = written + (encoder.finish() if decoder.done else encoder.cut(Usage()))

    for frame in CODEC.open_decoder(end_marker=True).split(ended):
        assert frame == b"data: [DONE]\n\n" or orjson.loads(frame[6:])["object"]


@ANY
@given(data=FRAMES.map(b"".join), include_usage=st.booleans())
def test_a_stream_passes_verbatim_or_is_refused(data: bytes, include_usage: bool) -> None:
    request = ClientRequest("openai_chat", "m", True, include_usage, None, 2)
    decoder = CODEC.open_verbatim(request, end_marker=False)
    try:
        for frame in decoder.split(data):
            decoder.decode(frame)
            sent = decoder.client_frame(frame)
            assert not include_usage or sent == (b"" if decoder.error else frame)
        decoder.end_of_input()
    except ValueError:
        pass
    assert decoder.end_frame().strip() in data
    assert decoder.cut(Usage()).endswith(b"data: [DONE]\n\n")


@ANY
@given(body=st.binary(max_size=200) | (ANSWERS | VALUES).map(orjson.dumps))
def test_an_answer_is_decoded_or_refused(body: bytes) -> None:
    try:
        events = CODEC.decode_response(body)
    except (ValueError, UpstreamRejectedError):
        return
    whole = orjson.loads(CODEC.encode_response(events, STREAMED, IDENTITY))
    assert whole["object"]


@ANY
@given(
    status=st.integers(0, 999), body=st.binary(max_size=200) | (ANSWERS | VALUES).map(orjson.dumps)
)
def test_an_error_is_read_whatever_it_is(status: int, body: bytes) -> None:
    error = CODEC.read_error(status, body)
    assert 400 <= error.status <= 599
    assert error.message
    assert orjson.loads(CODEC.encode_error(error))["error"]["message"] == error.message


def translated(body: bytes) -> dict[str, Any]:
    """The client's document, once everything was asked of it."""
    request = CODEC.parse_request(Call(body, None))
    list(CODEC.prompt_texts(request))
    CODEC.prompt_overhead_tokens(request)
    CODEC.encode_verbatim(request, "m", 5)
    CODEC.encode_request(CODEC.decode_request(request), UpstreamTarget("m", UNKNOWN, True))
    return request.document


@ANY
@given(document=REQUESTS | VALUES)
def test_a_request_is_translated_or_refused(document: Any) -> None:
    with contextlib.suppress(InvalidRequestError, NotFoundError):
        assert translated(orjson.dumps(document)) == document


@ANY
@given(body=st.binary(max_size=100))
def test_bytes_are_no_request(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        translated(body)
