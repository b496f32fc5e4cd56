"""Transcriptions of the simulated provider: by OpenAI's SDK, every form, streams, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openai
import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from bench.simulate.sound_length import sound_ms
from bench.simulate.sounds import FORMATS
from bench.simulate.transcriptions import FILE_MAX_BYTES
from tests.bench.raw import Received, converse
from tests.bench.test_sdk import with_sdk
from tests.bench.uploads import form, sound, upload

PATH = "/v1/audio/transcriptions"
NEW, WHISPER, DIARIZE = "gpt-4o-transcribe", "whisper-1", "gpt-4o-transcribe-diarize"
FILE = ("a.wav", sound(12.3))


async def asked(
    parts: Sequence[tuple[str, str | bytes]], path: str = PATH, **settings: Any
) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings(**settings)) as simulator:
        received = await converse(simulator.port, upload(path, form(parts)))
        assert simulator.statistics().crashes == 0
        [record] = simulator.truth.records()
        return received, record


def parts(model: str, **more: str) -> list[tuple[str, str | bytes]]:
    return [("file", FILE[1]), ("model", model), *more.items()]


async def test_tokens_by_the_length_of_the_sound() -> None:
    def work(client: openai.OpenAI) -> Any:
        return client.audio.transcriptions.create(model=NEW, file=FILE, prompt="#sim tokens=7\n")

    answer, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert answer.text == record.text
    assert record.consumed["milliseconds"] == 12_300
    assert record.consumed["input_audio_tokens"] == 123
    assert record.consumed["output_tokens"] == 7
    assert answer.usage.type == "tokens"
    assert answer.usage.input_tokens == record.input_tokens
    assert answer.usage.input_token_details.audio_tokens == 123
    assert answer.usage.output_tokens == 7


async def test_seconds_of_whisper() -> None:
    def work(client: openai.OpenAI) -> Any:
        return client.audio.transcriptions.create(
            model=WHISPER,
            file=FILE,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            prompt="#sim tokens=25\n",
        )

    answer, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert answer.duration == 12.3
    assert "".join(segment.text for segment in answer.segments) == answer.text == record.text
    assert [word.word for word in answer.words] == answer.text.split()
    assert answer.segments[-1].end == pytest.approx(12.3)
    assert answer.usage.type == "duration"
    assert record.usage_reported == {"type": "duration", "seconds": 13}
    assert record.consumed == {"milliseconds": 12_300, "output_tokens": 25}


@pytest.mark.parametrize(
    ("form_name", "begins"),
    [
        ("text", b""),
        ("srt", b"1\n00:00:00,000 --> 00:00:06,150\n"),
        ("vtt", b"WEBVTT\n\n00:00:00."),
    ],
)
async def test_forms_that_are_no_json(form_name: str, begins: bytes) -> None:
    more = {"response_format": form_name, "prompt": "#sim tokens=20\n"}
    received, record = await asked(parts(WHISPER, **more))
    assert b"content-type: text/plain" in received.head
    assert received.body.startswith(begins)
    words = record.text.split()
    assert len(words) == 20
    assert [word for word in received.body.decode().split() if word in words] == words
    assert record.usage_reported is None


async def test_a_stream_ends_with_its_usage() -> None:
    def work(client: openai.OpenAI) -> list[Any]:
        stream = client.audio.transcriptions.create(
            model=NEW, file=FILE, stream=True, prompt="#sim tokens=7\n"
        )
        return list(stream)

    events, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert [event.type for event in events] == ["transcript.text.delta"] * 7 + [
        "transcript.text.done"
    ]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == record.text
    assert events[-1].usage.to_dict() == record.usage_reported


async def test_lines_of_a_stream_end_as_recorded() -> None:
    received, _ = await asked(parts(NEW, stream="true", prompt="#sim tokens=3\n"))
    assert received.body.count(b"\n") == received.body.count(b"\r\n") == 10
    assert received.body.endswith(b"\r\n\r\ndata: [DONE]\r\n\r\n")


async def test_whisper_ignores_that_it_is_to_stream() -> None:
    received, record = await asked(parts(WHISPER, stream="true"))
    assert orjson.loads(received.body)["text"] == record.text


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_speakers(stream: str) -> None:
    more = {"response_format": "diarized_json", "prompt": "#sim tokens=25\n"}
    received, record = await asked(parts(DIARIZE, stream=stream, **more))
    if stream == "true":
        lines = received.body.split(b"\r\n\r\n")[:-2]
        events = [orjson.loads(line[6:]) for line in lines]
        segments = [event for event in events if event["type"] == "transcript.text.segment"]
    else:
        segments = orjson.loads(received.body)["segments"]
    assert [(one["id"], one["speaker"]) for one in segments] == [
        ("seg_0", "A"),
        ("seg_1", "B"),
        ("seg_2", "A"),
    ]
    assert "".join(one["text"] for one in segments) == record.text


async def test_a_translation() -> None:
    more = parts(WHISPER, response_format="verbose_json")
    received, record = await asked(more, "/v1/audio/translations")
    answer = orjson.loads(received.body)
    assert (record.api, answer["text"]) == ("openai-translations", record.text)
    assert (answer["task"], answer["language"]) == ("translate", "english")
    assert answer["usage"] == {"type": "duration", "seconds": 13}


@pytest.mark.parametrize("kind", ["wav", "mp3"])
def test_the_length_of_what_is_spoken_here(kind: str) -> None:
    spoken = b"".join(FORMATS[kind][1](10, 3))
    assert sound_ms(memoryview(spoken)) == 1_200
    assert sound_ms(memoryview(b"ID3\x04\0\0\0\0\0\x02ab" + spoken)) == (
        1_200 if kind == "mp3" else None
    )


def test_the_length_of_other_containers() -> None:
    rate, samples = 44_100, 44_100 * 90
    bits = rate << 44 | 15 << 36 | samples
    flac = b"fLaC" + bytes(14) + bits.to_bytes(8, "big") + bytes(16)
    assert sound_ms(memoryview(flac)) == 90_000
    assert sound_ms(memoryview(b"OggS" + bytes(15_996))) == 1_000
    assert sound_ms(memoryview(b"\0\0\0\x20ftypM4A " + bytes(31_988))) == 2_000
    assert sound_ms(memoryview(b"RIFF\0\0\0\0WAVE")) is None
    assert sound_ms(memoryview(b"plain text")) is None
    assert sound_ms(memoryview(b"")) is None


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ([("model", NEW)], "Missing required parameter: 'file'."),
        ([("file", FILE[1])], "Missing required parameter: 'model'."),
        ([("file", "text"), ("model", NEW)], "expected a file"),
        ([("file", b"no sound at all"), ("model", NEW)], "Invalid file format."),
        ([("file", sound(0.05)), ("model", NEW)], "Audio file is too short."),
        ([("file", FILE[1]), *parts(NEW)], "Duplicate parameter"),
        (parts(NEW, n="2"), "Unknown parameter: 'n'."),
        (parts(NEW, stream="maybe"), "Invalid type for 'stream'"),
        (parts(NEW, temperature="2"), "Invalid 'temperature'"),
        (parts(NEW, response_format="srt"), "not compatible with model"),
        (parts(WHISPER, response_format="diarized_json"), "not compatible with model"),
        ([*parts(WHISPER), ("timestamp_granularities[]", "word")], "only available if"),
        ([("file", sound(31)), ("model", DIARIZE)], "chunking_strategy is required"),
    ],
)
async def test_refuses(sent: list[tuple[str, str | bytes]], says: str) -> None:
    received, record = await asked(sent)
    assert received.status == 400
    assert says in orjson.loads(received.body)["error"]["message"]
    assert record.consumed == {}


async def test_a_file_past_the_limit() -> None:
    received, record = await asked([("file", bytes(FILE_MAX_BYTES + 1)), ("model", NEW)])
    assert received.status == record.status == 413


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("application/json", b"{}", "Unsupported content type: 'application/json'."),
        ("multipart/form-data", b"", "no boundary"),
        ("multipart/form-data; boundary=b", b"", "does not begin with its boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nabc", "unexpected end"),
        ("multipart/form-data; boundary=b", b"--b\r\nabc\r\n--b--", "a part without headers"),
        ("multipart/form-data; boundary=b", b"--b\r\na: b\r\n\r\n\r\n--b--", "without a name"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n' * 1_001 + b"--b--",
            "more than 1000 parts",
        ),
    ],
)
async def test_refuses_broken_forms(content_type: str, body: bytes, says: str) -> None:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await converse(simulator.port, upload(PATH, body, content_type))
        assert received.status == 400
        assert says in orjson.loads(received.body)["error"]["message"]
