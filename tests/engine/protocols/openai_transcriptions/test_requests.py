"""Recordings as clients send them, and as they go on."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from engine.errors import InvalidRequestError
from engine.events import Call, Operation
from engine.media.forms import Field, File, Form, parse_form, write_form
from engine.protocols.codec import ClientRequest, HeldIdError
from engine.protocols.openai_transcriptions import CODEC
from engine.protocols.registry import client_codec, upstream_codec
from tests.sounds import wav

SOUND = wav(1_500)
BASE64 = base64.b64encode(SOUND).decode()
RECORDING = File("file", "speech.wav", "audio/wav", memoryview(SOUND))
Part = tuple[str, str] | File


def parse_parts(
    *parts: Part, operation: Operation = "transcribe", file: File | None = RECORDING
) -> ClientRequest:
    form = [part if isinstance(part, File) else Field(*part) for part in parts]
    content_type, pieces = write_form([*form, *([] if file is None else [file])])
    return parse(b"".join(pieces), content_type, operation)


def parse(body: bytes, content_type: str, operation: Operation = "transcribe") -> ClientRequest:
    call = Call(body, None, "openai", operation, content_type=content_type)
    codec = client_codec(call.protocol, call.operation)
    assert codec is CODEC
    return codec.parse_request(call)


def parse_json(**document: Any) -> ClientRequest:
    return parse(orjson.dumps({"model": "whisper-1"} | document), "application/json")


def sent(request: ClientRequest) -> Form:
    """What goes on, as its reader reads it."""
    body = CODEC.encode_verbatim(request, "upstream", None)
    return parse_form(request.content_type, body)


ALL_FIELDS: tuple[Part, ...] = (
    ("model", "gpt-4o-transcribe-diarize"),
    ("language", "en"),
    ("prompt", "naïve “words”"),
    ("response_format", "diarized_json"),
    ("temperature", "0.2"),
    ("timestamp_granularities[]", "word"),
    ("timestamp_granularities[]", "segment"),
    ("include[]", "logprobs"),
    ("chunking_strategy[type]", "server_vad"),
    ("known_speaker_names[]", "ann"),
    ("known_speaker_references[]", "data:audio/wav;base64,AAAA"),
    ("keywords[]", "flume"),
    ("languages[]", "en"),
    ("a_provider's_own", "kept"),
)


def test_every_field_goes_on_and_the_file_to_the_byte() -> None:
    request = parse_parts(*ALL_FIELDS)
    form = sent(request)
    texts = [(part.name, part.value) for part in form.parts if isinstance(part, Field)]
    assert texts == [("model", "upstream"), *ALL_FIELDS[1:]]
    [file] = form.files("file")
    assert (file.filename, file.content_type) == ("speech.wav", "audio/wav")
    assert bytes(file.data) == SOUND
    assert list(CODEC.prompt_texts(request)) == ["naïve “words”", "flume"]


@pytest.mark.parametrize(
    ("operation", "path"),
    [("transcribe", "/audio/transcriptions"), ("translate", "/audio/translations")],
)
def test_where_it_goes(operation: Operation, path: str) -> None:
    request = parse_parts(("model", "whisper-1"), operation=operation)
    assert request.model == "whisper-1"
    assert CODEC.path("whisper-1", request.operation, stream=False, array=False) == path
    assert upstream_codec(CODEC.name, "openai", frozenset()) is CODEC
    assert upstream_codec(CODEC.name, "anthropic", frozenset()) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("file_id", HeldIdError),
        ("file_id[]", HeldIdError),
        ("file_url", InvalidRequestError),
        ("url", InvalidRequestError),
        ("URL", InvalidRequestError),
    ],
)
def test_no_other_recording_is_named(name: str, kind: type[InvalidRequestError]) -> None:
    """It would be transcribed in place of the one that was measured."""
    with pytest.raises(kind) as refused:
        parse_parts(("model", "voxtral-mini-latest"), (name, "https://example.com/hours.mp3"))
    assert refused.value.param == name
    with pytest.raises(kind):
        parse_json(file={"data": BASE64}, **{name: "https://example.com/hours.mp3"})


@pytest.mark.parametrize(
    "document",
    [
        {"file": f"data:audio/wav;base64,{BASE64}"},
        {"file": {"data": BASE64, "filename": "recording.wav"}},
        {"file": {"data": BASE64}},
        {"file": {"data": f"data:audio/wav;base64,{BASE64}"}},
        {"input_audio": {"data": BASE64, "format": "wav"}},
    ],
)
def test_json_becomes_a_form(document: dict[str, Any]) -> None:
    request = parse_json(
        **document,
        temperature=0.5,
        timestamp_granularities=["word"],
        chunking_strategy={"type": "server_vad", "threshold": 0.4},
        language=None,
    )
    form = sent(request)
    [file] = form.files("file")
    assert bytes(file.data) == SOUND
    assert file.filename == "recording.wav", "providers tell what it is by its name"
    texts = [(part.name, part.value) for part in form.parts if isinstance(part, Field)]
    assert texts == [
        ("model", "upstream"),
        ("temperature", "0.5"),
        ("timestamp_granularities[]", "word"),
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[threshold]", "0.4"),
    ]


def test_a_name_is_never_a_path() -> None:
    request = parse_json(file={"data": BASE64, "filename": "../../etc/x.wav"})
    assert sent(request).files("file")[0].filename == "x.wav"
    named = File("file", "../x.wav", None, memoryview(SOUND))
    request = parse_parts(("model", "m"), file=named)
    assert sent(request).files("file")[0].filename == "x.wav"


@pytest.mark.parametrize(
    ("kind", "stream", "answer_type"),
    [
        ("json", "false", None),
        ("verbose_json", "False", None),
        ("diarized_json", "false", None),
        ("text", "false", "text/plain; charset=utf-8"),
        ("srt", "false", "text/plain; charset=utf-8"),
        ("vtt", "0", "text/plain; charset=utf-8"),
        ("text", "true", None),
    ],
)
def test_what_the_answer_is_to_be(kind: str, stream: str, answer_type: str | None) -> None:
    request = parse_parts(("model", "m"), ("response_format", kind), ("stream", stream))
    assert request.answer_type == answer_type
    assert request.stream is (stream == "true")


def test_translations_are_no_streams() -> None:
    assert not parse_parts(("model", "m"), ("stream", "true"), operation="translate").stream


def test_it_is_measured() -> None:
    request = parse_parts(("model", "m"), ("prompt", "x" * 400))
    demand = request.demand
    assert demand is not None
    assert demand.flat == {"milliseconds": 1_500}
    assert demand.pieces["milliseconds"] >= 10_000, "providers have a least"
    assert demand.input_tokens > 400
    assert demand.expected_input_tokens == 100 + 2 * 10
    assert CODEC.answered(request).document == {}, "nothing of the recording is kept"


NO_SOUND = File("file", "a.wav", "audio/wav", memoryview(b"RIFF but not audio"))
TWO = File("other", "a.wav", "audio/wav", memoryview(SOUND))


@pytest.mark.parametrize(
    ("parts", "file", "param"),
    [
        ((), RECORDING, "model"),
        ((("model", "m"),), None, "file"),
        ((("model", "m"), ("file", "text")), None, "file"),
        ((("model", "m"),), NO_SOUND, "file"),
        ((("model", "m"),), File("file", "a.wav", None, memoryview(b"")), "file"),
        ((("model", "m"), RECORDING), RECORDING, "file"),
        ((("model", "m"), TWO), RECORDING, "other"),
        ((("model", "m"), ("model", "n")), RECORDING, "model"),
        ((("model", "m"), ("response_format", "docx")), RECORDING, "response_format"),
        ((("model", "m"), ("stream", "maybe")), RECORDING, "stream"),
    ],
)
def test_what_is_refused(parts: tuple[Part, ...], file: File | None, param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_parts(*parts, file=file)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({}, "file"),
        ({"file": "data:audio/wav,plain"}, "file"),
        ({"file": "not base64!"}, "file"),
        ({"file": 7}, "file"),
        ({"file": {"data": BASE64}, "include": [{"no": "text"}]}, "include"),
        ({"file": {"data": BASE64}, "stream": "yes"}, "stream"),
        ({"file": {"data": base64.b64encode(b"a text").decode()}}, "file"),
    ],
)
def test_what_is_refused_of_json(document: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_json(**document)
    assert refused.value.param == param


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/mixed; boundary=x"])
def test_what_is_neither_form_nor_json(content_type: str) -> None:
    with pytest.raises(InvalidRequestError, match="JSON"):
        parse(b"--x--", content_type)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (("response_format", "diarized_json"), "response_format"),
        (("temperature", "7"), "temperature"),
        (("known_speaker_names[]", "ann"), "known_speaker_names"),
        (("another", "1"), "another"),
    ],
)
def test_what_the_model_does_not_know_is_named(part: Part, field: str) -> None:
    request = parse_parts(("model", "m"), part)
    with pytest.raises(InvalidRequestError) as refused:
        CODEC.encode_verbatim(request, "whisper-1", None)
    assert refused.value.param == field
    assert CODEC.encode_verbatim(request, "somebody-elses", None), "the provider judges"
