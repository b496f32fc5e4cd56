"""Why an answer ended, in both directions.

Numbers are gRPC's enum, which comes through transcoding proxies; the two Google APIs number what
lies above OTHER differently, so only what both agree on is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.events import FinishReason
from engine.protocols.gemini.spelling import enum

_FILTERS = (
    "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY "
    "IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION IMAGE_OTHER NO_IMAGE MODEL_ARMOR"
)

REASONS: Final[Mapping[str, FinishReason]] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    **dict.fromkeys(_FILTERS.split(), FinishReason.FILTERED),
    "MALFORMED_FUNCTION_CALL": FinishReason.MALFORMED_CALL,
    "UNEXPECTED_TOOL_CALL": FinishReason.MALFORMED_CALL,
    "TOO_MANY_TOOL_CALLS": FinishReason.MALFORMED_CALL,
}
"""google-genai's `FinishReason`; what is missing, and what is new, is OTHER."""

_NUMBERS: Mapping[int, FinishReason] = {
    1: FinishReason.STOP,
    2: FinishReason.LENGTH,
    **dict.fromkeys((3, 4, 6, 7, 8), FinishReason.FILTERED),
}

_NAMES: Mapping[FinishReason, str] = {
    FinishReason.STOP: "STOP",
    FinishReason.STOP_SEQUENCE: "STOP",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.PAUSED: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.CONTEXT_LENGTH: "MAX_TOKENS",
    FinishReason.FILTERED: "SAFETY",
    FinishReason.PROMPT_BLOCKED: "PROHIBITED_CONTENT",
    FinishReason.MALFORMED_CALL: "MALFORMED_FUNCTION_CALL",
    FinishReason.OTHER: "OTHER",
}


def read_finish(value: object, *, called: bool) -> FinishReason | None:
    """A `finishReason`; None where it says nothing. With calls, STOP means them.

    >>> read_finish("STOP", called=True), read_finish(2, called=False), read_finish(None, called=0)
    (<FinishReason.TOOL_CALLS: 'tool_calls'>, <FinishReason.LENGTH: 'length'>, None)
    """
    if isinstance(value, int):
        reason = _NUMBERS.get(value, FinishReason.OTHER) if value else None
    else:
        name = enum(value)
        unsaid = not name or name == "FINISH_REASON_UNSPECIFIED"
        reason = None if unsaid else REASONS.get(name, FinishReason.OTHER)
    if called and reason is FinishReason.STOP:
        return FinishReason.TOOL_CALLS
    return reason


def name_finish(reason: FinishReason) -> str:
    """The `finishReason` for a client."""
    return _NAMES[reason]


def is_blocked(value: object) -> bool:
    """Whether a `promptFeedback.blockReason` is one."""
    if isinstance(value, int):
        return bool(value)
    return enum(value) not in ("", "BLOCKED_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED")
