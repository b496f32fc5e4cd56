"""OpenAI responses: the response object, its items and usage, whole answers.

Keys and their order are those of recorded traffic. A response repeats what the request asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, Literal

import orjson

from bench.simulate.answer import Finish, Kind, Segment, ToolCall
from bench.simulate.chat import Counts
from bench.simulate.plan import ChatPlan
from bench.simulate.responses_hosted import citations, hosted_items
from bench.simulate.signatures import Signer
from bench.simulate.text import seed_of

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
Object = dict[str, Any]

ENCRYPTED: Final = "reasoning.encrypted_content"
INCOMPLETE: Final[dict[Finish, str]] = {
    "length": "max_output_tokens",
    "filter": "content_filter",
}
PARTS: Final[dict[Kind, tuple[str, str]]] = {
    "text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
}
"""The type of a part of a message, and the key of its text."""
_ECHOED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": None,
    "output": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": None,
    "tool_choice": "auto",
    "tools": None,
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}
"""What a response repeats, in its order, with what is said where the request says nothing."""


def usage_object(counts: Counts) -> Object:
    """The usage of a response."""
    return {
        "input_tokens": counts.input_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_tokens},
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }


def response_object(
    plan: ChatPlan,
    status: Status,
    output: Sequence[Object],
    counts: Counts | None = None,
    reason: Finish = "stop",
) -> Object:
    """The response as it is now."""
    request = plan.request.document
    over = status == "completed"
    reasoning = {"effort": None, "summary": None} | dict(request.get("reasoning", {}))
    given = {
        **request,
        "output": list(output),
        "reasoning": reasoning,
        "service_tier": "default" if over else request.get("service_tier", "auto"),
        "text": {"format": {"type": "text"}, "verbosity": "medium"} | request.get("text", {}),
        "tools": [_tool(tool) for tool in request.get("tools", ())],
    }
    keeping = plan.request.keeping
    conversation = None if keeping is None else keeping.conversation
    return {
        "id": plan.answer_id,
        "object": "response",
        "created_at": plan.created,
        "status": status,
        "background": request.get("background", False),
        "completed_at": plan.created if over else None,
        "error": None,
        "incomplete_details": {"reason": INCOMPLETE[reason]} if status == "incomplete" else None,
        **{name: given.get(name, unsaid) for name, unsaid in _ECHOED.items()},
        **({} if conversation is None else {"conversation": {"id": conversation}}),
        "usage": None if counts is None else usage_object(counts),
        "user": request.get("user"),
        "metadata": request.get("metadata", {}),
    }


def _tool(tool: Object) -> Object:
    if tool["type"] != "function":
        return tool
    unsaid = {"description": None, "name": None, "parameters": None, "strict": True}
    return {"type": "function"} | unsaid | tool


def message_part(kind: Kind, text: str, annotated: Sequence[Object] = ()) -> Object:
    """The one part of a message."""
    name, key = PARTS[kind]
    if kind == "refusal":
        return {"type": name, key: text}
    return {"type": name, "annotations": list(annotated), "logprobs": [], key: text}


def message_item(item_id: str, part: Object | None, status: Status) -> Object:
    """A message, empty as long as it has no part."""
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "content": [] if part is None else [part],
        "role": "assistant",
    }


def call_item(item_id: str, call: ToolCall, arguments: str, status: Status) -> Object:
    """A call of a function or of a custom tool."""
    kind, text = CALLS[call.custom]
    return {
        "id": item_id,
        "type": kind,
        "status": status,
        text: arguments,
        "call_id": call.call_id,
        "name": call.name,
    }


CALLS: Final = {False: ("function_call", "arguments"), True: ("custom_tool_call", "input")}
"""By whether a tool is custom: the type of its calls, and where their text is."""
CALL_IDS: Final = {False: "fc", True: "ctc"}


def reasoning_item(
    plan: ChatPlan, item_id: str, texts: Sequence[str], signature: str | None = None
) -> Object:
    """Reasoning: its summary or, of a host of open models, its text; encrypted where asked for."""
    parts = [thought_part(plan, text) for text in texts]
    item: Object = {"id": item_id, "type": "reasoning"}
    if signature is not None and ENCRYPTED in plan.request.document.get("include", ()):
        item["encrypted_content"] = signature
    if is_raw(plan):
        return item | {"summary": [], "content": parts}
    return item | {"summary": parts}


def thought_part(plan: ChatPlan, text: str) -> Object:
    """A part of shown reasoning."""
    return {"type": "reasoning_text" if is_raw(plan) else "summary_text", "text": text}


def is_raw(plan: ChatPlan) -> bool:
    """Whether reasoning is shown as the model's own text rather than as a summary."""
    return plan.directives.thoughts == "text"


def thought_parts(plan: ChatPlan, segment: Segment) -> list[tuple[int, int]]:
    """Where the parts of a summary begin and end, in tokens; none where it is not shown."""
    if not segment.shown:
        return []
    parts = 1 if is_raw(plan) else min(plan.directives.summary_parts, segment.tokens)
    return list(pairwise(segment.tokens * number // parts for number in range(parts + 1)))


def thought_texts(plan: ChatPlan, segment: Segment, made: int) -> list[str]:
    """The parts as far as so many tokens go."""
    return [
        segment.text(0, first, min(last, made))
        for first, last in thought_parts(plan, segment)
        if first < made
    ]


def item_id(plan: ChatPlan, signer: Signer, prefix: str, index: int) -> str:
    """The id of an item, which the signer knows again."""
    return signer.issue_id(prefix, seed_of(plan.answer_id.encode(), str(index).encode()))


def response_body(plan: ChatPlan, signer: Signer, position: int, counts: Counts | None) -> bytes:
    """A whole response."""
    over: Status = "incomplete" if plan.finish in INCOMPLETE else "completed"
    output = response_output(plan, signer, position)
    response = response_object(plan, over, output, counts, reason=plan.finish)
    return orjson.dumps(response, option=orjson.OPT_INDENT_2) + b"\n"


def response_output(plan: ChatPlan, signer: Signer, position: int) -> list[Object]:
    """The items of an answer that has come so far."""
    output = hosted_items(plan, signer)
    for segment in plan.answer.segments:
        made = segment.made(position)
        status: Status = "completed" if made == segment.tokens else "incomplete"
        if not made:
            continue
        if segment.kind == "reasoning":
            texts = thought_texts(plan, segment, made)
            signature = segment.signature if status == "completed" else None
            own_id = item_id(plan, signer, "rs", len(output))
            output.append(reasoning_item(plan, own_id, texts, signature))
        elif segment.kind != "calls":
            text = segment.text(0, 0, made)
            part = message_part(segment.kind, text, citations(plan, signer))
            own_id = item_id(plan, signer, "msg", len(output))
            output.append(message_item(own_id, part, status))
        else:
            ended = {unit.index for unit in segment.units[:made] if unit.last}
            for index, call in enumerate(plan.answer.begun_calls(position)):
                own_id = item_id(plan, signer, CALL_IDS[call.custom], len(output))
                whole: Status = "completed" if index in ended else "incomplete"
                output.append(call_item(own_id, call, call.arguments, whole))
    return output
