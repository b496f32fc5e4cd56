"""Which parameters a model takes, and what is said of those that it does not."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import InvalidRequestError
from engine.media_params import check_params, media_params_schema
from engine.media_schemas import Schema

SAID = {"input": "hello", "voice": "alloy"}
HEARD = {"file": "a.wav"}


@pytest.mark.parametrize(
    ("model", "document"),
    [
        ("dall-e-3", {"prompt": "a cat", "size": "1024x1792", "quality": "hd", "n": 1}),
        ("dall-e-3", {"prompt": "a cat", "stream": False, "style": None}),
        ("dall-e-2", {"image": object(), "size": "256x256", "response_format": "b64_json"}),
        ("gpt-image-1", {"prompt": "a cat", "background": "transparent", "partial_images": 3}),
        ("gpt-image-1-mini", {"prompt": "", "image": [{}, {}], "input_fidelity": "high"}),
        ("gpt-image-2", {"prompt": "a cat", "size": "3840x2160"}),
        ("tts-1", {**SAID, "speed": 4, "response_format": "opus"}),
        ("gpt-4o-mini-tts", {**SAID, "voice": {"id": "voice_1"}, "stream_format": "sse"}),
        ("whisper-1", {**HEARD, "response_format": "vtt", "temperature": 0.5}),
        ("gpt-4o-transcribe-diarize", {**HEARD, "chunking_strategy": {"type": "server_vad"}}),
        ("text-embedding-3-small", {"input": [[1, 2], [3]], "dimensions": 256}),
        ("text-embedding-ada-002", {"input": "x", "encoding_format": "base64"}),
    ],
)
def test_what_a_model_takes(model: str, document: dict[str, Any]) -> None:
    schema = media_params_schema("openai", model)
    assert schema is not None
    check_params(schema, {"model": model, **document})


@pytest.mark.parametrize(
    ("model", "document", "param", "problem"),
    [
        ("dall-e-3", {"n": 2}, "n", "'n' must be 1 at most, not 2."),
        (
            "dall-e-3",
            {"size": "256x256"},
            "size",
            "'size' must be one of '1024x1024', '1792x1024', '1024x1792', not '256x256'.",
        ),
        ("dall-e-3", {"stream": True}, "stream", "'stream' must be one of false, not true."),
        ("dall-e-2", {"prompt": "x" * 1_001}, "prompt", "1,001 characters, and 1,000 are allowed"),
        ("dall-e-2", {"style": "vivid"}, "style", "'style' is no parameter of this model; there"),
        ("gpt-image-1", {"response_format": "url"}, "response_format", "is no parameter of this"),
        ("gpt-image-1", {"quality": "hd"}, "quality", "'auto', 'low', 'medium', 'high', not 'hd'"),
        ("gpt-image-1", {"quality": 7}, "quality", "'quality' must be of the type string."),
        ("gpt-image-1", {"n": True}, "n", "'n' must be of the type integer."),
        ("gpt-image-1", {"n": 1.5}, "n", "'n' must be of the type integer."),
        ("gpt-image-1", {"output_compression": -1}, "output_compression", "must be 0 at least"),
        ("tts-1", {"input": "hello"}, "voice", "'voice' is required."),
        ("tts-1", {**SAID, "voice": "marin"}, "voice", "not 'marin'."),
        ("tts-1", {**SAID, "instructions": "softly"}, "instructions", "is no parameter"),
        ("tts-1", {**SAID, "stream_format": "sse"}, "stream_format", "must be one of 'audio', not"),
        ("tts-1", {**SAID, "speed": 4.5}, "speed", "'speed' must be 4.0 at most, not 4.5."),
        ("gpt-4o-mini-tts", {**SAID, "input": "x" * 4_097}, "input", "4,097 characters"),
        ("whisper-1", {**HEARD, "response_format": "diarized_json"}, "response_format", "'vtt'"),
        ("whisper-1", {**HEARD, "timestamp_granularities": ["line"]},
         "timestamp_granularities", "must be one of 'word', 'segment', not 'line'"),
        ("gpt-4o-transcribe", {**HEARD, "response_format": "srt"}, "response_format", "'text', "),
        ("gpt-4o-transcribe", {}, "file", "'file' is required."),
        ("text-embedding-3-small", {"input": "x", "dimensions": 0}, "dimensions", "1 at least"),
        ("text-embedding-3-small", {"input": "x", "dimensions": 1_537}, "dimensions", "1536 at"),
        ("text-embedding-ada-002", {"input": "x", "dimensions": 8}, "dimensions", "no parameter"),
        ("text-embedding-3-large", {"input": 7}, "input", "must be of the type string or array."),
    ],
)  # fmt: skip
def test_what_a_model_does_not_take_is_named(
    model: str, document: dict[str, Any], param: str, problem: str
) -> None:
    schema = media_params_schema("openai", model)
    assert schema is not None
    with pytest.raises(InvalidRequestError) as caught:
        check_params(schema, {"model": model, **document})
    assert (caught.value.param, caught.value.status) == (param, 400)
    assert problem in caught.value.message


def test_within_another_parameter() -> None:
    schema = media_params_schema("openai", "gpt-4o-audio-preview")
    assert schema is not None
    check_params(schema, {"messages": [], "modalities": ["text", "audio"]})
    with pytest.raises(InvalidRequestError) as caught:
        check_params(schema, {"audio": {"voice": "alloy", "format": "wma"}})
    assert caught.value.param == "audio.format"
    with pytest.raises(InvalidRequestError) as caught:
        check_params(schema, {"modalities": ["text", "smell"]})
    assert "'modalities' must be one of 'text', 'audio', not 'smell'" in caught.value.message


def test_a_form_holds_texts() -> None:
    """Numbers and flags are read, one value of a repeated field is a list, `[]` is no name."""
    whisper = media_params_schema("openai", "whisper-1")
    pictures = media_params_schema("openai", "gpt-image-1")
    assert whisper is not None
    assert pictures is not None
    fine = {"file": b"", "temperature": "0.5", "timestamp_granularities[]": "word"}
    check_params(whisper, {**fine, "stream": "true"}, form=True)
    check_params(pictures, {"image[]": [b"", b""], "n": "2", "prompt": "x"}, form=True)
    wrong: list[tuple[Schema, dict[str, Any], str]] = [
        (whisper, {**fine, "temperature": "warm"}, "temperature"),
        (whisper, {**fine, "timestamp_granularities[]": ["word", "x"]}, "timestamp_granularities"),
        (whisper, {**fine, "stream": "perhaps"}, "stream"),
        (pictures, {"n": "11"}, "n"),
        (pictures, {"n": "1e999"}, "n"),
        (pictures, {"n": "nan"}, "n"),
        (pictures, {"n": "1.5"}, "n"),
    ]
    for schema, document, param in wrong:
        with pytest.raises(InvalidRequestError) as caught:
            check_params(schema, document, form=True)
        assert caught.value.param == param


def test_what_is_long_is_told_in_short() -> None:
    schema = media_params_schema("openai", "dall-e-3")
    assert schema is not None
    for document in ({"x" * 9_000: 1}, {"size": "9" * 9_000}):
        with pytest.raises(InvalidRequestError) as caught:
            check_params(schema, document)
        assert len(caught.value.message) < 400


@pytest.mark.parametrize("model", ["an-own-model", "gpt-5", "gpt-4o", "omni-moderation-latest"])
def test_unknown_models_have_no_schema(model: str) -> None:
    assert media_params_schema("openai", model) is None
