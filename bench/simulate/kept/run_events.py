"""The events of a turn of a run, as recorded, and what the whole run comes to at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bench.simulate.event_reply import ERROR_EVENTS, Event
from bench.simulate.kept.desk import sse
from bench.simulate.kept.run_work import RunWork
from bench.simulate.kept.turns import Object, Turn
from bench.simulate.openai_chat import SERVER_ERROR

DONE: Final = b"event: done\ndata: [DONE]\n\n"


def events_of(work: RunWork, turn: Turn, *opening: bytes) -> Iterator[Event]:
    """Events of one turn up to the fault of its plan, `opening` first; `done` ends them."""
    return _events(work, turn, b"".join(opening), dict(work.run.value))


def _events(work: RunWork, turn: Turn, opening: bytes, begun: Object) -> Iterator[Event]:
    plan = turn.plan
    stop = plan.limit if plan.fault is None else plan.fault_at
    queued = begun | {"status": "queued"}
    yield Event(0.0, opening + sse("thread.run.queued", queued))
    started = begun | {"status": "in_progress", "started_at": begun["created_at"]}
    yield Event(0.0, sse("thread.run.in_progress", started) + _hosted(work, turn))
    if (segment := turn.prose) is not None:
        step = work.step(turn.message_step, "message_creation", {"message_id": turn.message_id})
        message = work.message_of(turn, None)
        data = b"".join(
            sse(f"thread.{kind}.{status}", shown)
            for kind, shown in (("run.step", step), ("message", message))
            for status in ("created", "in_progress")
        )
        yield Event(turn.schedule.due_s(0), data)
        position = segment.start
        while position < min(segment.end, stop):
            if work.cancelling:
                work.look()
                yield Event(0.0, _ending(work, turn) + DONE, position)
                return
            end = min(position + plan.directives.tokens_per_event, segment.end, stop)
            text = segment.text(0, position - segment.start, end - segment.start)
            yield Event(turn.schedule.due_s(end), _delta(turn, text), end)
            position = end
    yield from _calls(work, turn, stop)
    if plan.fault in ERROR_EVENTS:
        error = {"message": SERVER_ERROR, "type": "server_error", "param": None, "code": None}
        yield Event(turn.schedule.due_s(stop), sse("error", error), stop)
    if plan.fault is not None:
        return
    yield Event(turn.done_s, b"", stop)
    work.look()
    yield Event(0.0, _ending(work, turn) + DONE, stop)


def _delta(turn: Turn, text: str) -> bytes:
    part = {"index": 0, "type": "text", "text": {"value": text, "annotations": []}}
    delta = {"content": [part]}
    shown = {"id": turn.message_id, "object": "thread.message.delta", "delta": delta}
    return sse("thread.message.delta", shown)


def _hosted(work: RunWork, turn: Turn) -> bytes:
    """The step of what tools of OpenAI's did, all of it."""
    if not turn.hosted:
        return b""
    step = work.step(turn.hosted_step, "tool_calls", [])
    calls = [{"index": index} | call for index, call in enumerate(turn.hosted)]
    done = work.steps_of(turn)[0]
    return (
        sse("thread.run.step.created", step)
        + sse("thread.run.step.in_progress", step)
        + _step_delta(turn.hosted_step, calls)
        + sse("thread.run.step.completed", done)
    )


def _step_delta(step_id: str, calls: list[dict[str, Any]]) -> bytes:
    delta = {"step_details": {"type": "tool_calls", "tool_calls": calls}}
    shown = {"id": step_id, "object": "thread.run.step.delta", "delta": delta}
    return sse("thread.run.step.delta", shown)


def _calls(work: RunWork, turn: Turn, stop: int) -> Iterator[Event]:
    segment = next((one for one in turn.plan.answer.segments if one.kind == "calls"), None)
    if segment is None:
        return
    step = work.step(turn.calls_step, "tool_calls", [])
    data = sse("thread.run.step.created", step) + sse("thread.run.step.in_progress", step)
    yield Event(turn.schedule.due_s(segment.start), data)
    for place, unit in enumerate(segment.units[: max(0, stop - segment.start)], 1):
        call = segment.calls[unit.index]
        shown: dict[str, Any] = {"index": unit.index, "type": "function"}
        if unit.first:
            function = {"name": call.name, "arguments": "", "output": None}
            shown |= {"id": call.call_id, "function": function}
        else:
            shown |= {"function": {"arguments": unit.text}}
        tokens = segment.start + place
        yield Event(turn.schedule.due_s(tokens), _step_delta(turn.calls_step, [shown]), tokens)


def _ending(work: RunWork, turn: Turn) -> bytes:
    """What is done, and the run as it is now."""
    events: list[bytes] = []
    status = work.run.value["status"]
    if turn.over and status in ("completed", "incomplete", "requires_action"):
        if (message := work.message_of(turn, turn.made)) is not None:
            events.append(sse(f"thread.message.{message['status']}", message))
        events += [
            sse("thread.run.step.completed", step)
            for step in work.steps_of(turn)
            if step["id"] not in (turn.hosted_step, turn.calls_step)
        ]
    events.append(sse(f"thread.run.{status}", work.run.value))
    return b"".join(events)


def done_steps(work: RunWork, turn: Turn) -> bytes:
    """The step of calls whose outputs have come."""
    step = work.makers.shelf.find("run_step", work.run.key, turn.calls_step, work.run.object_id)
    return b"" if step is None else sse("thread.run.step.completed", step.value)
