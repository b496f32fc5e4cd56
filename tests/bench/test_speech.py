"""Text to speech of the simulated provider: by OpenAI's SDK, the bytes it sends, its faults."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import openai
import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received, converse, post
from tests.bench.test_sdk import with_sdk

ASK = {"model": "tts-1", "input": "Rivers are long.", "voice": "alloy"}
"""16 characters: 960 ms, 8 stretches."""


async def asked(**more: Any) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        data = post(ASK | more, path="/v1/audio/speech", more="connection: close\r\n")
        received = await converse(simulator.port, data)
        assert simulator.statistics().crashes == 0
        [record] = simulator.truth.records()
        return received, record


def mp3_frames(data: bytes) -> int:
    """Frames of MPEG-2 layer III of 32 kbit/s at 24 kHz, of which there is nothing else."""
    assert len(data) % 96 == 0
    for start in range(0, len(data), 96):
        assert data[start : start + 4] == b"\xff\xf3\x44\xc0"
    return len(data) // 96


async def test_sound_of_a_length_that_decoders_find() -> None:
    def work(client: openai.OpenAI) -> list[bytes]:
        create = client.audio.speech.create
        kinds: list[Any] = ["mp3", "wav", "pcm"]
        return [
            create(model="tts-1", input=ASK["input"], voice="alloy", response_format=kind).content
            for kind in kinds
        ]

    (mp3, wav, pcm), simulator = await with_sdk(work)
    assert mp3_frames(mp3) * 24 == 960
    with wave.open(io.BytesIO(wav)) as opened:
        assert opened.getnframes() / opened.getframerate() == 0.96
        assert len(opened.readframes(100_000)) == len(pcm) == 24_000 * 2 * 0.96
    for record in simulator.truth.records():
        assert record.consumed["characters"] == 16
        assert record.consumed["milliseconds"] == 960
        assert "input_tokens" not in record.consumed
        assert record.usage_reported is None


async def test_the_same_text_sounds_the_same_and_another_does_not() -> None:
    first, _ = await asked(response_format="wav")
    again, _ = await asked(response_format="wav")
    other, _ = await asked(response_format="wav", input="Rivers are long?")
    assert b"content-type: audio/wav" in first.head
    assert first.body == again.body != other.body


async def test_events_with_usage() -> None:
    received, record = await asked(model="gpt-4o-mini-tts", stream_format="sse")
    events = [orjson.loads(line[6:]) for line in received.body.split(b"\n\n") if line]
    assert [event["type"] for event in events] == ["speech.audio.delta"] * 8 + ["speech.audio.done"]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert mp3_frames(sound) == 40
    assert events[-1]["usage"] == record.usage_reported
    assert record.usage_reported == {"input_tokens": 5, "output_tokens": 24, "total_tokens": 29}
    assert record.consumed == {
        "input_tokens": 5,
        "output_tokens": 24,
        "output_audio_tokens": 24,
        "characters": 16,
        "milliseconds": 960,
    }


async def test_what_was_made_of_it_when_it_is_cut() -> None:
    received, record = await asked(input="#sim media_ms=2400 cut_after=5\nRivers.")
    assert not received.terminated
    assert mp3_frames(received.body) == 25
    assert (record.ended, record.consumed["milliseconds"]) == ("cut", 600)


@pytest.mark.parametrize(
    ("media", "frames"), [("media=half media_ms=1200", 25), ("media=empty", 0)]
)
async def test_sound_that_is_not_all_there(media: str, frames: int) -> None:
    received, _ = await asked(input=f"#sim {media}\nRivers.")
    assert received.terminated
    assert mp3_frames(received.body) == frames


async def test_a_page_in_the_place_of_sound() -> None:
    received, _ = await asked(input="#sim media=html\nRivers.")
    assert b"content-type: audio/mpeg" in received.head
    assert received.body.startswith(b"<!DOCTYPE html>")


async def test_too_much_of_it() -> None:
    received, _ = await asked(input="#sim media_ms=120 answer_bytes=3000000\nRivers.")
    assert len(received.body) == 3_000_000
    assert mp3_frames(received.body[:480]) == 5


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"voice": None}, "voice"),
        ({"voice": "bob"}, "voice"),
        ({"voice": {"name": "bob"}}, "voice.id"),
        ({"input": ""}, "input"),
        ({"input": "a" * 4_097}, "input"),
        ({"speed": 5}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"response_format": "aac"}, "response_format"),
        ({"stream_format": "sse"}, "stream_format"),
        ({"stream": True}, "stream"),
    ],
)
async def test_refuses(more: dict[str, Any], param: str) -> None:
    received, record = await asked(**more)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["param"] == param
    assert record.consumed == {}


async def test_a_status_before_any_sound() -> None:
    def work(client: openai.OpenAI) -> str:
        with pytest.raises(openai.RateLimitError) as caught:
            client.audio.speech.create(model="tts-1", input="#sim status=429\nHi.", voice="alloy")
        return str(caught.value.code)

    code, simulator = await with_sdk(work)
    assert code == "rate_limit_exceeded"
    assert simulator.truth.records()[0].consumed == {}
