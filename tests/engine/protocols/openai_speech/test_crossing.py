"""Speech of Gemini's models for clients of OpenAI's endpoint."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN, Service
from engine.errors import UpstreamError
from engine.events import Call, Event, Finish, FinishReason, MediaDelta, UsageReport
from engine.media.wav import Pcm, wav_of
from engine.protocols import gemini
from engine.protocols.codec import ClientRequest, Identity, InexpressibleError, UpstreamTarget
from engine.protocols.openai_speech import CODEC
from engine.protocols.registry import upstream_codec
from engine.usage import Usage

ASK = {"model": "m", "input": "Rivers are long.", "voice": "Kore", "response_format": "wav"}
SAMPLES = bytes(range(200)) * 5
KIND = "audio/L16;codec=pcm;rate=24000"
IDENTITY = Identity("id", "m", 0)
STOP = Finish(FinishReason.STOP)


def parse(**changes: Any) -> ClientRequest:
    return CODEC.parse_request(Call(orjson.dumps(ASK | changes), None, "openai", "speech"))


def asked(**changes: Any) -> dict[str, Any]:
    """What Gemini is asked for."""
    assert upstream_codec(CODEC.name, "gemini", frozenset()) is gemini.CODEC
    target = UpstreamTarget("gemini-tts", UNKNOWN, stream=True)
    conversation = CODEC.decode_request(parse(**changes))
    document: dict[str, Any] = orjson.loads(gemini.CODEC.encode_request(conversation, target).body)
    return document


def test_what_is_asked() -> None:
    assert asked() == {
        "contents": [{"role": "user", "parts": [{"text": "Rivers are long."}]}],
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        },
    }
    [part] = asked(instructions="Say cheerfully:")["contents"][0]["parts"]
    assert part == {"text": "Say cheerfully:\nRivers are long."}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"response_format": "mp3"}, "response_format"),
        ({"response_format": None}, "response_format"),
        ({"speed": 1.5}, "speed"),
    ],
)
def test_what_it_cannot_give(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InexpressibleError) as refused:
        CODEC.decode_request(parse(**changes))
    assert refused.value.field == field
    if field == "response_format":
        assert "'wav' or 'pcm'" in refused.value.message


def deltas(size: int, kind: str = KIND) -> list[MediaDelta]:
    pieces = [SAMPLES[at : at + size] for at in range(0, len(SAMPLES), size)]
    return [MediaDelta("audio", kind, base64.b64encode(piece).decode()) for piece in pieces]


@pytest.mark.parametrize("size", [3, 300, 10_000])
def test_samples_become_a_wav(size: int) -> None:
    encoder = CODEC.open_encoder(CODEC.answered(parse()), IDENTITY)
    events: list[Event] = [*deltas(size), STOP]
    out = b"".join(map(encoder.encode, events)) + encoder.finish()
    assert out[44:] == SAMPLES == wav_of(Pcm(), SAMPLES)[44:]
    with wave.open(io.BytesIO(out)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
    raw = CODEC.open_encoder(CODEC.answered(parse(response_format="pcm")), IDENTITY)
    assert b"".join(raw.encode(event) for event in deltas(size)) == SAMPLES


def test_events() -> None:
    encoder = CODEC.open_encoder(CODEC.answered(parse(stream_format="sse")), IDENTITY)
    report = UsageReport(Usage(input_tokens=4, output_tokens=25))
    said: list[Event] = [*deltas(400), STOP, report]
    out = b"".join(map(encoder.encode, said))
    events = [orjson.loads(line[6:]) for line in (out + encoder.finish()).split(b"\n\n") if line]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert sound[44:] == SAMPLES
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["output_tokens"] == 25


@pytest.mark.parametrize(
    "events",
    [
        [STOP],
        [Finish(FinishReason.FILTERED)],
        deltas(100, "audio/mpeg"),
        [MediaDelta("audio", KIND, "no base64")],
    ],
)
def test_what_is_no_such_sound(events: list[Any]) -> None:
    encoder = CODEC.open_encoder(CODEC.answered(parse()), IDENTITY)
    with pytest.raises(UpstreamError):
        b"".join(map(encoder.encode, events))


def chat(stream: bool = False, **config: Any) -> ClientRequest:
    """A request of a Gemini client's, to be answered in sound."""
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "nova"}}}
    document = {
        "systemInstruction": {"parts": [{"text": "Softly."}]},
        "contents": [{"role": "user", "parts": [{"text": "Rivers are long."}]}],
        "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": voice} | config,
    }
    call = Call(orjson.dumps(document), None, "gemini", model="m", stream=stream)
    return gemini.CODEC.parse_request(call)


def test_a_chat_is_read_aloud() -> None:
    serves: frozenset[Service] = frozenset({"speech"})
    assert upstream_codec("gemini", "openai", frozenset(), serves) is CODEC
    assert upstream_codec("anthropic", "openai", frozenset(), serves) is None
    target = UpstreamTarget("tts-1", UNKNOWN, stream=False)
    encoded = CODEC.encode_request(gemini.CODEC.decode_request(chat(temperature=0.5)), target)
    assert orjson.loads(encoded.body) == {
        "model": "tts-1",
        "input": "Rivers are long.",
        "voice": "nova",
        "response_format": "pcm",
        "instructions": "Softly.",
    }
    assert (encoded.operation, encoded.dropped) == ("speech", ("temperature",))
    assert encoded.demand is not None
    assert encoded.demand.flat == {"characters": 16}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"responseModalities": ["TEXT"]}, "modalities"),
        ({"responseModalities": ["TEXT", "AUDIO"]}, "modalities"),
        ({"candidateCount": 2}, "choices"),
        ({"responseMimeType": "application/json"}, "output_format"),
    ],
)
def test_what_cannot_be_read_aloud(config: dict[str, Any], field: str) -> None:
    target = UpstreamTarget("tts-1", UNKNOWN, stream=False)
    with pytest.raises(InexpressibleError) as refused:
        CODEC.encode_request(gemini.CODEC.decode_request(chat(**config)), target)
    assert refused.value.field == field


def test_the_sound_of_a_chat() -> None:
    events = CODEC.decode_response(SAMPLES)
    assert isinstance(events[-1], Finish)
    sounds = [event for event in events if isinstance(event, MediaDelta)]
    assert {sound.mime_type for sound in sounds} == {KIND}
    assert len(base64.b64decode(sounds[0].data)) % 2 == 0, "no sample is cut"
    request = gemini.CODEC.answered(chat())
    answer = orjson.loads(gemini.CODEC.encode_response(events, request, IDENTITY))
    parts = answer["candidates"][0]["content"]["parts"]
    assert b"".join(base64.b64decode(part["inlineData"]["data"]) for part in parts) == SAMPLES
    with pytest.raises(UpstreamError):
        CODEC.decode_response(b'{"error": {"message": "no"}}')
