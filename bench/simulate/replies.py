"""One response in the making: an object the timer wheel wakes, not a task.

A reply decides what to send and when; a responder (an HTTP/1.1 or HTTP/2 connection's side of one
request) puts it on the wire. Neither waits for the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap
from typing import Final, Protocol

from bench.simulate.truth import Ending, TruthRecord
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

PATIENCE_S: Final = 600.0
"""How long a client may take nothing of an answer that waits for it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request. `path` and `query` are as sent; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    protocol: str
    upload: mmap | None = None
    """The body of a long form, which `body` is then not."""


class Responder(Protocol):
    """Where one response goes. Nothing here waits or raises for a peer that has left."""

    def send_head(self, status: int, headers: Headers, *, length: int | None) -> None:
        """The response head; `length` is of the body when it is known."""

    def send_body(self, data: bytes) -> int:
        """Takes 0 to len(data) bytes; after a short take `Reply.pump` is called in time."""

    def mark(self, reply: Reply, tokens: int, ending: Ending | None) -> None:
        """Call `reply.on_written` once everything sent so far is with the operating system."""

    def end(self) -> None:
        """A clean end of the body; `release` follows."""

    def release(self) -> None:
        """The reply is over: the connection may go on to others."""

    def reset(self, *, refused: bool) -> None:
        """HTTP/2: RST_STREAM, REFUSED_STREAM if refused. HTTP/1.1: TCP RST, FIN if refused."""

    def cut(self) -> None:
        """Close the connection once what was sent has gone out, with all that is on it."""

    def goaway(self, *, refuse: bool) -> None:
        """HTTP/2: GOAWAY that includes or excludes this request. HTTP/1.1: close after it."""

    def touch(self) -> None:
        """Something was sent outside a read: flush at the end of this tick."""

    def flush(self) -> None:
        """Write now what was sent, as one write of its own."""


class Reply:
    """Sends a head and what subclasses put into the outbox, as fast as the responder takes it.

    `finale` runs once, when the outbox has been handed over: the clean end, or a fault.
    """

    separately = False
    """Whether each piece of the outbox is flushed by itself."""

    def __init__(
        self, responder: Responder, wheel: TimerWheel, record: TruthRecord | None = None
    ) -> None:
        self._responder = responder
        self._wheel = wheel
        self._record = record
        self._outbox: deque[tuple[bytes, int]] = deque()
        self._handed_tokens = 0
        self._finale: Callable[[], None] | None = None
        self._ending: Ending = "done"
        self._out_of_patience = False
        self.over = False
        """Nothing more will be sent: it ended, failed, or was abandoned."""

    def start(self, now_s: float) -> None:
        """The request is complete."""
        self.wake(now_s)

    def wake(self, now_s: float) -> None:
        """A time this reply asked for has come."""
        if self._out_of_patience:
            self._fail("cut")
            self._responder.reset(refused=False)
        else:
            self._step(now_s)
            if not self.over and not self._wheel.holds(self):
                # It asked for no other time, so it waits for its client; not for ever.
                self._wake_at(now_s + PATIENCE_S)
                self._out_of_patience = True
        self._responder.touch()

    def _step(self, now_s: float) -> None:
        """Do what is due and ask for the next time with `_wake_at`."""
        raise AssertionError(now_s)

    def _wake_at(self, at_s: float) -> None:
        self._out_of_patience = False
        self._wheel.schedule(self, at_s)

    def pump(self) -> None:
        """Hand over what the responder takes, a piece at a time, then the finale."""
        outbox, responder = self._outbox, self._responder
        while outbox and not self.over:
            piece, tokens = outbox[0]
            taken = responder.send_body(piece) if piece else 0
            if taken < len(piece):
                if not self.over:
                    outbox[0] = (piece[taken:], tokens)
                return
            outbox.popleft()
            if tokens != self._handed_tokens:
                self._handed_tokens = tokens
                responder.mark(self, tokens, None)
            if self.separately:
                responder.flush()
        if self._finale is not None and not self.over:
            finale, self._finale = self._finale, None
            finale()

    def finish(self) -> None:
        """The finale of a response that ends cleanly."""
        self._close()
        self._responder.end()
        self._responder.mark(self, self._handed_tokens, self._ending)
        self._responder.release()

    def _close(self) -> None:
        self.over = True
        self._wheel.discard(self)
        self._outbox.clear()
        self._finale = None

    def _fail(self, ending: Ending) -> None:
        """Over by a fault of ours; what was handed over may still be on its way."""
        self._close()
        if self._record is not None:
            self._record.end(ending)

    def abandon(self, ending: Ending, now_s: float) -> None:
        """The peer reset the stream or left, or its connection was cut under it."""
        if not self.over:
            self.settle_count(now_s)
            self._fail(ending)

    def settle_count(self, now_s: float) -> None:
        """Bring the generated tokens up to date before the record ends."""

    def crash(self) -> None:
        """A wake raised: end the connection rather than leave it hanging."""
        self._fail("error")
        self._responder.cut()

    def on_written(self, tokens: int, ending: Ending | None) -> None:
        """What was handed over up to here is with the operating system."""
        if self._record is not None:
            self._record.tokens_written = tokens
            if ending is not None:
                self._record.end(ending)

    def on_lost(self) -> None:
        """The connection ended before that."""
        if self._record is not None:
            self._record.end("reset")


class StaticReply(Reply):
    """A whole answer that is known from the start, after a delay."""

    def __init__(
        self,
        responder: Responder,
        wheel: TimerWheel,
        status: int,
        headers: Headers,
        body: bytes,
        *,
        delay_s: float = 0.0,
        record: TruthRecord | None = None,
    ) -> None:
        super().__init__(responder, wheel, record)
        self._status = status
        self._headers = headers
        self._body = body
        self._delay_s = delay_s
        self._ending = "error" if status >= 400 else "done"
        if record is not None:
            record.status = status

    def fails(self) -> None:
        """It is no answer, whatever its status says."""
        self._ending = "error"

    def start(self, now_s: float) -> None:
        if self._delay_s > 0:
            self._wake_at(now_s + self._delay_s)
        else:
            self.wake(now_s)

    def _step(self, now_s: float) -> None:
        self._responder.send_head(self._status, self._headers, length=len(self._body))
        self._outbox.append((self._body, 0))
        self._finale = self.finish
        self.pump()
