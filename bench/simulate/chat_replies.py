"""Answers by the clock, streamed or whole, with the faults of the directives.

Token j of a choice exists at `start + first_token + (j - 1) / tokens_per_second`, an absolute
schedule, so that a late tick is made up for and pace does not drift. When the client takes nothing,
generation goes on until `ahead_max_tokens` wait for it and then stops, as a provider's would at its
own buffers; once they have gone the schedule continues from that moment.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from bench.simulate.answer import Segment
from bench.simulate.dialect import Dialect
from bench.simulate.plan import ChatPlan, Schedule
from bench.simulate.replies import Reply, Request, Responder
from bench.simulate.truth import TruthRecord
from bench.simulate.wheel import TimerWheel

BURST_TOKENS: Final = 512
"""Most tokens one wake produces, so that an unpaced stream leaves room for the others."""
STALL_S: Final = 600.0
"""How long an open-ended stall lasts before the connection is cut."""

_ERROR_EVENTS: Final = ("error_event", "error_bare", "corrupt", "oversized", "truncated")


class ChatReply(Reply):
    """What a streamed and a whole answer share: the plan, the clock, the faults."""

    def __init__(
        self,
        responder: Responder,
        wheel: TimerWheel,
        record: TruthRecord,
        plan: ChatPlan,
        dialect: Dialect,
        request: Request,
    ) -> None:
        super().__init__(responder, wheel, record)
        self._truth = record
        self._plan = plan
        self._dialect = dialect
        self._request = request
        self._choices = plan.request.choices
        self._position = 0
        """Tokens of each choice that were produced."""
        self._fault = plan.fault
        self._stop = plan.limit if self._fault is None else plan.fault_at
        self._head_due_s = 0.0
        self._schedule = Schedule(0.0, 0.0)
        self._stalled = False
        self._usage: dict[str, Any] | None = None
        record.answer, record.choice_count = plan.answer, self._choices

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
        self._fail("error" if self._fault in _ERROR_EVENTS else "cut")
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
            case fault if fault == "eof" or fault in _ERROR_EVENTS:
                responder.end()
                responder.release()
            case _:
                responder.cut()


class ChatStream(ChatReply):
    """A streamed answer: the events of its dialect's grammar."""

    def __init__(
        self,
        responder: Responder,
        wheel: TimerWheel,
        record: TruthRecord,
        plan: ChatPlan,
        dialect: Dialect,
        request: Request,
    ) -> None:
        super().__init__(responder, wheel, record, plan, dialect, request)
        self._grammar = dialect.grammar(plan)
        self._per_event = plan.directives.tokens_per_event
        self._ahead_max = max(plan.ahead_max_tokens, self._per_event)
        self._segments = (segment for segment in plan.answer.segments if segment.tokens)
        self._segment: Segment | None = next(self._segments, None)
        self._head_sent = False
        self._begun = False
        self._paused = False

    def _step(self, now_s: float) -> None:
        if self._begun and not self._stalled:  # the common case, once a token
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
        if not self._begun:
            begin_s = self._schedule.due_s(0)
            if now_s < begin_s:
                self._wake_at(begin_s)
                return
            self._begun = True
            self._outbox.append((self._grammar.begin(), 0))
        self._produce(now_s)
        self.pump()

    def _send_head(self) -> None:
        self._head_sent = True
        self._truth.status = 200
        if self._plan.drains:
            self._responder.goaway(refuse=False)
        content_type = self._dialect.stream_type(self._plan.request)
        headers = [(b"content-type", content_type), *self._plan.headers]
        self._responder.send_head(200, headers, length=None)

    def _produce(self, now_s: float) -> None:
        """Make the events that are due, and ask to be woken for the next."""
        stop, per_event, begin = self._stop, self._per_event, self._position
        while self._position < stop:
            if (self._position - begin) * self._choices >= BURST_TOKENS:
                self._wake_at(now_s)
                return
            segment = self._segment
            assert segment is not None, "the answer has no more tokens"
            offset = self._position - segment.start
            end = min(self._position - offset % per_event + per_event, segment.end, stop)
            due_s = self._schedule.due_s(end)
            if due_s > now_s:
                self._wake_at(due_s)
                return
            if end - self._handed_tokens // self._choices > self._ahead_max:
                self._paused = True
                return
            self._emit(segment, self._position, end)
            if end == segment.end:
                self._segment = next(self._segments, None)
        self._conclude(now_s)

    def _emit(self, segment: Segment, start: int, end: int) -> None:
        piece, first = self._grammar.piece, segment.start
        if self._choices == 1:
            self._outbox.append((piece(segment, 0, start - first, end - first), end))
        else:
            tokens = start * self._choices
            for choice in range(self._choices):
                tokens += end - start
                self._outbox.append((piece(segment, choice, start - first, end - first), tokens))
        self._produced(end)

    def _conclude(self, now_s: float) -> None:
        """All tokens up to the stop are made: the terminal events, or the fault."""
        tokens = self._position * self._choices
        match self._fault:
            case None:
                counts = self._plan.counts(self._position)
                self._usage = None if counts is None else self._dialect.usage(counts)
                terminal = self._grammar.finish(self._plan.finish, counts)
                self._outbox.append((terminal, tokens))
                self._finale = self.finish
            case "stall":
                self._stall(now_s)
            case fault if fault in _ERROR_EVENTS:
                self._outbox.append((self._grammar.error(fault), tokens))
                self._finale = self._strike
            case _:
                self._finale = self._strike

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
    """A whole answer, sent when its last token exists. Faults strike before a byte of it."""

    def _generate(self, now_s: float) -> None:
        due_s = self._schedule.due_s(self._stop)
        if now_s < due_s:
            self._wake_at(due_s)
            return
        self._produced(self._stop)
        tokens = self._position * self._choices
        match self._fault:
            case None | "eof" | "cut_body":
                if self._plan.drains:
                    self._responder.goaway(refuse=False)
                self._answer(200, self._whole(), tokens)
            case "stall":
                self._stall(now_s)
            case fault if fault in _ERROR_EVENTS:
                self._ending = "error"
                error = self._dialect.status_error(500, None)
                own_id = self._truth.provider_request_id
                _, body = self._dialect.write_error(error, self._request, own_id)
                self._answer(500, body, 0)
            case _:
                self._strike()

    def _whole(self) -> bytes:
        counts = self._plan.counts(self._position)
        self._usage = None if counts is None else self._dialect.usage(counts)
        body = self._dialect.unary(self._plan, self._position, counts)
        return body.ljust(self._plan.directives.answer_bytes)

    def _answer(self, status: int, body: bytes, tokens: int) -> None:
        self._truth.status = status
        content_type = self._plan.request.answer_type if status == 200 else b"application/json"
        headers = [(b"content-type", content_type), *self._plan.headers]
        length: int | None = len(body)
        self._finale = self.finish
        if self._fault in ("eof", "cut_body"):
            length = None if self._fault == "eof" else length
            body, tokens, self._finale = body[: len(body) // 2], 0, self._strike
        self._responder.send_head(status, headers, length=length)
        self._outbox.append((body, tokens))
        self.pump()

    def settle_count(self, now_s: float) -> None:
        """Nothing was sent yet, but what the clock says was generated."""
        if not self._stalled:
            made = min(self._schedule.available(now_s), self._stop)
            self._produced(max(self._position, int(made)))
