"""One request under way: when its tokens are due, what has come, how it ends.

Times are seconds of the machine's monotonic clock. All are taken from the moment at which the
request, or its token, was due, never from when it was sent: whoever is slow cannot put off being
asked, and a pause makes every token late that fell due in it, not just the one after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from bench.load.plan import Planned
from bench.load.protocols import DIALECTS, FAILED, Message
from bench.load.tally import Left, Tally
from bench.suite.model import STALL_MS

UNANSWERED_S: Final = 2.0
"""A request that is overdue for so long at a window's end counts as unanswered."""
OVERDUE_S: Final = 0.25
"""What is overdue for less at a window's end is on its way: its age would say too little."""
LINE_MAX_BYTES: Final = 16 * 1024 * 1024
"""Of one event; the last one of some protocols has the whole answer."""
USAGE_BYTES: Final = 4_096
"""At the end of a whole answer: where its usage stands."""
_OVERDUE_MAX: Final = 10_000
"""Tokens of one stream that are counted as overdue at a window's end, at most."""


class Book:
    """The tally of the window that is running, and what is under way.

    Attributes:
        probes: whether first tokens count of probes alone.
    """

    def __init__(self, now_s: float) -> None:
        self.tally = Tally(now_s)
        self.active: dict[Exchange, None] = {}
        self.probes = False
        self._cpu_s = time.process_time()

    def cut(self, now_s: float) -> Tally:
        """End the window, begin the next."""
        for exchange in self.active:
            exchange.censor(now_s)
        ended, cpu_s = self.tally, time.process_time()
        ended.end_s = now_s
        ended.cpu_s = cpu_s - self._cpu_s
        ended.streams = sum(exchange.planned.stream for exchange in self.active)
        self.tally, self._cpu_s = Tally(now_s), cpu_s
        return ended


