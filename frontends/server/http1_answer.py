"""The answer to one HTTP/1.1 request: what waits until it leaves in one write, framed as one."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import trio

from engine.sink import Sink
from engine.wire.http1_answer import AnswerWriter, BodyEnd
from engine.wire.http1_head import RequestHead
from frontends.server.dates import http_date
from frontends.server.interfaces import Exchange, Flusher, Headers, Wire

log = logging.getLogger("parshall.server")

_MARKS_MAX: Final = 16
"""Positions remembered of what the socket has yet to take; more are joined, a lower bound still."""


class Carrier(Protocol):
    """The connection, as the answer that is under way on it sees it."""

    wire: Wire
    flusher: Flusher
    high_water_bytes: int

    @property
    def may_persist(self) -> bool:
        """Another request can follow: this one has come to its end, and nobody is stopping."""

    def answered(self, answer: Http1Answer) -> None:
        """The answer is complete."""

    def cut(self, answer: Http1Answer) -> None:
        """The answer will never be complete."""

    def continue_body(self) -> None:
        """The client may send the request's body."""

    def consumed(self, size: int) -> None:
        """The app took bytes of the request's body."""


class Http1Answer:
    """Implements `Responder`.

    What is sent in one step of a task leaves in one write, after it (`Flusher`): a head with the
    first bytes of its body, all tokens of one read of the provider. The end leaves at once.
    """

    __slots__ = (
        "_carrier", "_delivered_bytes", "_flows", "_flusher", "_head", "_marks", "_over", "_parts",
        "_parts_bytes", "_relayed", "_request", "_sent_bytes", "_touched", "_wire", "continued",
        "exchange", "started", "writer",
    )  # fmt: skip

    def __init__(self, carrier: Carrier, request: RequestHead) -> None:
        self.exchange: Exchange | None = None
        self.writer = AnswerWriter(request.method, request.version, persistent=False)
        self.started = False
        """There is a head."""
        self._carrier = carrier
        self._wire = carrier.wire
        self._flusher = carrier.flusher
        self._relayed = False
        """The app pushes: what comes is all that a read of its source has brought."""
        self._flows = False
        """So each piece of the body, after the head, is a chunk that needs to wait for nothing."""
        self._request = request
        self.continued = not request.expect
        """The client does not wait to be told before it sends the body."""
        self._head = b""
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._touched = False
        self._over = False
        """Nothing more is said: complete, cut, or nobody is there."""
        self._sent_bytes = 0
        self._delivered_bytes = 0
        self._marks: list[tuple[int, int]] = []
        """Where in all that the wire was given, so much of the body was in."""

    # -- what the app says ----------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """The client has left, or the answer was cut."""
        return self._wire.gone or (self._over and not self.writer.whole)

    @property
    def delivered_bytes(self) -> int:
        """What the kernel has taken of the body, at least."""
        marks = self._marks
        if marks:
            written_bytes = self._wire.written_bytes
            while marks and marks[0][0] <= written_bytes:
                self._delivered_bytes = marks.pop(0)[1]
        return self._delivered_bytes

    def open_sink(self) -> Sink:
        """The ASGI extension: a sink for the body."""
        self._relayed = True
        return self

    def start(self, status: int, headers: Headers) -> None:
        """The head. Raises ValueError: no answer has this status, or these fields."""
        self.writer.persistent = self._request.persistent and self._carrier.may_persist
        self._head = self.writer.head(status, headers, http_date())
        self.started = True
        self.continued = True
        if self.writer.body_end in (BodyEnd.CHUNKS, BodyEnd.CLOSE):
            self._touch()  # else the body follows at once, and its end takes the head along

    def send_continue(self) -> None:
        """`100 Continue`, if the client waits for it and nothing was answered."""
        if not (self.continued or self._over):
            self.continued = True
            self._carrier.continue_body()

    def send_nowait(self, data: bytes) -> bool:
        """Take bytes of the body; False past the high-water mark."""
        wire = self._wire
        if self._flows and data and not (self._parts or self._over or self._flusher.window_s):
            size = len(data)
            self._sent_bytes += size
            wire.write(b"%x\r\n%b\r\n" % (size, data))
            return self._note_written()
        if data and not self._over:
            self._parts.append(data)
            self._parts_bytes += len(data)
            if self.writer.completes(self._parts_bytes):
                self._flush()
            else:
                self._touch()
        waiting_bytes = self._parts_bytes + wire.accepted_bytes - wire.written_bytes
        return waiting_bytes < self._carrier.high_water_bytes

    def finish(self) -> None:
        """The body is complete."""
        if self._over:
            return
        self._write(self._frame() + self.writer.end())
        self._end()
        if self.writer.whole:
            self._carrier.answered(self)
        else:
            log.error("the app sent less of a body than its content-length")
            self._carrier.cut(self)

    def uncork(self, head: bytes) -> None:
        """Heads of HTTP are said by `start`; this is how the body begins."""
        self.send_nowait(head)

    def abort(self) -> None:
        """End the answer visibly unfinished, after what was said of it."""
        if not self._over:
            self._flush()
            self._end()
            self._carrier.cut(self)

    def consumed(self, size: int) -> None:
        """The app took bytes of the request's body."""
        if not self._over:
            self._carrier.consumed(size)

    async def wait_writable(self) -> None:
        """Return when less than the high-water mark waits, or the client has left."""
        await self.wait_drained()

    async def wait_drained(self) -> None:
        """Return when the kernel has taken everything, or the client has left."""
        self._flush()
        await trio.lowlevel.checkpoint()
        wire = self._wire
        while not self.gone and (self._parts or wire.written_bytes < wire.accepted_bytes):
            drained = trio.Event()
            wire.on_drained(drained.set)
            await drained.wait()
            self._flush()

    # -- what the connection does with it ---------------------------------------------------------

    def leave(self) -> None:
        """Nothing goes to this client any more: forget what waits, and tell the app."""
        exchange = self.exchange
        self._end()
        self._head = b""
        self._parts.clear()
        self._parts_bytes = 0
        if exchange is not None:
            exchange.leave()

    def _end(self) -> None:
        """Nothing more is said. The app's side holds the answer, and could not be freed."""
        self._over = True
        self.exchange = None

    # -- bytes ------------------------------------------------------------------------------------

    def _touch(self) -> None:
        if self._parts_bytes >= self._carrier.high_water_bytes:
            self._flush()
        elif not self._touched:
            self._touched = True
            self._flusher.touch(self._flush)

    def _flush(self) -> None:
        self._touched = False
        if self._head or self._parts:
            self._write(self._frame())

    def _frame(self) -> bytes:
        """The head, if it has not left, and what waits of the body, as one piece of it."""
        head, parts = self._head, self._parts
        self._head = b""
        self._flows = self._relayed and self.writer.body_end is BodyEnd.CHUNKS
        if not parts:
            return head
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._sent_bytes += self._parts_bytes
        self._parts_bytes = 0
        return head + self.writer.frame(data)

    def _write(self, data: bytes) -> None:
        if data:
            self._wire.write(data)
        self._note_written()

    def _note_written(self) -> bool:
        """What of the body is with the kernel; False past the high-water mark."""
        wire, marks = self._wire, self._marks
        position, written_bytes = wire.accepted_bytes, wire.written_bytes
        if written_bytes == position:
            if marks:
                marks.clear()
            self._delivered_bytes = self._sent_bytes
            return True
        if not wire.gone:
            if len(marks) >= _MARKS_MAX:
                marks.pop()
            marks.append((position, self._sent_bytes))
        return position - written_bytes < self._carrier.high_water_bytes
