"""Anthropic messages: stream events, unary answers, usage, error answers.

Shapes and key order are those of recorded traffic: a ping after the first block has begun, an empty
first fragment of a tool's input, usage complete in `message_delta`, spaces before the last brace.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from bench.simulate.answer import Finish, Segment, ToolCall, parsed
from bench.simulate.chat import Counts
from bench.simulate.plan import ChatPlan

PLACEHOLDER_TOKENS: Final = 4
"""`output_tokens` of `message_start`, which counts nothing."""
STOP_REASONS: Final[dict[Finish, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "calls": "tool_use",
    "refusal": "refusal",
    "filter": "refusal",
}
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_PADDING: Final = [b" " * (number * 5 % 13) for number in range(13)]
_REFUSED: Final = {
    "type": "refusal",
    "category": "cyber",
    "explanation": "This request was declined by the simulated provider.",
}


class AnthropicGrammar:
    """Stream events of one message."""

    def __init__(self, plan: ChatPlan, usage: dict[str, Any] | None) -> None:
        self._plan = plan
        self._usage = usage
        self._index = -1
        self._open = False
        self._call = -1
        self._pieces = 0
        self._before = b""

    def begin(self) -> bytes:
        """`message_start`, and the empty thought of a model that is told to think."""
        plan = self._plan
        message: dict[str, Any] = {
            "model": plan.request.model,
            "id": plan.answer_id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }
        if self._usage is not None:
            message["usage"] = self._usage | {"output_tokens": PLACEHOLDER_TOKENS}
        events = [_event("message_start", {"message": message})]
        for segment in plan.answer.segments:
            if segment.kind == "reasoning" and not segment.tokens:
                events += [self._begin_prose(segment), self._close(segment)]
        return b"".join(events)

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """Deltas of a block, with its start and stop where it begins and ends."""
        if segment.kind == "calls":
            return self._inputs(segment, start, end)
        hidden = segment.kind == "reasoning" and self._plan.request.reasoning != "text"
        if hidden and not segment.signature:
            return b""
        opening = b"" if start else self._begin_prose(segment)
        closing = self._close(segment) if end == segment.tokens else b""
        if hidden:
            return opening + closing
        self._pieces += 1
        text = segment.sources[0].escaped(start, end)
        padding = _PADDING[self._pieces % 13]
        return b'%b%b%b"}%b}\n\n%b' % (opening, self._before, text, padding, closing)

    def _begin_prose(self, segment: Segment) -> bytes:
        if segment.kind == "reasoning":
            opening = self._begin({"type": "thinking", "thinking": "", "signature": ""})
            delta = b'{"type":"thinking_delta","thinking":"'
        else:
            opening = self._begin({"type": "text", "text": ""})
            delta = b'{"type":"text_delta","text":"'
        self._before = (
            b"event: content_block_delta\ndata: "
            b'{"type":"content_block_delta","index":%d,"delta":%b' % (self._index, delta)
        )
        return opening

    def _begin(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        self._open = True
        fields = {"index": self._index, "content_block": block}
        opening = _event("content_block_start", fields)
        return opening + _PING if self._index == 0 else opening

    def _close(self, segment: Segment | None = None) -> bytes:
        signed = b""
        if segment is not None and segment.signature is not None:
            signed = self._delta({"type": "signature_delta", "signature": segment.signature})
        self._open = False
        return signed + _event("content_block_stop", {"index": self._index})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _inputs(self, segment: Segment, start: int, end: int) -> bytes:
        events: list[bytes] = []
        pending: list[str] = []
        for unit in segment.units[start:end]:
            if unit.first:
                block = tool_use(segment.calls[unit.index], {})
                events += [self._begin(block), self._fragment("")]
            pending.append(unit.text)
            if unit.last:
                events += [self._fragment("".join(pending)), self._close()]
                pending = []
        if any(pending):
            events.append(self._fragment("".join(pending)))
        return b"".join(events)

    def _fragment(self, text: str) -> bytes:
        return self._delta({"type": "input_json_delta", "partial_json": text})

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """The end of an open block, the reason and the usage, `message_stop`."""
        closing = self._close() if self._open else b""
        delta: dict[str, Any] = {"stop_reason": STOP_REASONS[reason], "stop_sequence": None}
        if reason in ("refusal", "filter"):
            delta["stop_details"] = _REFUSED
        fields: dict[str, Any] = {"delta": delta}
        if counts is not None:
            fields["usage"] = final_usage(counts)
        return closing + _event("message_delta", fields) + _event("message_stop", {})

    def error(self, kind: str) -> bytes:
        """`event: error`, after which nothing comes."""
        error = {"details": None, "type": "overloaded_error", "message": "Overloaded"}
        return _event("error", {"error": error, "request_id": f"req_{self._plan.answer_id[4:]}"})


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    data = orjson.dumps({"type": kind} | fields)
    padding = _PADDING[len(data) % 13]
    return b"event: %b\ndata: %b%b}\n\n" % (kind.encode(), data[:-1], padding)


def tool_use(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    """The block of a call."""
    return {
        "type": "tool_use",
        "id": call.call_id,
        "name": call.name,
        "input": arguments,
        "caller": {"type": "direct"},
    }


def usage_object(counts: Counts) -> dict[str, Any]:
    """Anthropic's usage object: its input does not include what was cached."""
    usage: dict[str, Any] = {
        "input_tokens": counts.input_tokens - counts.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": counts.output_tokens,
        "service_tier": "standard",
    }
    if counts.reasoning_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": counts.reasoning_tokens}
    return usage


def final_usage(counts: Counts) -> dict[str, Any]:
    """The usage of `message_delta`, which lacks what cannot have changed."""
    usage = usage_object(counts)
    del usage["cache_creation"], usage["service_tier"]
    return usage


def message_body(plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
    """A whole message."""
    message: dict[str, Any] = {
        "model": plan.request.model,
        "id": plan.answer_id,
        "type": "message",
        "role": "assistant",
        "content": _blocks(plan, position),
        "stop_reason": STOP_REASONS[plan.finish],
        "stop_sequence": None,
    }
    if plan.finish in ("refusal", "filter"):
        message["stop_details"] = _REFUSED
    if counts is not None:
        message["usage"] = usage_object(counts)
    return orjson.dumps(message)


def _blocks(plan: ChatPlan, position: int) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for segment in plan.answer.segments:
        made = segment.made(position)
        if segment.kind == "reasoning":
            text = segment.text(0, 0, made) if plan.request.reasoning == "text" else ""
            if segment.signature is not None:
                block = {"type": "thinking", "thinking": text, "signature": segment.signature}
                blocks.append(block)
        elif segment.kind != "calls" and made:
            blocks.append({"type": "text", "text": segment.text(0, 0, made)})
    calls = plan.answer.begun_calls(position)
    return blocks + [tool_use(call, parsed(call.arguments)) for call in calls]
