"""Runs the tools that a round asks for. Whatever becomes of one, the model is told it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import trio

from engine.agent import HttpTool
from engine.agents.http_tools import ArgumentsError, request_of
from engine.conversation import Text, ToolCall, ToolResult
from engine.egress import (
    Answer,
    EgressFailedError,
    EgressPolicy,
    EgressRefusedError,
    ask,
)

CALLS_MAX: Final = 32
"""Of one round; what it asks for beyond is not done."""
_OK: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_NO_TEXT: Final = frozenset({"image", "audio", "video", "font"})
_TOO_MANY: Final = "Too many tools at once: this one was not called. Call it again, if need be."


async def run_tools(
    calls: Sequence[ToolCall],
    tools: Mapping[str, HttpTool],
    policy: EgressPolicy,
    at_once: int,
    deadline: float,
) -> tuple[ToolResult, ...]:
    """What the calls come to, in their order.

    Args:
        policy: how far they reach.
        at_once: so many are made at a time.
        deadline: in Trio's time; what has not come by then has not come.
    """
    results: dict[int, ToolResult] = {}
    limiter = trio.CapacityLimiter(at_once)

    async def run(place: int, call: ToolCall) -> None:
        async with limiter:
            text, failed = await _run(call, tools[call.name], policy, deadline)
            results[place] = _result(call, text, failed=failed)

    async with trio.open_nursery() as nursery:
        for place, call in enumerate(calls[:CALLS_MAX]):
            nursery.start_soon(run, place, call)
    for place, call in enumerate(calls[CALLS_MAX:], CALLS_MAX):
        results[place] = _result(call, _TOO_MANY, failed=True)
    return tuple(results[place] for place in range(len(calls)))


async def _run(
    call: ToolCall, tool: HttpTool, policy: EgressPolicy, deadline: float
) -> tuple[str, bool]:
    """Its words, and whether it has failed."""
    timeout_s = min(tool.timeout_s, deadline - trio.current_time())
    if timeout_s <= 0:
        return "There is no time left for this tool.", True
    bounds = replace(
        policy, timeout_s=timeout_s, idle_timeout_s=timeout_s, max_bytes=tool.max_bytes
    )
    try:
        url, headers, body = request_of(tool, call.arguments)
        answer = await ask(tool.method, url, bounds, headers, body)
    except ArgumentsError as error:
        return str(error), True
    except EgressRefusedError:
        return "The tool's address may not be reached from here.", True
    except EgressFailedError:
        return "The tool did not answer in time, or broke off.", True
    return _told(answer)


def _told(answer: Answer) -> tuple[str, bool]:
    if answer.status in _REDIRECTS:
        return f"The tool answers with a redirect ({answer.status}), which is not followed.", True
    failed = answer.status not in _OK
    head = f"The tool answers with status {answer.status}.\n" if failed else ""
    if answer.coded or answer.content_type.partition("/")[0] in _NO_TEXT or b"\0" in answer.body:
        return f"{head}What the tool answers is not text.", True
    text = answer.body.decode("utf-8", "replace")
    if answer.cut:
        text += "\n[The tool's answer is longer, and was cut off here.]"
    return f"{head}{text}" or "The tool answers with nothing.", failed


def _result(call: ToolCall, text: str, *, failed: bool) -> ToolResult:
    return ToolResult(call.id, (Text(text),), is_error=failed, name=call.name)
