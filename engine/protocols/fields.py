"""Reading JSON that may be anything: what the codecs share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from engine.errors import InvalidRequestError

# Backslashes and whole pairs are passed over; what is captured is half of a pair, alone.
_LONE_SURROGATE = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def load_json(data: bytes) -> Any:
    """JSON that may hold lone surrogates, which are read as U+FFFD: a provider that cuts its text
    between two UTF-16 units writes them.

    Raises:
        ValueError: it is not JSON (also where it is nested too deeply).
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\u" not in data:
            raise
    return orjson.loads(
        _LONE_SURROGATE.sub(lambda match: b"\\ufffd" if match[1] else match[0], data)
    )


_INT64_DIGITS = 18  # whatever they are
# Digits alike and all else alike: a find then is 20 times as fast as a search of `[0-9]{19}`.
_DIGITS_ALIKE = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_INTEGER = b"0" * (_INT64_DIGITS + 1)


def load_exact(data: bytes) -> Any:
    """JSON, read as `load_json` does, with its integers kept to the digit: those over 64 bits,
    which orjson reads as floats, become fragments that it writes as they were. For arguments of
    calls, where they are amounts and ids.

    Raises:
        ValueError: it is not JSON.
    """
    return _exactly(load_json(data), data)


def _exactly(value: Any, data: bytes) -> Any:
    if _LONG_INTEGER not in data.translate(_DIGITS_ALIKE):
        return value
    try:
        text = _LONE_SURROGATE.sub(lambda match: b"\\ufffd" if match[1] else match[0], data)
        return json.loads(text, parse_int=_exact)
    except RecursionError:  # deeper than that module goes
        return value


def _exact(digits: str) -> int | orjson.Fragment:
    return int(digits) if len(digits) <= _INT64_DIGITS else orjson.Fragment(digits)


def load_object(data: bytes) -> dict[str, Any]:
    """The JSON object that it is, read as `load_json` does.

    Raises:
        ValueError: it is no JSON object.
    """
    document = load_json(data)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def dicts(value: object) -> Iterator[dict[str, Any]]:
    """The objects in a list; nothing if it is no list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def dict_of(value: object) -> dict[str, Any]:
    """The object that it is, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """The string that it is, else an empty one."""
    return value if isinstance(value, str) else ""


# Files of the providers' own stores, by address or by name, and of the operator's buckets (Vertex
# reads those with its account). Whatever stands before the host does not hide it.
_HELD_URI = re.compile(
    r"(?i)\s*(?:(?:v1\w*/)?files/|file-[a-z0-9]{16,}\s*$|gs:"
    r"|(?:https?:)?//(?:[^/?#]*[.@])?"
    r"(?:generativelanguage\.(?:[\w-]+\.)?googleapis|api\.openai|api\.anthropic)\.com)"
)


def is_held_uri(uri: str) -> bool:
    """Whether an address names a file that is stored with the provider, under its key.

    >>> is_held_uri("https://generativelanguage.googleapis.com/v1beta/files/abc")
    True
    >>> is_held_uri("https://example.com/files/abc")
    False
    """
    return _HELD_URI.match(uri) is not None


def load_request(body: bytes) -> dict[str, Any]:
    """The JSON object of a client's request, its integers kept to the digit as in `load_exact`.

    Raises:
        InvalidRequestError: it is none; says where it breaks off.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(
            "We could not parse the JSON body of your request "
            f"({error.msg} at character {error.pos})."
        ) from None
    if not isinstance(document, dict):
        raise InvalidRequestError("The body of your request must be a JSON object.")
    exact: dict[str, Any] = _exactly(document, body)
    return exact


def write_json(document: dict[str, Any]) -> bytes:
    """Raises InvalidRequestError for what is nested deeper than can be written (254 levels)."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None
