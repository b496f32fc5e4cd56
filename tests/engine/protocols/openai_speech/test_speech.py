"""Speech: what is asked, what it can consume, what comes of its answers."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from engine.errors import GatewayError, InvalidRequestError
from engine.events import Call, Event, Finish, MediaDelta, UsageReport
from engine.media.wav import Pcm, wav_of
from engine.protocols.codec import ClientRequest, VerbatimDecoder
from engine.protocols.openai_speech import CODEC
from engine.protocols.openai_speech.sound import SoundDecoder
from engine.protocols.registry import client_codec, upstream_codec
from engine.usage import Usage
from tests import recordings

ASK: dict[str, Any] = {"model": "tts-1", "input": "Rivers are long.", "voice": "alloy"}
WAV = wav_of(Pcm(), struct.pack("<2400h", *range(2400)))


def parse(**changes: Any) -> ClientRequest:
    document = {name: value for name, value in (ASK | changes).items() if value is not ...}
    call = Call(orjson.dumps(document), None, "openai", "speech")
    codec = client_codec(call.protocol, call.operation)
    assert codec is CODEC
    return codec.parse_request(call)


def opened(**changes: Any) -> VerbatimDecoder:
    return CODEC.open_verbatim(CODEC.answered(parse(**changes)), end_marker=True)


def relayed(decoder: VerbatimDecoder, pieces: Iterator[bytes]) -> tuple[bytes, list[Event]]:
    """What a client gets, and what was understood of it."""
    out, told = b"", list[Event]()
    for piece in pieces:
        for frame in decoder.split(piece):
            told += decoder.decode(frame)
            out += decoder.client_frame(frame)
    told += decoder.end_of_input()
    return out + decoder.end_frame(), told


def cut_up(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def sound(told: list[Event]) -> bytes:
    return b"".join(base64.b64decode(e.data) for e in told if isinstance(e, MediaDelta))


def test_what_is_asked() -> None:
    request = parse(instructions="Whisper.")
    assert (request.model, request.stream, request.answer_type) == ("tts-1", True, "audio/mpeg")
    assert list(CODEC.prompt_texts(request)) == ["Rivers are long.", "Whisper."]
    sent = orjson.loads(CODEC.encode_verbatim(request, "upstream", None))
    assert sent == ASK | {"instructions": "Whisper.", "model": "upstream"}
    assert parse(voice={"id": "voice_1"}, speed=4).model == "tts-1"
    assert parse(response_format="pcm").answer_type == "audio/pcm"
    assert parse(stream_format="sse").answer_type is None, "events are JSON"
    assert CODEC.path("tts-1", "speech", stream=True, array=False) == "/audio/speech"
    assert upstream_codec(CODEC.name, "openai", frozenset()) is CODEC
    assert upstream_codec(CODEC.name, "anthropic", frozenset()) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ...),
        ("input", ...),
        ("input", ""),
        ("input", ["a"]),
        ("input", "é" * 4_097),
        ("voice", ...),
        ("voice", {"name": "alloy"}),
        ("voice", 7),
        ("response_format", "midi"),
        ("response_format", 1),
        ("speed", 0.1),
        ("speed", "fast"),
        ("speed", True),
        ("stream_format", "chunks"),
        ("instructions", ["a"]),
    ],
)
def test_what_is_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(**{field: value})
    assert refused.value.param == field


def test_what_it_consumes() -> None:
    demand = parse(input="𝄞 naïve").demand
    assert demand is not None
    assert demand.flat == demand.pieces == {"characters": 7}, "code points, whatever they take"
    assert demand.input_tokens >= len("𝄞 naïve".encode())
    slow = parse(input="long " * 200, speed=0.25).demand
    usual = parse(input="long " * 200).demand
    assert slow is not None
    assert usual is not None
    assert slow.output_tokens > 2 * usual.output_tokens, "it sounds for longer"


@pytest.mark.parametrize("size", [1, 2, 63, 64, 1000, 100_000])
def test_sound_goes_through_as_it_came(size: int) -> None:
    decoder = opened(response_format="wav")
    out, told = relayed(decoder, cut_up(WAV, size))
    assert out == WAV == sound(told)
    assert isinstance(told[-1], Finish)
    assert (decoder.done, decoder.error, decoder.pending_bytes) == (True, None, 0)


@pytest.mark.parametrize("name", recordings.names("openai-audio-speech", status=200))
def test_a_recorded_answer(name: str) -> None:
    recording = orjson.loads((recordings.RECORDINGS / name).read_bytes())
    asked = recording["request"]["body"]
    data = base64.b64decode(recording["response"]["body_b64"])
    out, told = relayed(opened(**asked), cut_up(data, 1_400))
    assert out == data == sound(told)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("mp3", b"<!doctype html><html><body>Welcome</body></html>" * 9),
        ("mp3", b'{"error":{"message":"overloaded"}}' * 9),
        ("mp3", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("mp3", b"no sound at all, just words of some length" * 9),
        ("mp3", b""),
        ("pcm", b""),
        ("pcm", b' \n {"error":{"message":"overloaded"}}'),
        ("pcm", b"<html>"),
        ("pcm", b"GIF89a" + bytes(100)),
    ],
)
def test_what_is_no_sound_never_goes_out(kind: str, answer: bytes) -> None:
    decoder = opened(response_format=kind)
    out, told = relayed(decoder, cut_up(answer, 7))
    assert (out, told) == (b"", [])
    assert decoder.error is not None
    assert not decoder.done


def test_raw_samples_have_no_mark() -> None:
    samples = struct.pack("<20h", *range(-10, 10))
    out, _ = relayed(opened(response_format="pcm"), cut_up(samples, 3))
    assert out == samples


def test_sound_without_end() -> None:
    decoder = SoundDecoder("audio/wav", max_bytes=4_000)
    out, _ = relayed(decoder, cut_up(WAV, 1_000))
    assert out == WAV[:4_000]
    assert decoder.error is not None
    assert decoder.fail(GatewayError("The gateway failed.")) == b"", "it has no place for words"
    assert decoder.cut(Usage()) == b""


DELTA = b'data: {"type":"speech.audio.delta","audio":"//PkxA=="}\n\n'
SPOKEN = (
    b'data: {"type":"speech.audio.done","usage":'
    b'{"input_tokens":14,"output_tokens":101,"total_tokens":115}}\n\n'
)


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events(size: int, end: bytes) -> None:
    decoder = opened(stream_format="sse", response_format="wav")
    out, told = relayed(decoder, cut_up(DELTA + SPOKEN + end, size))
    assert out == DELTA + SPOKEN + end
    assert (decoder.ending, decoder.done, decoder.error) == (True, True, None)
    assert sound(told) == b"\xff\xf3\xe4\xc4"
    [report] = [event for event in told if isinstance(event, UsageReport)]
    assert report.usage.output_tokens == 101
    assert report.usage.more == {"output_audio_tokens": 101}


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        DELTA,
        DELTA + b'data: {"type":"error","error":{"message":"no more"}}\n\n',
        DELTA + b"data: [DONE]\n\n",
    ],
)
def test_events_that_break_off(broken: bytes) -> None:
    decoder = opened(stream_format="sse")
    relayed(decoder, iter([broken]))
    assert decoder.error is not None


@pytest.mark.parametrize(
    "head", [b"<!doctype html>", b'{"error": "no"}', b"\x89PNG\r\n\x1a\n" + bytes(20), b""]
)
def test_events_with_something_else_in_the_place_of_sound(head: bytes) -> None:
    audio = base64.b64encode(head).decode()
    delta = orjson.dumps({"type": "speech.audio.delta", "audio": audio})
    for kind in ("mp3", "pcm"):
        decoder = opened(stream_format="sse", response_format=kind)
        out, told = relayed(decoder, iter([b"data: %b\n\n" % delta + SPOKEN]))
        assert decoder.error is not None
        assert not [event for event in told if isinstance(event, UsageReport)]
        assert b"done" not in out


def test_raw_samples_may_begin_with_any_byte() -> None:
    for first in range(256):
        samples = bytes([first, 0, first, 255]) * 40
        decoder = opened(response_format="pcm")
        assert relayed(decoder, iter([samples]))[0] == samples, first
    decoder = opened(response_format="pcm")
    relayed(decoder, iter([b'{"error": {"message": "no"}}' * 4]))
    assert decoder.error is not None


def test_an_early_end_says_what_it_took() -> None:
    decoder = opened(stream_format="sse")
    relayed(decoder, iter([DELTA]))
    event = orjson.loads(decoder.cut(Usage(input_tokens=3, output_tokens=9)).removeprefix(b"data:"))
    assert event["type"] == "speech.audio.done"
    assert event["usage"] == {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"stream_format": "sse"}, "stream_format"), ({"voice": "nobody"}, "voice"), ({"a": 1}, "a")],
)
def test_what_the_model_does_not_know_is_named(changes: dict[str, Any], field: str) -> None:
    request = parse(**changes)
    with pytest.raises(InvalidRequestError) as refused:
        CODEC.encode_verbatim(request, "tts-1", None)
    assert refused.value.param == field
    assert CODEC.encode_verbatim(request, "somebody-elses", None), "the provider judges"