class Exchange:
    """A request and what comes of it. Connections call `head`, `take`, then `end` or `fail`.

    `on_leave` is the connection's way to drop it, set while one has it; `on_over` is called once,
    when it has been answered or has failed, not when its client has left.
    """

    __slots__ = (
        "_book",
        "_counted_due",
        "_done",
        "_failed",
        "_first_due_s",
        "_interval_s",
        "_last_s",
        "_partial",
        "_probed",
        "_recent",
        "_said",
        "_timed",
        "_token",
        "asked",
        "begun",
        "bytes_per_s",
        "due_s",
        "message",
        "on_leave",
        "on_over",
        "over",
        "planned",
        "received",
        "status",
    )

    def __init__(
        self,
        book: Book,
        planned: Planned,
        message: Message,
        due_s: float,
        on_over: Callable[[float], None] | None = None,
    ) -> None:
        self._book = book
        self.planned = planned
        self.message = message
        self.bytes_per_s = planned.reads_bytes_per_s or 0
        """A slow reader's; 0: as fast as it can."""
        self.asked = 0
        """How often it was sent."""
        self.due_s = due_s
        self.on_over = on_over
        self.on_leave: Callable[[], None] | None = None
        self.over = False
        self.begun = False
        """Something of an answer has come."""
        self.status = 0
        self.received = 0
        pace = planned.tokens_per_second
        self._first_due_s = due_s + planned.first_token_ms / 1000
        self._interval_s = 1 / pace if pace else 0.0
        self._timed = planned.stream and pace > 0 and not self.bytes_per_s
        self._probed = planned.window == "probe" or not book.probes
        self._token = DIALECTS[planned.protocol].token
        self._said: int | None = None
        self._done = False
        self._failed = False
        self._last_s = 0.0
        self._partial = b""
        self._recent = b""
        """What brought the last tokens: the end may have come with them."""
        self._counted_due = 0
        book.active[self] = None
        book.tally.sent += 1

    # -- what comes -----------------------------------------------------------------------------

    def head(self, status: int) -> None:
        """The answer's head."""
        self.begun = True
        self.status = status

    def take(self, data: bytes, now_s: float) -> None:
        """A part of the answer's body, however it was cut: an event counts once its line is whole.

        Raises:
            ValueError: a line has no end.
        """
        if self.status != 200:
            return
        if not self.planned.stream:
            self._partial = (self._partial + data)[-USAGE_BYTES:]
            return
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if data[-1:] != b"\n":
            whole = data.rfind(b"\n") + 1
            self._partial = data[whole:]
            if len(self._partial) > LINE_MAX_BYTES:
                raise ValueError("a line without an end")
            if not whole:
                return
            data = data[:whole]
        if tokens := len(self._token.findall(data)):
            self._recent = data
            self._count(tokens, now_s)
        else:
            self._look_for_end(data)

    def _look_for_end(self, data: bytes) -> None:
        self._look_for_usage(data)
        if DIALECTS[self.planned.protocol].done.search(data):
            self._done = True
        elif FAILED.search(data):
            self._failed = True

    def _look_for_usage(self, data: bytes) -> None:
        for match in DIALECTS[self.planned.protocol].usage.finditer(data):
            self._said = int(match[1])

    def _count(self, tokens: int, now_s: float) -> None:
        tally = self._book.tally
        tally.tokens += tokens
        before = self.received
        self.received = before + tokens
        if not before and self._probed:
            tally.first_token_ms.record((now_s - self.due_s) * 1000)
        if self._timed:
            tally.timed_tokens += tokens
            late_ms = (now_s - self._first_due_s - before * self._interval_s) * 1000
            tally.lateness_ms.record(late_ms)
            if before:
                gap_ms = (now_s - self._last_s) * 1000
                tally.gap_ms.record(gap_ms)
                if gap_ms > STALL_MS:
                    tally.stalls += 1
            self._last_s = now_s
            if tokens > 1:
                tally.gap_ms.record(0.0, tokens - 1)
                for number in range(1, tokens):
                    tally.lateness_ms.record(late_ms - number * self._interval_s * 1000)
        leave_after = self.planned.leave_after_tokens
        if leave_after is not None and self.received >= leave_after:
            self.leave()

    # -- how it ends ----------------------------------------------------------------------------

    def end(self, now_s: float) -> None:
        """The answer's body is over, as HTTP sees it."""
        if self.over:
            return
        if self._recent and not self._done:
            self._look_for_end(self._recent)
        if self.status != 200:
            self.fail(f"status {self.status}", now_s)
        elif self._failed:
            self.fail("error event", now_s)
        elif self.planned.stream and not self._done:
            self.fail("unfinished", now_s)
        else:
            self._answered(now_s)

    def _answered(self, now_s: float) -> None:
        tally, planned = self._book.tally, self.planned
        self._settle(now_s)
        if planned.window == "closed":
            tally.closed_requests += 1
        else:
            tally.requests += 1
        if not planned.stream:
            self._look_for_usage(self._partial)
            tally.tokens += planned.tokens
            if planned.window != "closed":
                tally.latency_ms.record((now_s - self.due_s) * 1000)
        if planned.window != "closed":
            tally.answered[self.message.tag] = self._said
        self._tell(now_s)

    def fail(self, kind: str, now_s: float) -> None:
        """It has failed; the first to say so is right."""
        if not self.over:
            self._settle(now_s)
            self._book.tally.count_error(kind)
            self._tell(now_s)

    def leave(self) -> None:
        """Its client closes, if there still is anything to close."""
        if self.over:
            return
        now_s = time.monotonic()
        self._settle(now_s)
        self._book.tally.left.append(Left(self.message.tag, now_s, self.received))
        self._drop()

    def abandon(self, now_s: float) -> None:
        """The measurement is over: close without counting it."""
        if not self.over:
            self._settle(now_s)
            self._drop()

    def _drop(self) -> None:
        on_leave, self.on_leave = self.on_leave, None
        if on_leave is not None:
            on_leave()

    def _settle(self, now_s: float) -> None:
        self.over = True
        del self._book.active[self]
        self._note_due(now_s)

    def _tell(self, now_s: float) -> None:
        self.on_leave = None
        on_over, self.on_over = self.on_over, None
        if on_over is not None:
            on_over(now_s)

    # -- what has not come ----------------------------------------------------------------------

    def _note_due(self, now_s: float) -> int:
        """Count the tokens that fell due since last time; returns how many have in all."""
        if not self._timed or now_s < self._first_due_s:
            return 0
        passed = math.floor((now_s - self._first_due_s) / self._interval_s) + 1
        due = max(self.received, min(passed, self.planned.tokens))
        self._book.tally.due_tokens += due - self._counted_due
        self._counted_due = due
        return due

    def censor(self, now_s: float) -> None:
        """The window ends: what should have come long before counts with its age."""
        due = self._note_due(now_s)
        if self.planned.window == "closed":
            return
        tally, age_ms = self._book.tally, (now_s - self.due_s) * 1000
        if self.planned.stream:
            overdue_s, pending = now_s - self._first_due_s, not self.received
            if pending and overdue_s > OVERDUE_S and self._probed:
                tally.first_token_ms.record(age_ms)
            for number in range(self.received, min(due, self.received + _OVERDUE_MAX)):
                late_s = overdue_s - number * self._interval_s
                if late_s <= OVERDUE_S:
                    break
                tally.lateness_ms.record(late_s * 1000)
            if self.received < due and not pending and (now_s - self._last_s) * 1000 > STALL_MS:
                tally.stalls += 1
        else:
            overdue_s = now_s - self._first_due_s - self.planned.tokens * self._interval_s
            pending = True
            if overdue_s > OVERDUE_S:
                tally.latency_ms.record(age_ms)
        if pending and overdue_s > UNANSWERED_S:
            tally.count_error("unanswered")
