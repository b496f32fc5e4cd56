"""Usage and stop reasons, both directions.

Anthropic's `input_tokens` excludes what was read from or written to the cache; `output_tokens`
includes thinking. Beside that, the top level leaves out what compaction and an advisor consumed
(recorded: 1,128 + 1,283 of two `message` iterations make the 2,411 at the top, the 2,543 of the
`advisor_message` between them do not count); both are billed, so they are added.
"""

from __future__ import annotations

from typing import Any

from engine.events import Finish, FinishReason, Usage, is_count, read_count
from engine.protocols.anthropic.marks import native, own_fields
from engine.protocols.fields import dict_of, dicts, text_of

TIERS = frozenset({"standard", "priority", "batch"})
"""Service tiers that this protocol has words for."""

_INPUT_PARTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_SIDE_WORK = frozenset({"compaction", "advisor_message"})


def read_usage(usage: dict[str, Any]) -> Usage | None:
    """Usage out of `usage`; None if it says none, or a figure in it cannot be one."""
    main = _read_level(usage)
    if main is None:
        return None
    side_work = [
        side
        for iteration in dicts(usage.get("iterations"))
        if text_of(iteration.get("type")) in _SIDE_WORK
        and (side := _read_level(iteration)) is not None
    ]
    levels = [main, *side_work]
    reasoning = read_count(dict_of(usage.get("output_tokens_details")).get("thinking_tokens"))
    return Usage(
        input_tokens=sum(level.input_tokens for level in levels),
        cached_input_tokens=sum(level.cached_input_tokens for level in levels),
        cache_write_tokens=sum(level.cache_write_tokens for level in levels),
        output_tokens=sum(level.output_tokens for level in levels),
        reasoning_tokens=reasoning,
    ).clamped()


def _read_level(usage: dict[str, Any]) -> Usage | None:
    fresh, output_tokens = usage.get("input_tokens"), usage.get("output_tokens")
    written = usage.get("cache_creation_input_tokens")
    cached = usage.get("cache_read_input_tokens")
    written, cached = 0 if written is None else written, 0 if cached is None else cached
    if not (is_count(fresh) and is_count(output_tokens) and is_count(written) and is_count(cached)):
        return None
    return Usage(
        input_tokens=fresh + written + cached,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output_tokens,
    )


def merge_usage(begun: dict[str, Any], latest: dict[str, Any]) -> dict[str, Any]:
    """`message_delta`'s usage over `message_start`'s, field by field; null says nothing."""
    return begun | {name: value for name, value in latest.items() if value is not None}


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage in Anthropic's shape, with the members that both Message and message_delta have."""
    fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    document: dict[str, Any] = {
        "input_tokens": max(0, fresh),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        document["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return document


_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.CONTEXT_LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.FILTERED,
    "pause_turn": FinishReason.PAUSED,
}
_STOP_REASONS = {reason: name for name, reason in _REASONS.items()} | {
    FinishReason.PROMPT_BLOCKED: "refusal",
    FinishReason.MALFORMED_CALL: "end_turn",
    FinishReason.OTHER: "end_turn",
}

_STOP_MEMBERS = ("stop_reason", "stop_sequence", "stop_details")


def read_finish(delta: dict[str, Any], beside: dict[str, Any]) -> Finish | None:
    """The ending that a message (or the delta of `message_delta`) says; None if it says none.

    `beside` are the event's other members, kept for an encoder of this protocol.
    """
    stop_reason = delta.get("stop_reason")
    if not isinstance(stop_reason, str):
        return None
    explanation = dict_of(delta.get("stop_details")).get("explanation")
    return Finish(
        _REASONS.get(stop_reason, FinishReason.OTHER),
        stop_sequence=text_of(delta.get("stop_sequence")) or None,
        explanation=text_of(explanation) or None,
        native=native({"delta": delta, "beside": beside}),
    )


def encode_finish(finish: Finish | None, *, called: bool, refused: bool) -> dict[str, Any]:
    """The members that say why a message ended; `called` and `refused` say what was in it."""
    if finish is not None and (fields := own_fields(finish.native)):
        return dict_of(fields.get("delta"))
    reason = FinishReason.STOP if finish is None else finish.reason
    if refused and reason is FinishReason.STOP:
        reason = FinishReason.FILTERED
    elif called and reason is FinishReason.STOP:
        reason = FinishReason.TOOL_CALLS
    stop_sequence = None if finish is None else finish.stop_sequence
    if reason is FinishReason.STOP_SEQUENCE and stop_sequence is None:
        reason = FinishReason.STOP  # the type says which one it was, whenever it says this reason
    explanation = None if finish is None else finish.explanation
    details = None
    if _STOP_REASONS[reason] == "refusal":
        details = {"type": "refusal", "category": None, "explanation": explanation}
    return dict(zip(_STOP_MEMBERS, (_STOP_REASONS[reason], stop_sequence, details), strict=True))


def finish_beside(finish: Finish | None) -> dict[str, Any]:
    """What stood beside the ending in its event or message, of an answer of this protocol."""
    return dict_of(own_fields(None if finish is None else finish.native).get("beside"))
