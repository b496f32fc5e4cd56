"""The request as a client sends it, a form or JSON with the recording in base64, and as it goes on.

JSON has the fields of the form. Its `file` is a data URL, or an object with `data` in base64 and
maybe a `filename`; or it has `input_audio`, as a message of a chat does: `data` and a `format`.
What goes on is always a form, whose file is the same to the byte. A recording that lies elsewhere
(Mistral's `file_id` and `file_url`, Groq's `url`) is refused: nobody has measured it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from engine.errors import InvalidRequestError
from engine.events import Call
from engine.media.forms import Field, File, parse_form
from engine.media.sniff import kind_of
from engine.protocols.codec import HeldIdError
from engine.protocols.fields import load_request, text_of
from engine.protocols.uploads import first_word, has_form

FILE: Final = "file"
_LISTS: Final = frozenset(
    {
        "include", "keywords", "known_speaker_names", "known_speaker_references", "languages",
        "timestamp_granularities",
    }
)  # fmt: skip
"""Fields that there may be several of, with `[]` behind their names or without."""
_ELSEWHERE: Final = frozenset({"file_uri", "file_url", "url"})
_ENDINGS: Final[Mapping[str, str]] = {
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/webm": "webm",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
    "video/quicktime": "mp4",
    "video/webm": "webm",
}
"""Providers tell a recording's kind by the name of its file."""


def read_upload(call: Call) -> dict[str, Any]:
    """The fields by their names: texts, lists of texts, and under `file` the recording.

    Raises:
        InvalidRequestError: it is no form or object of this kind, there is no recording, or another
            one elsewhere.
        HeldIdError: that one lives at the provider.
    """
    document = _read_form(call) if has_form(call) else _read_object(call)
    for name in document:
        word = first_word(name)
        if word == "file_id":
            raise HeldIdError(name)
        if word in _ELSEWHERE:
            raise InvalidRequestError(
                f"'{name}' names a recording that lies elsewhere; send it as 'file'.", param=name
            )
    file = document.get(FILE)
    if not isinstance(file, File) or not file.data:
        raise InvalidRequestError("You must send a recording as 'file'.", param=FILE)
    if not file.filename:
        ending = _ENDINGS.get(kind_of(file.data) or "", "bin")
        document[FILE] = File(FILE, f"recording.{ending}", file.content_type, file.data)
    return document


def parts_of(document: Mapping[str, Any]) -> Iterator[Field | File]:
    """The parts of the form that goes on."""
    for name, value in document.items():
        if isinstance(value, list):
            yield from (Field(name, item) for item in value)
        else:
            yield value if isinstance(value, File) else Field(name, value)


def _read_form(call: Call) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for part in parse_form(call.content_type, call.body).parts:
        name = part.name
        if isinstance(part, File):
            if name != FILE:
                raise InvalidRequestError(f"'{name}' is a file; only 'file' may be.", param=name)
            value: str | File = part
        else:
            value = part.value
        if name.removesuffix("[]") in _LISTS or name.endswith("[]"):
            document.setdefault(name, []).append(value)
        elif name in document:
            raise InvalidRequestError(f"'{name}' is there twice.", param=name)
        else:
            document[name] = value
    return document


def _read_object(call: Call) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in load_request(call.body).items():
        if name in (FILE, "input_audio"):
            document[FILE] = _file_of(value, name)
        elif isinstance(value, list):
            listed = name if name.endswith("[]") else f"{name}[]"
            document[listed] = [_text_of(item, name) for item in value]
        elif isinstance(value, dict):
            for key, item in value.items():
                document[f"{name}[{key}]"] = _text_of(item, name)
        elif value is not None:
            document[name] = _text_of(value, name)
    return document


def _text_of(value: object, name: str) -> str:
    """A JSON value as a field of a form."""
    match value:
        case str():
            return value
        case bool() | int() | float():
            return orjson.dumps(value).decode()
        case _:
            raise InvalidRequestError(f"'{name}' has a value that is no text.", param=name)


def _file_of(value: object, name: str) -> File:
    filename, content_type = "", None
    if isinstance(value, dict):
        data = text_of(value.get("data"))
        filename = text_of(value.get("filename"))
        if not filename and (ending := text_of(value.get("format"))):
            filename = f"recording.{ending}"
    else:
        data = text_of(value)
    if data.startswith("data:"):
        head, _, data = data.partition(",")
        if not head.endswith(";base64"):
            raise _no_base64(name)
        content_type = head.removeprefix("data:").removesuffix(";base64") or None
    try:
        recording = b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise _no_base64(name) from None
    filename = filename.replace("\\", "/").rpartition("/")[2][:255]
    return File(FILE, filename, content_type, memoryview(recording))


def _no_base64(name: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"'{name}' must be a data URL with base64, or an object with 'data' in base64.", param=name
    )
