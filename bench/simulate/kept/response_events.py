"""Responses in the background: the first answer, and the events as often as they are wanted."""

from __future__ import annotations

from collections.abc import Iterator

from bench.simulate.errands import EVENTS, SpoiledReply, Streamed, json_told
from bench.simulate.errors import ApiError
from bench.simulate.event_reply import ERROR_EVENTS, Event, EventsReply
from bench.simulate.kept.responses import ResponseStore, Stored, due_of
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Reply, Responder
from bench.simulate.responses_grammar import ResponsesGrammar
from bench.simulate.truth import TruthRecord
from bench.simulate.wheel import TimerWheel


def background_reply(
    store: ResponseStore,
    plan: ChatPlan,
    record: TruthRecord,
    responder: Responder,
    wheel: TimerWheel,
) -> Reply:
    """Begin one; its answer is the queued response, or its events as they come."""
    stored = store.begin(plan, record)
    directives = plan.directives
    if not plan.request.stream:
        told = json_told(store.shown(stored) | {"status": "queued", "output": []})
        headers = [*told.headers, *plan.headers]
        return SpoiledReply(responder, wheel, told, headers, directives, record)
    fault = plan.fault
    return EventsReply(
        responder,
        wheel,
        record,
        [EVENTS, *plan.headers],
        events_of(store, stored, plan, -1),
        fault=fault,
        stall_ms=directives.stall_ms,
        delay_s=directives.head_ms / 1000,
    )


def replayed(store: ResponseStore, stored: Stored, plan: ChatPlan, after: int) -> Streamed:
    """The events past a number, with the faults of `plan`, which are those of the new call.

    Raises:
        ApiError: it was not asked for as a stream.
    """
    if stored.course is None or not stored.streams:
        raise ApiError(
            "This response cannot be streamed because it was not created with background=true "
            "and stream=true.",
            param="stream",
        )
    events = events_of(store, stored, plan, after)
    return Streamed(events, plan.fault, plan.directives.stall_ms)


def events_of(store: ResponseStore, stored: Stored, plan: ChatPlan, after: int) -> Iterator[Event]:
    """Events with a number above `after`, up to the fault of the plan or a cancel."""
    grammar, course = ResponsesGrammar(stored.plan, store.signer), stored.course
    assert course is not None
    stop = plan.limit if plan.fault is None else plan.fault_at
    numbers = -1
    position = 0

    def past(data: bytes) -> bytes:
        nonlocal numbers
        chosen = []
        for event in data.split(b"\n\n")[:-1]:
            numbers += 1
            if numbers > after:
                chosen.append(event + b"\n\n")
        return b"".join(chosen)

    yield Event(0.0, past(grammar.begin()))
    for segment in plan.answer.segments:
        while position < min(segment.end, stop):
            end = min(position + plan.directives.tokens_per_event, segment.end, stop)
            if course.cancelled:
                return
            data = past(grammar.piece(segment, 0, position - segment.start, end - segment.start))
            position = end
            yield Event(due_of(stored, end), data, end)
    match plan.fault:
        case None:
            pass
        case fault if fault in ERROR_EVENTS:
            yield Event(due_of(stored, stop), past(grammar.error(fault)), stop)
            return
        case _:
            return
    yield Event(stored.done_s, b"", stop)
    store.settle(stored)
    match course.state():
        case "succeeded":
            yield Event(0.0, past(grammar.finish(plan.finish, stored.counts)), stop)
        case "cancelled":
            return
        case _:
            yield Event(0.0, past(grammar.error("error_event")), stop)
