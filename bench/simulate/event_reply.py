"""A stream of events that are known from the start, each by its time, with the faults of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import trio

from bench.simulate.chat_replies import STALL_S
from bench.simulate.directives import FaultKind
from bench.simulate.replies import Reply, Responder
from bench.simulate.truth import TruthRecord
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

BURST_EVENTS: Final = 256
"""Most events one wake sends."""
ERROR_EVENTS: Final = frozenset({"error_event", "error_bare"})


class Event(NamedTuple):
    """What is sent once its time has come; `tokens` are those it makes whole."""

    due_s: float
    data: bytes
    tokens: int = 0


class EventsReply(Reply):
    """Sends them; then ends cleanly, or as the fault says."""

    def __init__(
        self,
        responder: Responder,
        wheel: TimerWheel,
        record: TruthRecord | None,
        headers: Headers,
        events: Iterator[Event],
        *,
        fault: FaultKind | None = None,
        stall_ms: float | None = None,
        delay_s: float = 0.0,
    ) -> None:
        super().__init__(responder, wheel, record)
        self._headers = headers
        self._events = events
        self._next: Event | None = None
        self._fault = fault
        self._stall_ms = stall_ms
        self._delay_s = delay_s
        self._head_sent = False
        self._stalled = False
        self._hungry = False
        if record is not None:
            record.stream = True

    def start(self, now_s: float) -> None:
        self._wake_at(now_s + self._delay_s)

    def _step(self, now_s: float) -> None:
        if self._stalled:
            self._fail("cut")
            self._responder.cut()
            return
        if not self._head_sent:
            self._head_sent = True
            if self._record is not None:
                self._record.status = 200
            self._responder.send_head(200, self._headers, length=None)
        self._send(now_s)
        if not self.over:
            self.pump()

    def _send(self, now_s: float) -> None:
        self._hungry = False
        for _ in range(BURST_EVENTS):
            event = self._next or next(self._events, None)
            self._next = None
            if event is None:
                self._conclude(now_s)
                return
            if event.due_s > now_s:
                self._next = event
                self._wake_at(event.due_s)
                return
            self._outbox.append((event.data, event.tokens))
        self._hungry = True

    def pump(self) -> None:
        super().pump()
        if self._hungry and not self._outbox and not self.over:
            self._hungry = False
            self._wake_at(trio.current_time())

    def _conclude(self, now_s: float) -> None:
        match self._fault:
            case None:
                self._finale = self.finish
            case "stall":
                self._stalled = True
                stall_s = STALL_S if self._stall_ms is None else self._stall_ms / 1000
                self._wake_at(now_s + stall_s)
            case _:
                self._finale = self._strike

    def _strike(self) -> None:
        self._fail("error" if self._fault in ERROR_EVENTS else "cut")
        strike(self._responder, self._fault)


def strike(responder: Responder, fault: FaultKind | None) -> None:
    """End the response here and now, as a fault says."""
    match fault:
        case "eof" | "error_event" | "error_bare":
            responder.end()
            responder.release()
        case "rst":
            responder.reset(refused=False)
        case "refused":
            responder.reset(refused=True)
        case "goaway_refused":
            responder.goaway(refuse=True)
        case _:
            responder.cut()
