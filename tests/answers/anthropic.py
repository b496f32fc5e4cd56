"""Anthropic messages, as the anthropic package parses them, as a `Reading`."""

from __future__ import annotations

from typing import Any

from engine.events import Usage
from engine.protocols.carried import uncarry
from tests.answers import sdks
from tests.answers.reading import (
    CONTEXT,
    FILTERED,
    LENGTH,
    NONE,
    OTHER,
    PAUSED,
    STOP,
    STOP_SEQUENCE,
    TOOLS,
    Call,
    Draft,
    Reading,
)

FINISH = {
    None: NONE,
    "end_turn": STOP,
    "stop_sequence": STOP_SEQUENCE,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": CONTEXT,
    "tool_use": TOOLS,
    "refusal": FILTERED,
    "pause_turn": PAUSED,
}

_SIDE_WORK = ("compaction", "advisor_message")


def read(clients: sdks.Clients, *, stream: bool) -> Reading:
    """What the SDK reads out of an answer."""
    if not stream:
        return _reading(sdks.anthropic_message(clients).to_dict(mode="json", warnings=False))
    streamed = sdks.anthropic_events(clients)
    if not any(event.type == "message_start" for event in streamed.items):
        assert streamed.error is not None, "an empty stream"
        return Reading((), None, failed=True)
    message = sdks.anthropic_accumulated(streamed.items)
    document: dict[str, Any] = message.to_dict(mode="json", warnings=False)
    deltas = [event.usage for event in streamed.items if event.type == "message_delta"]
    for delta in deltas:  # what the helper of a beta that it does not know leaves out
        iterations = delta.to_dict(mode="json", warnings=False).get("iterations")
        document["usage"]["iterations"] = iterations
    return _reading(document, reported=bool(deltas), failed=streamed.error is not None)


def _reading(message: dict[str, Any], *, reported: bool = True, failed: bool = False) -> Reading:
    draft = Draft()
    for block in message["content"]:
        _read_block(draft, block)
    draft.finish = FINISH.get(message.get("stop_reason"), OTHER)
    draft.stop_sequence = message.get("stop_sequence")
    draft.explanation = (message.get("stop_details") or {}).get("explanation")
    return Reading(
        (draft.choice(),),
        _usage(message["usage"]) if reported else None,
        id=message["id"],
        model=message["model"],
        service_tier=message["usage"].get("service_tier"),
        failed=failed,
    )


def _read_block(draft: Draft, block: dict[str, Any]) -> None:
    match block["type"]:
        case "text":
            draft.text += block["text"]
            for cited in block.get("citations") or ():
                title = cited.get("title") or cited.get("document_title")
                draft.citations.append((cited.get("url") or cited.get("source"), title))
        case "thinking":
            draft.reasoning += block["thinking"]
            if block.get("signature"):
                draft.signatures.append(block["signature"])
        case "redacted_thinking":
            draft.redacted += 1
        case "tool_use":
            draft.whole_calls.append(Call(block["name"], block["input"]))
            if (signature := uncarry(block["id"])[1]) is not None:
                draft.signatures.append(signature.value)


def _usage(report: dict[str, Any]) -> Usage:
    # Anthropic's figures leave out what compaction and an advisor consumed; both are billed.
    levels = [report, *(i for i in report.get("iterations") or () if i["type"] in _SIDE_WORK)]
    read_tokens = sum(level.get("cache_read_input_tokens") or 0 for level in levels)
    written = sum(level.get("cache_creation_input_tokens") or 0 for level in levels)
    fresh = sum(level.get("input_tokens") or 0 for level in levels)
    details = report.get("output_tokens_details") or {}
    return Usage(
        input_tokens=fresh + read_tokens + written,
        cached_input_tokens=read_tokens,
        cache_write_tokens=written,
        output_tokens=sum(level["output_tokens"] for level in levels),
        reasoning_tokens=details.get("thinking_tokens") or 0,
    )
