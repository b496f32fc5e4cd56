"""What can be said of the media that a model generates, as JSON Schema of the request's fields.

The fields are those of the provider's own protocol, which a client of that protocol sends.
Source: the providers' SDK types (`ChatCompletionAudioParam`, `ImageConfig`, `SpeechConfig`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]


def _object(properties: Mapping[str, Schema], *required: str) -> Schema:
    named = {"required": list(required)} if required else {}
    return {"type": "object", "properties": dict(properties), **named}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _modalities(*values: str) -> Schema:
    return {"type": "array", "items": _one_of(*values), "uniqueItems": True}


_SPOKEN: Final = _object(
    {
        "modalities": _modalities("text", "audio"),
        "audio": _object(
            {
                "voice": {
                    "type": "string",
                    "examples": ["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer"],
                },
                "format": _one_of("wav", "aac", "mp3", "flac", "opus", "pcm16"),
            },
            "voice",
            "format",
        ),
    }
)
_RATIO: Final = {"aspectRatio": _one_of("1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "21:9")}
_SIZE: Final = {"imageSize": _one_of("1K", "2K", "4K")}


def _drawn(image_config: Mapping[str, Schema]) -> Schema:
    config = {
        "responseModalities": _modalities("TEXT", "IMAGE"),
        "imageConfig": _object(image_config),
    }
    return _object({"generationConfig": _object(config)})


_VOICE: Final = _object(
    {"prebuiltVoiceConfig": _object({"voiceName": {"type": "string"}}, "voiceName")}
)
_READ_ALOUD: Final = _object(
    {
        "generationConfig": _object(
            {
                "responseModalities": _modalities("AUDIO"),
                "speechConfig": _object(
                    {"voiceConfig": _VOICE, "languageCode": {"type": "string"}}
                ),
            },
            "responseModalities",
        )
    },
    "generationConfig",
)

_TABLE: Final[Mapping[str, tuple[tuple[re.Pattern[str], Schema], ...]]] = {
    "openai": ((re.compile(r"gpt-4o(-mini)?-audio|gpt-audio"), _SPOKEN),),
    "gemini": (
        (re.compile(r"gemini-2.*-image"), _drawn(_RATIO)),
        (re.compile(r"gemini-.*-image|nano-banana"), _drawn(_RATIO | _SIZE)),
        (re.compile(r"gemini-.*-tts"), _READ_ALOUD),
    ),
}


def media_params_schema(provider_protocol: str, upstream_model: str) -> Schema | None:
    """The schema of a model's parameters; None for one that generates no media, or is unknown.

    >>> media_params_schema("openai", "gpt-5") is None
    True
    """
    name = upstream_model.lower().rpartition("/")[2]
    rows = _TABLE.get(provider_protocol, ())
    return next((schema for pattern, schema in rows if pattern.match(name)), None)
