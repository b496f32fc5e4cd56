"""Chat completions by the clock, streamed or whole, with the faults of the directives.

Token j of a choice exists at `start + first_token + (j - 1) / tokens_per_second`, an absolute
schedule, so that a late tick is made up for and pace does not drift. When the client takes nothing,
generation goes on until `ahead_max_tokens` wait for it and then stops, as a provider's would at its
own buffers; once they have gone the schedule continues from that moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import orjson
import trio

from bench.simulate.directives import Directives
from bench.simulate.openai_chat import (
    DONE,
    EventEncoder,
    error_event,
    status_error,
    unary_body,
    usage_object,
)
from bench.simulate.openai_request import ChatRequest
from bench.simulate.replies import Reply, Responder
from bench.simulate.text import WordSource, seed_of
from bench.simulate.truth import TruthRecord
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

BURST_TOKENS: Final = 512
"""Most tokens one wake produces, so that an unpaced stream leaves room for the others."""
STALL_S: Final = 600.0
"""How long an open-ended stall lasts before the connection is cut."""

WRONG_USAGE: Final = (7, 100)
"""What `usage=wrong` adds to the input and the output tokens."""


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """What the request and its directives come to. Tokens are of each choice."""

    request: ChatRequest
    directives: Directives
    completion_id: str
    created: int
    input_tokens: int
    headers: Headers
    ahead_max_tokens: int
    seed: bytes

    @property
    def limit(self) -> int:
        """Where the answer ends by itself."""
        wanted, most = self.directives.tokens, self.request.max_output_tokens
        if most is None or self.directives.ignore_max_tokens:
            return wanted
        return min(wanted, most)

    @property
    def finish_reason(self) -> str:
        return "length" if self.limit < self.directives.tokens else "stop"

    @property
    def drains(self) -> bool:
        """A GOAWAY that lets the answer finish."""
        return self.directives.fault == "goaway" and self.directives.cut_after is None

    @property
    def fault(self) -> str | None:
        """The fault that interrupts the answer at `fault_at`."""
        directives = self.directives
        if self.drains:
            return None
        if directives.fault is None and directives.cut_after is not None:
            return "cut"
        return directives.fault

    @property
    def fault_at(self) -> int:
        """After how many tokens the fault strikes."""
        if self.directives.cut_after is not None:
            return min(self.directives.cut_after, self.limit)
        return self.limit if self.fault == "eof" else self.limit // 2

    def sources(self) -> list[WordSource]:
        """The text of each choice."""
        return [
            WordSource(seed_of(self.seed, str(choice).encode()))
            for choice in range(self.request.choices)
        ]

    def usage(self, output_tokens: int) -> dict[str, Any] | None:
        """What is reported, when something is."""
        directives, request = self.directives, self.request
        asked = not request.stream or request.include_usage or directives.usage == "always"
        if not asked or directives.usage == "none":
            return None
        more = WRONG_USAGE if directives.usage == "wrong" else (0, 0)
        return usage_object(self.input_tokens + more[0], output_tokens + more[1])


class Schedule:
    """When tokens exist."""

    __slots__ = ("_begin_s", "_per_second")

    def __init__(self, begin_s: float, per_second: float) -> None:
        self._begin_s = begin_s
        self._per_second = per_second

    def due_s(self, tokens: int) -> float:
        """When the first `tokens` tokens exist."""
        if tokens <= 1 or not self._per_second:
            return self._begin_s
        return self._begin_s + (tokens - 1) / self._per_second

    def available(self, now_s: float) -> float:
        """How many tokens exist; infinite for an unpaced schedule that has begun."""
        if now_s < self._begin_s:
            return 0
        if not self._per_second:
            return math.inf
        return math.floor((now_s - self._begin_s) * self._per_second + 1e-9) + 1

    def shift(self, seconds: float) -> None:
        """Everything from here on happens later."""
        self._begin_s += seconds


class ChatReply(Reply):
    """What a streamed and a whole completion share: the plan, the clock, the faults."""

    def __init__(
        self, responder: Responder, wheel: TimerWheel, record: TruthRecord, plan: ChatPlan
    ) -> None:
        super().__init__(responder, wheel, record)
        self._truth = record
        self._plan = plan
        self._choices = plan.request.choices
        self._sources = plan.sources()
        self._position = 0
        """Tokens of each choice that were produced."""
        self._fault = plan.fault
        self._stop = plan.limit if self._fault is None else plan.fault_at
        self._head_due_s = 0.0
        self._schedule = Schedule(0.0, 0.0)
        self._stalled = False
        self._usage: dict[str, Any] | None = None
        sources, choices = self._sources, self._choices
        record.texts = lambda tokens: [s.text(0, tokens // choices) for s in sources]

    def start(self, now_s: float) -> None:
        directives = self._plan.directives
        self._head_due_s = now_s + directives.head_ms / 1000
        begin_s = max(now_s + directives.first_token_ms / 1000, self._head_due_s)
        self._schedule = Schedule(begin_s, directives.tokens_per_second)
        self.wake(now_s)

    def _step(self, now_s: float) -> None:
        if self._fault in ("goaway_refused", "refused"):
            self._strike()
            return
        if self._stalled:
            self._resume(now_s)
        if not self.over:
            self._generate(now_s)

    def _generate(self, now_s: float) -> None:
        """Produce and send what is due."""
        raise AssertionError(now_s)

    def _produced(self, position: int) -> None:
        if position and not self._position:
            self._truth.note_first_token()
        self._position = position
        self._truth.tokens_generated = position * self._choices

    def finish(self) -> None:
        self._truth.usage_reported = self._usage
        super().finish()

    def _stall(self, now_s: float) -> None:
        """Fall silent, for a while or until the client leaves."""
        stall_ms = self._plan.directives.stall_ms
        self._stalled = True
        self._wake_at(now_s + (STALL_S if stall_ms is None else stall_ms / 1000))

    def _resume(self, now_s: float) -> None:
        """The stall is over: go on as if nothing had been, or give up."""
        self._stalled = False
        if self._plan.directives.stall_ms is None:
            self._fail("cut")
            self._responder.cut()
            return
        self._fault = None
        self._stop = self._plan.limit
        self._schedule.shift(max(0.0, now_s - self._schedule.due_s(self._position + 1)))

    def _strike(self) -> None:
        """The faults that end the response here and now."""
        self._fail("error" if self._fault == "error_event" else "cut")
        responder = self._responder
        match self._fault:
            case "rst":
                responder.reset(refused=False)
            case "refused":
                responder.reset(refused=True)
            case "goaway_refused":
                responder.goaway(refuse=True)
            case "goaway":
                responder.goaway(refuse=False)
                responder.cut()
            case "eof" | "error_event":
                responder.end()
                responder.release()
            case _:
                responder.cut()


class ChatStream(ChatReply):
    """A streamed completion: role, text, finish and usage events, `[DONE]`."""

    def __init__(
        self, responder: Responder, wheel: TimerWheel, record: TruthRecord, plan: ChatPlan
    ) -> None:
        super().__init__(responder, wheel, record, plan)
        request, directives = plan.request, plan.directives
        self._encoder = EventEncoder(
            plan.completion_id,
            plan.created,
            request.model,
            choices=request.choices,
            with_usage=request.include_usage or directives.usage == "always",
        )
        self._per_event = directives.tokens_per_event
        self._ahead_max = max(plan.ahead_max_tokens, self._per_event)
        self._head_sent = False
        self._role_sent = False
        self._paused = False

    def _step(self, now_s: float) -> None:
        if self._role_sent and not self._stalled:  # the common case, once a token
            self._produce(now_s)
            self.pump()
        else:
            super()._step(now_s)

    def _generate(self, now_s: float) -> None:
        if not self._head_sent:
            if now_s < self._head_due_s:
                self._wake_at(self._head_due_s)
                return
            self._send_head()
        if not self._role_sent:
            begin_s = self._schedule.due_s(0)
            if now_s < begin_s:
                self._wake_at(begin_s)
                return
            self._role_sent = True
            self._outbox.append((self._encoder.role(), 0))
        self._produce(now_s)
        self.pump()

    def _send_head(self) -> None:
        self._head_sent = True
        self._truth.status = 200
        if self._plan.drains:
            self._responder.goaway(refuse=False)
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *self._plan.headers]
        self._responder.send_head(200, headers, length=None)

    def _produce(self, now_s: float) -> None:
        """Make the events that are due, and ask to be woken for the next."""
        stop, per_event, begin = self._stop, self._per_event, self._position
        while self._position < stop:
            if (self._position - begin) * self._choices >= BURST_TOKENS:
                self._wake_at(now_s)
                return
            end = min(self._position - self._position % per_event + per_event, stop)
            due_s = self._schedule.due_s(end)
            if due_s > now_s:
                self._wake_at(due_s)
                return
            if end - self._handed_tokens // self._choices > self._ahead_max:
                self._paused = True
                return
            self._emit(self._position, end)
        self._conclude(now_s)

    def _emit(self, start: int, end: int) -> None:
        encoder = self._encoder
        if self._choices == 1:
            self._outbox.append((encoder.text(0, self._sources[0].text(start, end)), end))
        else:
            tokens = start * self._choices
            for choice, source in enumerate(self._sources):
                tokens += end - start
                self._outbox.append((encoder.text(choice, source.text(start, end)), tokens))
        self._produced(end)

    def _conclude(self, now_s: float) -> None:
        """All tokens up to the stop are made: the terminal events, or the fault."""
        tokens = self._position * self._choices
        match self._fault:
            case None:
                self._usage = self._plan.usage(tokens)
                self._outbox.append((self._terminal(self._usage), tokens))
                self._finale = self.finish
            case "stall":
                self._stall(now_s)
            case "error_event":
                self._outbox.append((error_event(), tokens))
                self._finale = self._strike
            case _:
                self._finale = self._strike

    def _terminal(self, usage: dict[str, Any] | None) -> bytes:
        reported = self._encoder.usage(usage) if usage is not None else b""
        return self._encoder.finish(self._plan.finish_reason) + reported + DONE

    def pump(self) -> None:
        super().pump()
        if not self._paused or self.over:
            return
        ahead = self._position - self._handed_tokens // self._choices
        if ahead * 2 <= self._ahead_max:
            self._paused = False
            now_s = trio.current_time()
            end = min(self._position + self._per_event, self._stop)
            self._schedule.shift(max(0.0, now_s - self._schedule.due_s(end)))
            self._wake_at(now_s)


class ChatUnary(ChatReply):
    """A whole completion, sent when its last token exists. Faults strike before a byte of it."""

    def _generate(self, now_s: float) -> None:
        due_s = self._schedule.due_s(self._stop)
        if now_s < due_s:
            self._wake_at(due_s)
            return
        self._produced(self._stop)
        tokens = self._position * self._choices
        match self._fault:
            case None:
                if self._plan.drains:
                    self._responder.goaway(refuse=False)
                self._usage = self._plan.usage(tokens)
                self._answer(200, self._completion(), tokens)
            case "stall":
                self._stall(now_s)
            case "error_event":
                self._ending = "error"
                self._answer(500, orjson.dumps(status_error(500, None).to_json()), 0)
            case "eof":
                body = self._completion()
                self._answer(200, body[: len(body) // 2], 0)
            case _:
                self._strike()

    def _completion(self) -> bytes:
        plan = self._plan
        return unary_body(
            plan.completion_id,
            plan.created,
            plan.request.model,
            [source.text(0, self._position) for source in self._sources],
            plan.finish_reason,
            self._usage,
        )

    def _answer(self, status: int, body: bytes, tokens: int) -> None:
        self._truth.status = status
        headers = [(b"content-type", b"application/json"), *self._plan.headers]
        truncated = self._fault == "eof"
        self._responder.send_head(status, headers, length=None if truncated else len(body))
        self._outbox.append((body, tokens))
        self._finale = self._strike if truncated else self.finish
        self.pump()

    def settle_count(self, now_s: float) -> None:
        """Nothing was sent yet, but what the clock says was generated."""
        if not self._stalled:
            made = min(self._schedule.available(now_s), self._stop)
            self._produced(max(self._position, int(made)))
