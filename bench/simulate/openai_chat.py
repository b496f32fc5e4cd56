"""OpenAI chat: stream events, unary answers, usage, error answers.

Shapes and key order are those of recorded traffic: the first event of each choice carries the role,
`"usage":null` is on every event of a stream that asked for usage, the usage event has no choices.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from bench.simulate.answer import Finish, Kind, Segment, ToolCall
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError
from bench.simulate.plan import ChatPlan

DONE: Final = b"data: [DONE]\n\n"
FINGERPRINT: Final = "fp_simulated"
SERVER_ERROR: Final = "The server had an error while processing your request. Sorry about that!"
_TEXT_KEYS: Final[dict[Kind, bytes]] = {
    "text": b"content",
    "reasoning": b"reasoning_content",
    "refusal": b"refusal",
}
"""The key of a delta; `reasoning_content` is what hosts of open models call it."""
FINISH_REASONS: Final[dict[Finish, str]] = {
    "stop": "stop",
    "length": "length",
    "calls": "tool_calls",
    "refusal": "stop",
    "filter": "content_filter",
}


def usage_object(counts: Counts) -> dict[str, Any]:
    """OpenAI's usage object, with its details."""
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class OpenAIGrammar:
    """Stream events of one completion. Text must need no JSON escapes."""

    __slots__ = ("_after", "_choices", "_head", "_request", "_tail", "_texts")

    def __init__(self, plan: ChatPlan) -> None:
        request = plan.request
        head = {
            "id": plan.answer_id,
            "object": "chat.completion.chunk",
            "created": plan.created,
            "model": request.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }
        with_usage = request.include_usage or plan.directives.usage == "always"
        self._request = request
        self._choices = request.choices
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"
        self._texts = {
            (kind, choice): self._head + b',"choices":[{"index":%d,"delta":{"%s":"' % (choice, key)
            for kind, key in _TEXT_KEYS.items()
            for choice in range(request.choices)
        }
        self._after = b'"},"logprobs":null,"finish_reason":null}]' + self._tail

    def begin(self) -> bytes:
        """The first event of each choice."""
        return b"".join(
            self._event(choice, b'{"role":"assistant","content":"","refusal":null}')
            for choice in range(self._choices)
        )

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """One event with a piece of text or of the calls."""
        if segment.kind == "calls":
            calls = orjson.dumps(call_deltas(segment, start, end))
            return self._event(choice, b'{"tool_calls":' + calls + b"}")
        if not segment.shown:
            return b""
        text = segment.sources[choice].escaped(start, end)
        return self._texts[segment.kind, choice] + text + self._after

    def _event(self, choice: int, delta: bytes, reason: bytes = b"null") -> bytes:
        return (
            self._head
            + b',"choices":[{"index":%d,"delta":%s,"logprobs":null,"finish_reason":%s}]'
            % (choice, delta, reason)
            + self._tail
        )

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """The last event of each choice, the usage without choices, `[DONE]`."""
        word = b'"%s"' % finish_reason(self._request, reason).encode()
        events = [self._event(choice, b"{}", word) for choice in range(self._choices)]
        if counts is not None:
            usage = orjson.dumps(usage_object(counts))
            events.append(self._head + b',"choices":[],"usage":' + usage + b"}\n\n")
        return b"".join([*events, DONE])

    def error(self, kind: str) -> bytes:
        """The error OpenAI sends in a stream that has begun."""
        error = ApiError(SERVER_ERROR, kind="server_error")
        return b"data: " + orjson.dumps(error_object(error)) + b"\n\n"


def finish_reason(request: ChatRequest, reason: Finish) -> str:
    """OpenAI's word; calling the one tool that was named is an ordinary end."""
    return "stop" if reason == "calls" and request.named else FINISH_REASONS[reason]


def call_deltas(segment: Segment, start: int, end: int) -> list[dict[str, Any]]:
    """The `tool_calls` of one event: an entry for each call that has tokens in it."""
    entries: dict[int, dict[str, Any]] = {}
    for unit in segment.units[start:end]:
        call = segment.calls[unit.index]
        kind, text = CALLS[call.custom]
        if unit.first:
            entries[unit.index] = {"index": unit.index} | call_object(call, "")
            continue
        begun: dict[str, Any] = {"index": unit.index, kind: {text: ""}}
        entry = entries.setdefault(unit.index, begun)
        entry[kind][text] += unit.text
    return list(entries.values())


CALLS: Final = {False: ("function", "arguments"), True: ("custom", "input")}
"""By whether a tool is custom: the type of its calls, and where their text is."""


def call_object(call: ToolCall, written: str) -> dict[str, Any]:
    """A call with so much of its text."""
    kind, text = CALLS[call.custom]
    return {"id": call.call_id, "type": kind, kind: {"name": call.name, text: written}}


def unary_body(plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
    """A whole completion."""
    completion: dict[str, Any] = {
        "id": plan.answer_id,
        "object": "chat.completion",
        "created": plan.created,
        "model": plan.request.model,
        "choices": [
            {
                "index": choice,
                "message": _message(plan, choice, position),
                "logprobs": None,
                "finish_reason": finish_reason(plan.request, plan.finish),
            }
            for choice in range(plan.request.choices)
        ],
    }
    if counts is not None:
        completion["usage"] = usage_object(counts)
    completion["service_tier"] = "default"
    completion["system_fingerprint"] = FINGERPRINT
    return orjson.dumps(completion, option=orjson.OPT_INDENT_2) + b"\n"


def _message(plan: ChatPlan, choice: int, position: int) -> dict[str, Any]:
    answer = plan.answer
    calls = answer.begun_calls(position)
    text = answer.prose(choice, position, "text")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not (calls or answer.finish == "refusal") else None,
        "refusal": answer.prose(choice, position, "refusal") or None,
        "annotations": [],
    }
    reasoning = answer.prose(choice, position, "reasoning")
    if reasoning and plan.request.reasoning == "text":
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [call_object(call, call.arguments) for call in calls]
    return message


def error_object(error: ApiError) -> dict[str, Any]:
    """The error in OpenAI's shape."""
    return {
        "error": {
            "message": error.message,
            "type": error.kind or "invalid_request_error",
            "param": error.param,
            "code": error.code,
        }
    }
