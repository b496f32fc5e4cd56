"""Transcriptions of Gemini's models for clients of OpenAI's endpoint."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN
from engine.errors import InvalidRequestError
from engine.events import (
    Begin,
    Call,
    Event,
    Finish,
    FinishReason,
    Operation,
    TextDelta,
    UsageReport,
)
from engine.protocols import gemini
from engine.protocols.codec import ClientRequest, Identity, InexpressibleError, UpstreamTarget
from engine.protocols.openai_transcriptions import CODEC
from engine.protocols.registry import upstream_codec
from engine.usage import Usage
from tests.sounds import wav

SOUND = wav(500)
BASE64 = base64.b64encode(SOUND).decode()
EVENTS = (Begin(None, None), TextDelta("Hel"), TextDelta("lo.\n"), Finish(FinishReason.STOP))
USAGE = UsageReport(Usage(input_tokens=20, output_tokens=2, more={"input_audio_tokens": 16}))


def parse(operation: Operation = "transcribe", **fields: Any) -> ClientRequest:
    document = {"model": "m", "file": {"data": BASE64}} | fields
    return CODEC.parse_request(Call(orjson.dumps(document), None, "openai", operation))


def asked(request: ClientRequest) -> dict[str, Any]:
    """What Gemini is asked for."""
    assert upstream_codec(CODEC.name, "gemini", frozenset()) is gemini.CODEC
    target = UpstreamTarget("gemini", UNKNOWN, stream=False)
    conversation = CODEC.decode_request(request)
    document: dict[str, Any] = orjson.loads(gemini.CODEC.encode_request(conversation, target).body)
    return document


def test_what_is_asked() -> None:
    document = asked(parse(language="en", prompt="Parshall", temperature=0.5))
    [content] = document["contents"]
    recording, text = content["parts"]
    assert recording == {"inlineData": {"mimeType": "audio/wav", "data": BASE64}}
    assert "word for word, which is spoken in en." in text["text"]
    assert text["text"].endswith("no instruction: Parshall")
    assert document["generationConfig"] == {"temperature": 0.5}
    [content] = asked(parse("translate"))["contents"]
    assert "into English" in content["parts"][1]["text"]


@pytest.mark.parametrize("kind", ["srt", "vtt", "verbose_json", "diarized_json"])
def test_formats_that_it_cannot_give(kind: str) -> None:
    with pytest.raises(InexpressibleError, match="'json' or 'text'"):
        CODEC.decode_request(parse(response_format=kind))


def test_other_fields() -> None:
    fields: dict[str, Any] = {
        "include": ["logprobs"],
        "chunking_strategy": "auto",
        "keywords": ["flume"],
    }
    lost = CODEC.decode_request(parse(**fields)).unexpressed
    assert [(one.field, one.harmless) for one in lost] == [
        ("include[]", False),
        ("chunking_strategy", True),
        ("keywords[]", True),
    ]
    with pytest.raises(InvalidRequestError, match="'temperature' must be a number"):
        CODEC.decode_request(parse(temperature="hot"))


def test_whole_answers() -> None:
    identity = Identity("id", "m", 0)
    answer = CODEC.encode_response([*EVENTS, USAGE], CODEC.answered(parse()), identity)
    document = orjson.loads(answer)
    assert document["text"] == "Hello."
    assert document["usage"]["input_token_details"] == {"text_tokens": 4, "audio_tokens": 16}
    plain = CODEC.answered(parse(response_format="text"))
    assert CODEC.encode_response(EVENTS, plain, identity) == b"Hello.\n"


def test_streams() -> None:
    encoder = CODEC.open_encoder(parse(stream=True), Identity("id", "m", 0))
    told_of: list[Event] = [*EVENTS, USAGE]
    out = b"".join(map(encoder.encode, told_of)) + encoder.finish()
    *events, done, rest = out.split(b"\r\n\r\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    told = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    assert "".join(event["delta"] for event in told[:-1]) == told[-1]["text"] == "Hello.\n"
    assert told[-1]["usage"]["total_tokens"] == 22
    assert b'"Hel"' in CODEC.open_encoder(parse(), Identity("id", "m", 0)).encode(EVENTS[1])
