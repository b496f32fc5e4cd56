"""What can be asked of models of images, speech, transcripts and embeddings, as JSON Schema of the
fields of OpenAI's endpoints; of models of videos those of `/v1/videos/generations`.

Sources: the SDK's types (`ImageGenerateParams`, `ImageEditParams`, `SpeechCreateParams`,
`TranscriptionCreateParams`, `EmbeddingCreateParams`), OpenAI's pages of its models, and the errors
of recorded traffic (`response_format` of gpt-image-* is an unknown parameter). Edits and variations
of images, and translations, have the fields of their model's schema too; a form's `image[]` is
`image` here. Of videos: `VideoSeconds` and `VideoSize` of OpenAI's SDK, Google's page of Veo in the
Gemini API, xAI's API reference. Only `default` and the words of
`engine.media_params.check_params` are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]
Rows = tuple[tuple[re.Pattern[str], Schema], ...]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
_NO: Final[Schema] = {"type": "boolean", "enum": [False]}
_ANY: Final[Schema] = {}
_OBJECT: Final[Schema] = {"type": "object"}


def schema_of(properties: Mapping[str, Schema], *required: str, closed: bool = False) -> Schema:
    """An object; `closed`: it has these fields alone."""
    return {
        "type": "object",
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
        **({"additionalProperties": False} if closed else {}),
    }


def one_of(*values: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(values)}


def texts(*values: str) -> Schema:
    """A list of texts, of these words if any are given."""
    return {"type": "array", "items": one_of(*values) if values else TEXT}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _number(least: float, most: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most}


# ---- images --------------------------------------------------------------------------------------


def _image(prompt_max_chars: int, **fields: Schema) -> Schema:
    usual = {
        "model": TEXT,
        "prompt": {"type": "string", "maxLength": prompt_max_chars},
        "user": TEXT,
    }
    return schema_of(usual | fields, closed=True)


_EDITED: Final[Mapping[str, Schema]] = {"image": _ANY, "mask": _ANY}
_GPT_IMAGE: Final[Mapping[str, Schema]] = {
    **_EDITED,
    "images": {"type": "array"},
    "n": _whole(1, 10),
    "quality": one_of("auto", "low", "medium", "high"),
    "background": one_of("auto", "transparent", "opaque"),
    "output_format": one_of("png", "jpeg", "webp"),
    "output_compression": _whole(0, 100),
    "moderation": one_of("auto", "low"),
    "input_fidelity": one_of("low", "high"),
    "partial_images": _whole(0, 3),
    "stream": FLAG,
    "safety_identifier": TEXT,
}
_GPT_IMAGE_LATER: Final[Mapping[str, Schema]] = {
    **_GPT_IMAGE,
    "quality": one_of("auto", "low", "medium", "high", "xhigh", "max"),
    "output_format": one_of("png", "jpeg", "webp", "gif"),
    "complexity": one_of("low", "medium", "high"),
    "frame_count": _whole(2, 16),
    "frame_duration_ms": _whole(0, 655_350),
    "markup": _ANY,
    "size": TEXT,  # of one's own
}
_URL: Final = one_of("url", "b64_json")

IMAGES: Final[Rows] = (
    (
        re.compile(r"gpt-image-1"),
        _image(32_000, **_GPT_IMAGE, size=one_of("auto", "1024x1024", "1536x1024", "1024x1536")),
    ),
    (re.compile(r"(gpt|chatgpt)-image"), _image(32_000, **_GPT_IMAGE_LATER)),
    (
        re.compile(r"dall-e-3"),
        _image(
            4_000,
            n=_whole(1, 1),
            size=one_of("1024x1024", "1792x1024", "1024x1792"),
            quality=one_of("auto", "standard", "hd"),
            style=one_of("vivid", "natural"),
            response_format=_URL,
            stream=_NO,
        ),
    ),
    (
        re.compile(r"dall-e-2"),
        _image(
            1_000,
            **_EDITED,
            n=_whole(1, 10),
            size=one_of("256x256", "512x512", "1024x1024"),
            quality=one_of("auto", "standard"),
            response_format=_URL,
            stream=_NO,
        ),
    ),
)

# ---- speech --------------------------------------------------------------------------------------

_VOICES: Final = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")


def _speech(*voices: str, **fields: Schema) -> Schema:
    usual = {
        "model": TEXT,
        "input": {"type": "string", "maxLength": 4_096},
        "voice": {"anyOf": [one_of(*voices), _OBJECT]},
        "response_format": one_of("mp3", "opus", "aac", "flac", "wav", "pcm"),
        "speed": _number(0.25, 4.0),
    }
    return schema_of(usual | fields, "input", "voice", closed=True)


SPEECH: Final[Rows] = (
    (re.compile(r"tts-1"), _speech(*_VOICES, stream_format=one_of("audio"))),
    (
        re.compile(r"gpt-4o-mini-tts"),
        _speech(
            *sorted((*_VOICES, "ballad", "cedar", "marin", "verse")),
            instructions={"type": "string", "maxLength": 4_096},
            stream_format=one_of("audio", "sse"),
        ),
    ),
)

# ---- transcripts ---------------------------------------------------------------------------------


def _transcript(*formats: str, **fields: Schema) -> Schema:
    usual = {
        "model": TEXT,
        "file": _ANY,
        "language": TEXT,
        "languages": texts(),
        "response_format": one_of(*formats),
        "temperature": _number(0, 1),
        "chunking_strategy": {"anyOf": [TEXT, _OBJECT]},
        "stream": FLAG,
    }
    return schema_of(usual | fields, "file", closed=True)


_WORDS_OR_SEGMENTS: Final = texts("word", "segment")
_LOGPROBS: Final = texts("logprobs")

TRANSCRIPTS: Final[Rows] = (
    (
        re.compile(r"gpt-4o-transcribe-diarize"),
        _transcript(
            "json",
            "text",
            "diarized_json",
            known_speaker_names=texts(),
            known_speaker_references=texts(),
        ),
    ),
    (
        re.compile(r"gpt-4o(-mini)?-transcribe"),
        _transcript(
            "json",
            "text",
            prompt=TEXT,
            keywords=texts(),
            include=_LOGPROBS,
            timestamp_granularities=_WORDS_OR_SEGMENTS,
        ),
    ),
    (
        re.compile(r"whisper-1"),
        _transcript(
            "json",
            "text",
            "srt",
            "verbose_json",
            "vtt",
            prompt=TEXT,
            timestamp_granularities=_WORDS_OR_SEGMENTS,
        ),
    ),
)

# ---- embeddings ----------------------------------------------------------------------------------


def _embedding(dimensions_max: int | None = None) -> Schema:
    usual: dict[str, Schema] = {
        "model": TEXT,
        "input": {"type": ["string", "array"]},
        "encoding_format": one_of("float", "base64"),
        "user": TEXT,
    }
    if dimensions_max is not None:
        usual["dimensions"] = _whole(1, dimensions_max)
    return schema_of(usual, "input", closed=True)


EMBEDDINGS: Final[Rows] = (
    (re.compile(r"text-embedding-3-small"), _embedding(1_536)),
    (re.compile(r"text-embedding-3-large"), _embedding(3_072)),
    (re.compile(r"text-embedding-ada-002"), _embedding()),
)


# ---- videos --------------------------------------------------------------------------------------


def _video(seconds: Schema, **fields: Schema) -> Schema:
    usual = {"model": TEXT, "prompt": TEXT, "image": {"type": ["string", "object"]}}
    return schema_of(usual | {"seconds": seconds} | fields)


def _lengths(default: int, *values: int) -> Schema:
    return {"type": "integer", "enum": list(values), "default": default}


def _choice(default: str, *others: str) -> Schema:
    return {**one_of(default, *others), "default": default}


_ONE: Final = _whole(1, 1)
_SORA: Final = _lengths(4, 4, 8, 12)
_WIDE_OR_HIGH: Final = _choice("16:9", "9:16")
_RATIOS: Final = ("4:3", "1:1", "9:16", "3:4", "3:2", "2:3")

VIDEOS: Final[Rows] = (
    (
        re.compile(r"sora-2-pro"),
        _video(_SORA, size=_choice("720x1280", "1280x720", "1024x1792", "1792x1024"), n=_ONE),
    ),
    (re.compile(r"sora-"), _video(_SORA, size=_choice("720x1280", "1280x720"), n=_ONE)),
    (
        re.compile(r"veo-3\.1"),
        _video(
            _lengths(8, 4, 6, 8),
            aspect_ratio=_WIDE_OR_HIGH,
            resolution=_choice("720p", "1080p", "4k"),
            n=_whole(1, 4),
        ),
    ),
    (
        re.compile(r"veo-3"),
        _video(
            _lengths(8, 4, 6, 8),
            aspect_ratio=_WIDE_OR_HIGH,
            resolution=_choice("720p", "1080p"),
            n=_whole(1, 4),
        ),
    ),
    (
        re.compile(r"veo-2"),
        _video(_lengths(8, 5, 6, 7, 8), aspect_ratio=_WIDE_OR_HIGH, n=_whole(1, 4)),
    ),
    (
        re.compile(r"grok-imagine-video"),
        _video(
            {**_whole(1, 15), "default": 8},
            aspect_ratio=_choice("16:9", *_RATIOS),
            resolution=_choice("480p", "720p", "1080p"),
            n=_ONE,
        ),
    ),
)
