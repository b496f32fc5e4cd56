"""Answers that nobody sends on purpose: every decoder ends in a typed error or an ending, and the
client's stream is one that its SDK reads, whatever had come."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import UpstreamError, UpstreamRejectedError
from engine.events import Event, Finish, Usage
from engine.protocols.registry import codec_of
from engine.wire.sse import EventTooLargeError
from tests import recordings
from tests.answers import sdk
from tests.answers.recorded import PROTOCOLS, names, protocol_of
from tests.answers.translating import (
    IDENTITY,
    Decoded,
    client_request,
    encode_stream,
    has_broken_arguments,
    split,
)

BROKEN = UpstreamError("The provider broke off.")


def decode_hostile(protocol: str, body: bytes, seed: int, *, end_marker: bool) -> Decoded:
    """As far as it goes; what the decoder may raise is an error of the stream."""
    events: list[Event] = []
    decoder = codec_of(protocol).open_decoder(end_marker=end_marker)
    try:
        for piece in split(body, seed):
            for frame in decoder.split(piece):
                if decoder.done or decoder.error is not None:
                    return Decoded(tuple(events), decoder.error, decoder.done)
                events += decoder.decode(frame)
        events += decoder.end_of_input()
    except (ValueError, EventTooLargeError):
        return Decoded(tuple(events), BROKEN)
    assert decoder.done or decoder.error is not None, "an end is one or the other"
    return Decoded(tuple(events), decoder.error, decoder.done)


def check_stream(source: str, body: bytes, seed: int, *, end_marker: bool = True) -> None:
    """Whatever was decoded, every client of another protocol gets a stream that its SDK reads."""
    decoded = decode_hostile(source, body, seed, end_marker=end_marker)
    for target in PROTOCOLS:
        request = client_request(target, stream=True)
        stream = encode_stream(codec_of(target), decoded.events, request, error=decoded.error)
        if target == source:
            continue  # its own words go on as they are, whatever they are
        failed = decoded.error is not None
        if target == "anthropic" and has_broken_arguments(decoded.events):
            with contextlib.suppress(ValueError):  # as its SDK says it, unless they were mended
                assert sdk.read(target, stream, stream=True).failed == failed
        else:
            assert sdk.read(target, stream, stream=True).failed == failed


def check_whole(source: str, body: bytes) -> None:
    """A whole answer is events for every client, or a typed error."""
    try:
        events = codec_of(source).decode_response(body)
    except (ValueError, UpstreamRejectedError):
        return
    for target in PROTOCOLS:
        request = client_request(target, stream=False)
        encoded = codec_of(target).encode_response(events, request, IDENTITY)
        if target != source:
            sdk.read(target, encoded, stream=False)


JUNK = (
    st.binary(max_size=64)
    | st.text(max_size=32).map(str.encode)
    | st.sampled_from(
        [b"[", b"]", b"{}", b"null", b"[[[[", b'{"', b"data: ", b"data: {}\n\n", b"\xef\xbb\xbf"]
    )
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(body=JUNK, framed=st.booleans(), seed=st.integers(0, 99))
@example(body=b'{"error":{}}', framed=True, seed=0)
@example(body=b'{"type":"error"}', framed=True, seed=0)
@example(body=b'{"choices":[{"delta":{"tool_calls":[{}]}}]}', framed=True, seed=0)
@example(body=b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}', framed=True, seed=0)
def test_junk(protocol: str, body: bytes, framed: bool, seed: int) -> None:
    stream = b"data: " + body + b"\n\n" if framed else body
    check_stream(protocol, stream, seed, end_marker=bool(seed % 2))
    check_whole(protocol, body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(body=JUNK, status=st.integers(100, 999))
def test_errors_of_any_kind(protocol: str, body: bytes, status: int) -> None:
    codec = codec_of(protocol)
    error = codec.read_error(status, body)
    assert 400 <= error.status <= 599
    for target in map(codec_of, PROTOCOLS):
        assert 400 <= target.error_status(error) <= 599
        assert target.encode_error(error, "req_1")
        assert target.encode_stream_error(error)


def flip(body: bytes, chance: random.Random) -> bytes:
    """A few bytes are others."""
    changed = bytearray(body)
    for _ in range(chance.choice((1, 3, 9))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def cut_off(body: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return body[: chance.randrange(len(body))]


def cut_out(body: bytes, chance: random.Random) -> bytes:
    """Something in the middle is missing."""
    at = chance.randrange(len(body))
    return body[:at] + body[at + chance.randrange(1, 200) :]


def repeat_event(body: bytes, chance: random.Random) -> bytes:
    """An event comes twice."""
    events = body.split(b"\n\n")
    at = chance.randrange(len(events))
    return b"\n\n".join([*events[: at + 1], *events[at:]])


def remove_event(body: bytes, chance: random.Random) -> bytes:
    """An event never comes."""
    events = body.split(b"\n\n")
    del events[chance.randrange(len(events))]
    return b"\n\n".join(events)


def swap_events(body: bytes, chance: random.Random) -> bytes:
    """Two events change places."""
    events = body.split(b"\n\n")
    a, b = chance.randrange(len(events)), chance.randrange(len(events))
    events[a], events[b] = events[b], events[a]
    return b"\n\n".join(events)


def other_values(body: bytes, chance: random.Random) -> bytes:
    """Some values are of other types."""
    values = [b"null", b"0", b"-1", b'""', b"[]", b"{}", b"true", b"1e999", b"[null]", b'"x"']
    for _ in range(chance.choice((1, 4))):
        places = [at for at in range(len(body) - 1) if body[at : at + 1] == b":"]
        if not places:
            return body
        at = chance.choice(places) + 1
        end = min((i for i in (body.find(c, at) for c in (b",", b"}", b"]")) if i > 0), default=at)
        body = body[:at] + chance.choice(values) + body[end:]
    return body


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip,
    cut_off,
    cut_out,
    repeat_event,
    remove_event,
    swap_events,
    other_values,
    other_values,
)


def small(step: int, *, stream: bool) -> list[Any]:
    """Every so manieth of the answers short enough to be tried many times, as parameters."""
    short = [name for name in names(stream=stream) if 0 < len(recordings.load(name).body) < 8_000]
    skip = pytest.mark.skip(reason="no recordings")
    return [pytest.param(name, id=name) for name in short[::step]] or [pytest.param("", marks=skip)]


def mutated(name: str, seed: int) -> bytes:
    """A recording after one to three accidents."""
    chance = random.Random(f"{name} {seed}")
    body = recordings.load(name).body.replace(b"\r\n", b"\n")
    for mutation in chance.sample(MUTATIONS, chance.choice((1, 1, 2, 3))):
        body = mutation(body, chance) or b" "
    return body


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", small(3, stream=True))
def test_streams_after_an_accident(name: str, seed: int) -> None:
    check_stream(protocol_of(name), mutated(name, seed), seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", small(3, stream=False))
def test_whole_answers_after_an_accident(name: str, seed: int) -> None:
    check_whole(protocol_of(name), mutated(name, seed))


@pytest.mark.long
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_accidents(protocol: str) -> None:
    for name in names(protocol):
        stream = recordings.load(name).stream
        for seed in range(100, 140):
            try:
                if stream:
                    check_stream(protocol, mutated(name, seed), seed)
                else:
                    check_whole(protocol, mutated(name, seed))
            except BaseException as error:
                error.add_note(f"{name}, seed {seed}")
                raise


@pytest.mark.parametrize("target", PROTOCOLS)
@pytest.mark.parametrize("name", small(8, stream=True))
def test_an_ending_at_every_position(name: str, target: str) -> None:
    """Cut by us, failed at the provider: after every event the client's SDK reads the ending."""
    source = protocol_of(name)
    decoded = decode_hostile(source, recordings.load(name).body, 0, end_marker=False)
    codec, request = codec_of(target), client_request(target, stream=True)
    usage = Usage(input_tokens=7, output_tokens=5)
    step = max(1, len(decoded.events) // 12)
    for count in range(0, len(decoded.events) + 1, step):
        encoder = codec.open_encoder(request, IDENTITY)
        begun = b"".join(encoder.encode(event) for event in decoded.events[:count])
        failed = sdk.read(target, begun + codec.encode_stream_error(BROKEN), stream=True)
        assert failed.failed, count
        assert all(choice.finish == "none" for choice in failed.choices), count
        cut = sdk.read(target, begun + encoder.cut(usage), stream=True)
        assert not cut.failed, count
        assert cut.usage == usage, count
        assert cut.choices, count
        assert all(choice.finish != "none" for choice in cut.choices), count


@pytest.mark.parametrize("name", small(5, stream=True))
def test_a_verbatim_stream_cut_at_every_frame(name: str) -> None:
    """The provider's own bytes, and our ending: the SDK reads one answer."""
    protocol = protocol_of(name)
    codec, body = codec_of(protocol), recordings.load(name).body
    array = body.lstrip().startswith(b"[")
    request = client_request(protocol, stream=True, array=array)
    usage = Usage(input_tokens=7, output_tokens=5)
    frames = codec.open_verbatim(request, end_marker=False).split(body)
    for count in range(0, len(frames), max(1, len(frames) // 12)):
        decoder = codec.open_verbatim(request, end_marker=False)
        out, ended = b"", False
        for frame in decoder.split(b"".join(frames[:count])):
            ended |= any(isinstance(event, Finish) for event in decoder.decode(frame))
            if decoder.ending or decoder.error is not None:
                break  # held back until it is settled
            out += decoder.client_frame(frame)
        else:
            cut = sdk.read(protocol, out + decoder.cut(usage), stream=True)
            assert not cut.failed, count
            assert ended or cut.usage == usage, count
            assert cut.choices, count
            assert all(choice.finish != "none" for choice in cut.choices), count
