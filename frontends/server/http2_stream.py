"""The answer to one HTTP/2 request: what waits until its windows and the socket let it go."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from engine.sink import Sink
from engine.wire.http2_fields import Block, check_fields
from frontends.server.dates import http_date
from frontends.server.interfaces import Exchange, Headers, Wire

_MARKS_MAX: Final = 16
"""Positions remembered of what the socket has yet to take; more are joined, a lower bound still."""
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Of HTTP/1.1's connections; they have no place here (RFC 9113 section 8.2.2)."""
_BODYLESS: Final = frozenset({204, 304})


class Streams(Protocol):
    """The connection, as one of its streams sees it."""

    @property
    def wire(self) -> Wire:
        """The client's socket."""

    @property
    def high_water_bytes(self) -> int:
        """What one stream may hold before its app is to wait."""

    def held(self, size: int) -> None:
        """So many more bytes wait in a stream, or fewer."""

    def make_soon(self, stream: Http2Stream) -> None:
        """The stream has something to say, and its windows are not known to be shut."""

    def continue_soon(self, stream: Http2Stream) -> None:
        """The client may send its body."""

    def consumed(self, stream: Http2Stream, size: int) -> None:
        """Open the windows by so much."""

    def fail(self, stream: Http2Stream) -> None:
        """End the stream by a reset."""


class Http2Stream:
    """Implements `Responder`. The connection makes its frames, in turns with the other streams.

    Args:
        streams: the connection.
        stream_id: its number.
        bodyless: a HEAD request; the body of its answer is dropped.
        expect: the client waits for `100 Continue`.
    """

    __slots__ = (
        "_bodyless", "_delivered_bytes", "_drained", "_expect", "_left", "_marks", "_streams",
        "_watching", "_writable", "blocked", "buffer", "exchange", "fields", "finished",
        "queued", "sent_bytes", "stream_id",
    )  # fmt: skip

    def __init__(self, streams: Streams, stream_id: int, *, bodyless: bool, expect: bool) -> None:
        self.stream_id = stream_id
        self.exchange: Exchange | None = None
        self.fields: Headers | None = None
        """A head that has yet to leave."""
        self.buffer = bytearray()
        """What has yet to become frames."""
        self.finished = False
        """The app has said all."""
        self.queued = False
        """It has its turn coming."""
        self.blocked = False
        """Its windows let nothing more through, though something waits."""
        self.sent_bytes = 0
        """Of the body, in frames."""
        self._streams = streams
        self._bodyless = bodyless
        self._expect = expect
        self._left = False
        self._delivered_bytes = 0
        self._marks: list[tuple[int, int]] = []
        """Where in all that the wire was given, so much of the body was in."""
        self._writable: trio.Event | None = None
        self._drained: trio.Event | None = None
        self._watching = False

    # -- what the app says ----------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """The client has left, or has reset the stream."""
        return self._left or self._streams.wire.gone

    @property
    def delivered_bytes(self) -> int:
        """What the kernel has taken of the body, at least."""
        marks = self._marks
        written_bytes = self._streams.wire.written_bytes
        while marks and marks[0][0] <= written_bytes:
            self._delivered_bytes = marks.pop(0)[1]
        return self._delivered_bytes

    def start(self, status: int, headers: Headers) -> None:
        """The head.

        Raises:
            ValueError: no HTTP/2 answer has this status, or these fields.
        """
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is not the status of an answer")
        fields = [(b":status", b"%d" % status)]
        dated = False
        for name, value in headers:
            name = name.lower()
            if name not in _HOP_BY_HOP:
                fields.append((name, value))
                dated = dated or name == b"date"
        if not dated:
            fields.append((b"date", http_date()))
        check_fields(fields, Block.RESPONSE)
        self._bodyless = self._bodyless or status in _BODYLESS
        self._expect = False
        self.fields = fields
        self._make_soon()

    def send_continue(self) -> None:
        """`100 Continue`, if the client waits for it and nothing was answered."""
        if self._expect and not self.gone:
            self._expect = False
            self._streams.continue_soon(self)

    def send_nowait(self, data: bytes) -> bool:
        """Take bytes of the body; False past the high-water mark."""
        if data and not self._bodyless and not self.gone:
            self.buffer += data
            self._streams.held(len(data))
            if not self.queued and not self.blocked:
                self._streams.make_soon(self)
        return len(self.buffer) < self._streams.high_water_bytes

    def finish(self) -> None:
        """The body is complete."""
        self.finished = True
        self.exchange = None  # which holds the stream, and could not be freed
        self._make_soon()

    def uncork(self, head: bytes) -> None:
        """Heads of HTTP are said by `start`; this is how the body begins."""
        self.send_nowait(head)

    def abort(self) -> None:
        """End the answer visibly unfinished."""
        if not self._left:
            self._streams.fail(self)

    def open_sink(self) -> Sink:
        """The ASGI extension: a sink for the body."""
        return self

    def consumed(self, size: int) -> None:
        """The app took bytes of the request's body."""
        if not self._left:
            self._streams.consumed(self, size)

    async def wait_writable(self) -> None:
        """Return when half the high-water mark waits or less, or the client has left."""
        await trio.lowlevel.checkpoint()
        while not self.gone and len(self.buffer) > self._streams.high_water_bytes // 2:
            if self._writable is None:
                self._writable = trio.Event()
            await self._writable.wait()

    async def wait_drained(self) -> None:
        """Return when the kernel has taken everything, or the client has left."""
        await trio.lowlevel.checkpoint()
        while not self.gone and (self.buffer or self.delivered_bytes < self.sent_bytes):
            if self._drained is None:
                self._drained = trio.Event()
            drained = self._drained
            if not self.buffer:
                self._watch_wire()
            await drained.wait()

    # -- what the connection does with it ---------------------------------------------------------

    def taken(self, size: int) -> None:
        """The first bytes of the buffer are in frames."""
        if size == len(self.buffer):
            self.buffer.clear()
        else:
            del self.buffer[:size]
        self.sent_bytes += size
        self._streams.held(-size)

    def handed_over(self, position: int, *, whole: bool) -> None:
        """The frames made so far end at `position` of the wire; `whole`: the kernel has them."""
        if whole:
            self._marks.clear()
            self._delivered_bytes = self.sent_bytes
        else:
            if len(self._marks) >= _MARKS_MAX:
                self._marks.pop()
            self._marks.append((position, self.sent_bytes))
        if self._writable is not None and len(self.buffer) <= self._streams.high_water_bytes // 2:
            self._writable.set()
            self._writable = None
        if self._drained is not None and not self.buffer:
            if whole:
                self._wake_drained()
            else:
                self._watch_wire()

    def leave(self) -> None:
        """Nothing goes to this client any more: forget what waits, and tell the app."""
        if self._left:
            return
        self._left = True
        self._streams.held(-len(self.buffer))
        self.buffer = bytearray()
        self.fields = None
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self._wake_drained()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.leave()

    def _make_soon(self) -> None:
        if not (self.queued or self.gone) and not self.blocked:
            self._streams.make_soon(self)

    def _watch_wire(self) -> None:
        if not self._watching:
            self._watching = True
            self._streams.wire.on_drained(self._wire_drained)

    def _wire_drained(self) -> None:
        self._watching = False
        self._wake_drained()

    def _wake_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None
