"""JSON values that are read and have to be written again, within the depth that allows it."""

from __future__ import annotations

from typing import Any

import orjson

from engine.protocols.fields import load_exact, load_json

# Fewer brackets than this cannot be nested too deeply to be written (254 levels), in whatever
# they are put.
_BRACKETS_SAFE = 200
_DEPTH_SPARE = 16


def dump_text(value: object) -> str:
    """A value as JSON text.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise ValueError("nested too deeply") from None


def load_answer(data: bytes) -> dict[str, Any]:
    """The JSON object of an event or a whole answer.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    document = load_exact(data) if b'"input"' in data else load_json(data)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    if data.count(b"{") + data.count(b"[") > _BRACKETS_SAFE:
        check_depth(document)
    return document


def check_depth(value: object) -> None:
    """Whether a value can be written again, with what is put around it.

    Raises:
        ValueError: it is nested too deeply.
    """
    for _ in range(_DEPTH_SPARE):
        value = [value]
    dump_text(value)


def read_arguments(arguments: str) -> dict[str, Any]:
    """The object that a call's arguments are; what is no JSON object stands in one, whole, under
    `arguments`, so that the model's own words are not lost."""
    if not arguments.strip():
        return {}
    try:
        value = load_exact(arguments.encode("utf-8", "replace"))
        if arguments.count("{") + arguments.count("[") > _BRACKETS_SAFE:
            check_depth(value)
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": arguments}
