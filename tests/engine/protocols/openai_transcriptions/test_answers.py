"""Answers of transcriptions: whole, as text, as events; recorded ones among them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import UpstreamRejectedError
from engine.events import Event, TextDelta, UsageReport
from engine.protocols.openai_transcriptions import CODEC
from engine.protocols.openai_transcriptions.events import TranscriptEvents
from engine.usage import Usage
from tests import recordings

FOLDERS = ("openai-audio-transcriptions", "groq-audio-transcriptions")
JSON = [
    name
    for folder in (*FOLDERS, "mistral-audio-transcriptions")
    for name in recordings.names(folder, status=200)
]


def text_of(events: list[Event] | tuple[Event, ...]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def usage_of(events: list[Event] | tuple[Event, ...]) -> Usage:
    [report] = [event for event in events if isinstance(event, UsageReport)]
    return report.usage


@pytest.mark.parametrize("name", JSON)
def test_recorded_answers(name: str) -> None:
    document = orjson.loads(recordings.load(name).body)
    if "headers" in document:  # of a text, kept as an object around it
        events = CODEC.decode_plain(document["body"].encode())
        assert text_of(list(events)) == document["body"]
        return
    events = CODEC.decode_response(recordings.load(name).body)
    assert text_of(list(events)) == document["text"]
    usage = document.get("usage") or {}
    if "input_tokens" in usage:
        assert usage_of(list(events)).input_tokens == usage["input_tokens"]
        assert usage_of(list(events)).more == {"input_audio_tokens": 1}
    elif "seconds" in usage:
        assert usage_of(list(events)).more == {"milliseconds": usage["seconds"] * 1_000}
    elif "duration" in document:
        assert usage_of(list(events)).more == {"milliseconds": int(document["duration"] * 1_000)}
    elif "prompt_audio_seconds" in usage:
        assert usage_of(list(events)).more["milliseconds"] == usage["prompt_audio_seconds"] * 1_000


@pytest.mark.parametrize(
    ("usage", "more"),
    [
        ({"type": "duration", "seconds": 7}, {"milliseconds": 7_000}),
        ({"type": "duration", "seconds": 0.25}, {"milliseconds": 250}),
        ({"type": "duration", "seconds": -1}, None),
        ({"type": "duration", "seconds": True}, None),
        ({"type": "duration", "seconds": "7"}, None),
        ({"type": "duration", "seconds": 1e300}, None),
        (None, None),
    ],
)
def test_seconds(usage: Any, more: dict[str, int] | None) -> None:
    events = list(CODEC.decode_response(orjson.dumps({"text": "Hm.", "usage": usage})))
    if more is None:
        assert not [event for event in events if isinstance(event, UsageReport)]
    else:
        assert usage_of(events).more == more
        assert usage_of(events).unsaid == {"input_tokens", "output_tokens"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"text": 7}'])
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several
        CODEC.decode_response(body)


def test_text_as_it_is() -> None:
    subtitles = b"WEBVTT\n\n00:00.000 --> 00:01.000\nna\xc3\xafve\n"
    assert text_of(list(CODEC.decode_plain(subtitles))) == subtitles.decode()
    assert text_of(list(CODEC.decode_plain(b""))) == "", "silence"
    assert text_of(list(CODEC.decode_plain(b'{"text": "Hm."}'))) == "Hm.", "JSON all the same"


@pytest.mark.parametrize(
    "body",
    [b"<!DOCTYPE html><html>", b" <html>", b"\xff\xfe", b'{"error": {"message": "no"}}', b"{}"],
)
def test_what_is_no_text(body: bytes) -> None:
    with pytest.raises(UpstreamRejectedError):
        CODEC.decode_plain(body)


def event(**document: Any) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\r\n\r\n"


DELTAS = event(type="transcript.text.delta", delta="He") + event(
    type="transcript.text.delta", delta="llo."
)
USAGE = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
DONE = event(type="transcript.text.done", text="Hello.", usage=USAGE) + b"data: [DONE]\r\n\r\n"


def relayed(data: bytes, size: int) -> tuple[TranscriptEvents, bytes, list[Event]]:
    decoder, out, told = TranscriptEvents(), b"", list[Event]()
    for at in range(0, len(data), size):
        for frame in decoder.split(data[at : at + size]):
            told += decoder.decode(frame)
            out += decoder.client_frame(frame)
    told += decoder.end_of_input()
    return decoder, out + decoder.end_frame(), told


@pytest.mark.parametrize("size", [1, 5, 1_000])
@pytest.mark.parametrize("end", [DONE, DONE.replace(b"data: [DONE]\r\n\r\n", b"")])
def test_events(size: int, end: bytes) -> None:
    decoder, out, told = relayed(DELTAS + end, size)
    assert out == DELTAS + end
    assert text_of(told) == "Hello."
    assert usage_of(told).output_tokens == 3
    assert (decoder.ending, decoder.done, decoder.error) == (True, True, None)


def test_segments_say_again_what_deltas_have_said() -> None:
    segment = event(type="transcript.text.segment", text="Hello.", speaker="A", start=0, end=1)
    assert text_of(relayed(DELTAS + segment + DONE, 99)[2]) == "Hello."
    assert text_of(relayed(segment + DONE, 99)[2]) == "Hello.", "unless there are none"


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_model_without_streams_answers_at_once(size: int) -> None:
    body = orjson.dumps({"text": "Hello.", "usage": {"type": "duration", "seconds": 2}})
    decoder, out, told = relayed(body, size)
    assert out == body
    assert text_of(told) == "Hello."
    assert usage_of(told).more == {"milliseconds": 2_000}
    assert (decoder.ending, decoder.done) == (True, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DELTAS,
        DELTAS + b"data: [DONE]\r\n\r\n",
        DELTAS + event(type="error", error={"message": "no more"}),
        b'{"text": "Hel',
        b'{"error": {"message": "no"}}',
        b"<html></html>",
    ],
)
def test_what_breaks_off(data: bytes) -> None:
    try:
        decoder, out, _ = relayed(data, 100)
    except ValueError:
        return  # the relay says so
    assert decoder.error is not None
    assert out in (b"", DELTAS, DELTAS + b"data: [DONE]\r\n\r\n")


def test_an_early_end_has_what_was_said() -> None:
    decoder = TranscriptEvents()
    for frame in decoder.split(DELTAS):
        decoder.decode(frame)
    first, _, rest = decoder.cut(Usage(input_tokens=9, output_tokens=2)).partition(b"\r\n\r\n")
    done = orjson.loads(first.removeprefix(b"data: "))
    assert (done["type"], done["text"]) == ("transcript.text.done", "Hello.")
    assert done["usage"]["total_tokens"] == 11
    assert rest == b"data: [DONE]\r\n\r\n"
