"""What can be said of the media that a model generates or reads, as JSON Schema of the request's
fields, and whether a request keeps to it.

The fields are those of the provider's own protocol, which a client of that protocol sends: of a
model of one of OpenAI's other endpoints, that endpoint's (`engine.media_schemas`). Of a job they
are those of the gateway's own endpoint, whoever makes it.
Source: the providers' SDK types (`ChatCompletionAudioParam`, `ImageConfig`, `SpeechConfig`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.errors import InvalidRequestError
from engine.media_schemas import (
    EMBEDDINGS,
    IMAGES,
    SPEECH,
    TRANSCRIPTS,
    VIDEOS,
    Rows,
    Schema,
    one_of,
    schema_of,
)

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}
_SHOWN_MAX_CHARS: Final = 60


def _modalities(*values: str) -> Schema:
    return {"type": "array", "items": one_of(*values), "uniqueItems": True}


_SPOKEN: Final = schema_of(
    {
        "modalities": _modalities("text", "audio"),
        "audio": schema_of(
            {
                "voice": {
                    "type": "string",
                    "examples": ["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer"],
                },
                "format": one_of("wav", "aac", "mp3", "flac", "opus", "pcm16"),
            },
            "voice",
            "format",
        ),
    }
)
_RATIO: Final = {"aspectRatio": one_of("1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "21:9")}
_SIZE: Final = {"imageSize": one_of("1K", "2K", "4K")}


def _drawn(image_config: Mapping[str, Schema]) -> Schema:
    config = {
        "responseModalities": _modalities("TEXT", "IMAGE"),
        "imageConfig": schema_of(image_config),
    }
    return schema_of({"generationConfig": schema_of(config)})


_VOICE: Final = schema_of(
    {"prebuiltVoiceConfig": schema_of({"voiceName": {"type": "string"}}, "voiceName")}
)
_READ_ALOUD: Final = schema_of(
    {
        "generationConfig": schema_of(
            {
                "responseModalities": _modalities("AUDIO"),
                "speechConfig": schema_of(
                    {"voiceConfig": _VOICE, "languageCode": {"type": "string"}}
                ),
            },
            "responseModalities",
        )
    },
    "generationConfig",
)

_TABLE: Final[Mapping[str, Rows]] = {
    "openai": (
        (re.compile(r"gpt-4o(-mini)?-audio|gpt-audio"), _SPOKEN),
        *IMAGES,
        *SPEECH,
        *TRANSCRIPTS,
        *EMBEDDINGS,
    ),
    "gemini": (
        (re.compile(r"gemini-2.*-image"), _drawn(_RATIO)),
        (re.compile(r"gemini-.*-image|nano-banana"), _drawn(_RATIO | _SIZE)),
        (re.compile(r"gemini-.*-tts"), _READ_ALOUD),
    ),
}


def media_params_schema(provider_protocol: str, upstream_model: str) -> Schema | None:
    """The schema of a model's parameters; None for one that only chats, or is unknown.

    >>> media_params_schema("openai", "gpt-5") is None
    True
    """
    rows = (*_TABLE.get(provider_protocol, ()), *VIDEOS)
    return _schema_in(rows, upstream_model)


def job_params_schema(upstream_model: str) -> Schema | None:
    """The schema of what a job may be asked for; None for a model that is not known.

    >>> job_params_schema("sora-2")["properties"]["seconds"]["default"]
    4
    """
    return _schema_in(VIDEOS, upstream_model)


def _schema_in(rows: Rows, upstream_model: str) -> Schema | None:
    name = upstream_model.lower().rpartition("/")[2]
    return next((schema for pattern, schema in rows if pattern.match(name)), None)


def check_params(schema: Schema, document: Mapping[str, Any], *, form: bool = False) -> None:
    """Refuse a request that is outside a schema: by its first such parameter, and what is allowed.

    A parameter that is null counts as left out. Of a schema these words count: `type`, `enum`,
    `minimum`, `maximum`, `maxLength`, `items`, `properties`, `required`, `additionalProperties`
    (false) and `anyOf`.

    Args:
        form: the values are texts of a form, where a list is a repeated field and may be of one
            value, and a name may end in `[]`.

    Raises:
        InvalidRequestError: `param` is the parameter (`audio.format` within another).

    >>> check_params(media_params_schema("openai", "dall-e-3"), {"prompt": "a cat", "n": 2})
    Traceback (most recent call last):
    ...
    engine.errors.InvalidRequestError: 'n' must be 1 at most, not 2.
    """
    if form:
        document = {name.removesuffix("[]"): value for name, value in document.items()}
    _check_object(schema, document, "", form=form)


def _check_object(schema: Schema, value: Mapping[str, Any], path: str, *, form: bool) -> None:
    properties = schema.get("properties", {})
    for name, each in value.items():
        if each is None:
            continue
        if name in properties:
            _check(properties[name], each, f"{path}{name}", form=form)
        elif schema.get("additionalProperties") is False:
            allowed = ", ".join(f"'{known}'" for known in properties)
            raise _refusal(f"{path}{name}", f"is no parameter of this model; there are {allowed}.")
    for name in schema.get("required", ()):
        if value.get(name) is None:
            raise _refusal(f"{path}{name}", "is required.")


def _check(schema: Schema, value: Any, path: str, *, form: bool) -> None:
    if (ways := schema.get("anyOf")) is not None:
        _check_any(ways, value, path, form=form)
        return
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if form:
            value = _read(kinds, value)
        if not any(_is(kind, value) for kind in kinds):
            raise _refusal(path, f"must be of the type {' or '.join(kinds)}.")
    if (words := schema.get("enum")) is not None and value not in words:
        allowed = ", ".join(_shown(word) for word in words)
        raise _refusal(path, f"must be one of {allowed}, not {_shown(value)}.")
    if "minimum" in schema and value < schema["minimum"]:
        raise _refusal(path, f"must be {schema['minimum']} at least, not {_shown(value)}.")
    if "maximum" in schema and value > schema["maximum"]:
        raise _refusal(path, f"must be {schema['maximum']} at most, not {_shown(value)}.")
    if (longest := schema.get("maxLength")) is not None and len(value) > longest:
        raise _refusal(path, f"has {len(value):,} characters, and {longest:,} are allowed.")
    if isinstance(value, list) and "items" in schema:
        for each in value:
            _check(schema["items"], each, path, form=form)
    if isinstance(value, dict):
        _check_object(schema, value, f"{path}.", form=form)


def _check_any(ways: Sequence[Schema], value: Any, path: str, *, form: bool) -> None:
    """One way will do; what is wrong is said of the first."""
    first: InvalidRequestError | None = None
    for way in ways:
        try:
            _check(way, value, path, form=form)
        except InvalidRequestError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _is(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and kind == "integer":
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _read(kinds: Sequence[str], value: Any) -> Any:
    """A form's text, as what is expected of it; else as it is."""
    if "array" in kinds and not isinstance(value, list):
        return [value]
    if not isinstance(value, str):
        return value
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(value.lower(), value)
    if "integer" in kinds or "number" in kinds:
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if number.is_integer() else number
    if "object" in kinds and "string" not in kinds and value.startswith("{"):
        return {}  # JSON within a form: its provider reads it
    return value


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= _SHOWN_MAX_CHARS else f"{text[:_SHOWN_MAX_CHARS]}…"


def _refusal(path: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"'{path[:100]}' {problem}", param=path[:100])
