"""Arguments of calls: JSON text to everyone else, an object to Gemini."""

from __future__ import annotations

from typing import Any

from engine.protocols.fields import load_exact
from engine.protocols.gemini.spelling import dump_json

_WRAP = "arguments"
_BRACKETS_SAFE = 200
"""With fewer, nothing is nested too deeply."""


def arguments_object(text: str, *, repair: bool = True) -> dict[str, Any] | None:
    """The object that a call's arguments are; none at all is an empty one.

    What is no object is wrapped as `{"arguments": …}`, so that nothing the model wrote is lost;
    without `repair` it is None.

    >>> arguments_object(""), arguments_object('{"a": 1}'), arguments_object('{"a": ')
    ({}, {'a': 1}, {'arguments': '{"a": '})
    """
    if not text.strip():
        return {} if repair else None
    value = _read(text)
    if isinstance(value, dict):
        return value
    return {_WRAP: value} if repair else None


def _read(text: str) -> Any:
    """The value of a JSON text; the text itself if it is none, or could not be written again."""
    try:
        value = load_exact(text.encode("utf-8", "replace"))
        if text.count("{") + text.count("[") > _BRACKETS_SAFE:
            dump_json(value)
    except ValueError:
        return text
    return value
