"""Usage and stop reasons, both directions.

Anthropic's `input_tokens` excludes what was read from or written to the cache; `output_tokens`
includes thinking. Beside that, the top level leaves out what compaction and an advisor consumed
(recorded: 1,128 + 1,283 of two `message` iterations make the 2,411 at the top, the 2,543 of the
`advisor_message` between them do not count); both are billed, so they are added.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.events import Finish, FinishReason
from engine.protocols.anthropic.marks import native, own_fields
from engine.protocols.fields import dict_of, dicts, text_of
from engine.usage import UNSAID, MoreUnit, Usage, is_count, is_wrong, read_count

TIERS = frozenset({"standard", "priority", "batch"})
"""Service tiers that this protocol has words for."""

_CACHED = "cache_read_input_tokens"
_INPUT_PARTS = ("input_tokens", "cache_creation_input_tokens", _CACHED)
_SIDE_WORK = frozenset({"compaction", "advisor_message"})


def read_usage(usage: dict[str, Any]) -> Usage | None:
    """Usage out of `usage`; None if it says neither input nor output."""
    fresh, output_tokens = usage.get("input_tokens"), usage.get("output_tokens")
    if fresh is None and output_tokens is None:
        return None
    inputs = [usage.get(name) for name in _INPUT_PARTS]
    side_work = [
        iteration
        for iteration in dicts(usage.get("iterations"))
        if text_of(iteration.get("type")) in _SIDE_WORK and not is_wrong(*_figures(iteration))
    ]
    main = Usage(
        unsaid=UNSAID[fresh is None or is_wrong(*inputs), not is_count(output_tokens)],
        invalid=is_wrong(*inputs, output_tokens),
    )
    levels = [usage, *side_work]
    written, cached = _sum(levels, "cache_creation_input_tokens"), _sum(levels, _CACHED)
    details, tools = usage.get("output_tokens_details"), usage.get("server_tool_use")
    more: dict[MoreUnit, int] = {
        "cache_write_1h_tokens": sum(
            read_count(dict_of(level.get("cache_creation")).get("ephemeral_1h_input_tokens"))
            for level in levels
        ),
        "web_searches": read_count(dict_of(tools).get("web_search_requests")),
    }
    return replace(
        main,
        input_tokens=0
        if "input_tokens" in main.unsaid
        else _sum(levels, "input_tokens") + written + cached,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=_sum(levels, "output_tokens"),
        reasoning_tokens=read_count(dict_of(details).get("thinking_tokens")),
        more={unit: count for unit, count in more.items() if count},
    ).clamped()


def _figures(level: dict[str, Any]) -> list[object]:
    return [level.get(name) for name in (*_INPUT_PARTS, "output_tokens")]


def _sum(levels: list[dict[str, Any]], name: str) -> int:
    return sum(read_count(level.get(name)) for level in levels)


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
