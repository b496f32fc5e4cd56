"""Chunks of a stream as Gemini's clients take them: events of one line, or an array's elements.

google-genai takes any line that is neither empty nor `data: ` for JSON, so nothing else may stand
in a stream: no event names, no comments, no `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.events import Usage
from engine.protocols.gemini.spelling import dump_json
from engine.protocols.gemini.usage import encode_usage

EVENT_END = b"\r\n\r\n"
SEPARATOR = b",\r\n"


def frame(chunk: dict[str, Any], *, array: bool, first: bool) -> bytes:
    """One chunk, with what stands before it in an array.

    Raises:
        ValueError: nested deeper than can be written.
    """
    if array:
        return (b"[" if first else SEPARATOR) + dump_json(chunk)
    return b"data: " + dump_json(chunk) + EVENT_END


def empty_content() -> dict[str, Any]:
    """The content of a chunk that adds none. google-genai's chat sessions forget an answer whose
    chunks have no part, and a part without text is none to it."""
    return {"parts": [{"text": ""}], "role": "model"}


def length_chunk(
    open_choices: Iterable[int], usage: Usage, identity: dict[str, Any]
) -> dict[str, Any]:
    """The last chunk of a stream that is cut: every open candidate ends for length."""
    candidates = [
        {"content": empty_content(), "finishReason": "MAX_TOKENS", "index": index}
        for index in open_choices
    ]
    return (
        ({"candidates": candidates} if candidates else {})
        | {"usageMetadata": encode_usage(usage)}
        | identity
    )
