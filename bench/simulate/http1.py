"""HTTP/1.1 connections of the simulated provider, on httptools."""

from __future__ import annotations

import math
from collections import deque
from http import HTTPStatus
from typing import Final

import httptools
import trio

from bench.simulate.conduit import Conduit, Mark
from bench.simulate.paths import http_date
from bench.simulate.replies import Reply, Request
from bench.simulate.service import Service
from bench.simulate.settings import SimulatorSettings
from bench.simulate.truth import Ending
from bench.simulate.uploads import IncomingBody
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

PIPELINE_MAX: Final = 16
HEAD_MAX_BYTES: Final = 65_536
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_REASONS[529] = b"Overloaded"


class _Incoming:
    """A request that is being parsed."""

    def __init__(self) -> None:
        self.started_s = trio.current_time()
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.head_bytes = 0
        self.body = IncomingBody()


class _TooLarge(Exception):  # noqa: N818
    """A head or body past its limit."""


class Http1Connection:
    """One connection: requests in order, one reply at a time. It is the responder of that reply.

    A client that ends its side while a reply is under way has left, as with most proxies.
    """

    def __init__(
        self, conduit: Conduit, service: Service, wheel: TimerWheel, settings: SimulatorSettings
    ) -> None:
        self._conduit = conduit
        self._service = service
        self._wheel = wheel
        self._settings = settings
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: _Incoming | None = None
        self._waiting: deque[tuple[Request, bool, bool]] = deque()
        self._reply: Reply | None = None
        self._keep_alive = True
        self._chunked = False
        self._http10 = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._marks: list[Mark] = []
        self._reading = False
        self._deadline_scope = trio.CancelScope()

    # -- reading --------------------------------------------------------------------------------

    async def run(self, data: bytes) -> None:
        """Serve until the client leaves or the connection is to end. `data` was read already."""
        while data:
            if not self._conduit.closing:
                self._take(data)
            with trio.CancelScope(deadline=self._deadline_s()) as self._deadline_scope:
                data = await self._conduit.receive()
            if self._deadline_scope.cancelled_caught:
                return

    def _deadline_s(self) -> float:
        if self._reply is not None:
            return math.inf
        if self._incoming is not None:
            return self._incoming.started_s + self._settings.head_timeout_s
        return trio.current_time() + self._settings.idle_timeout_s

    def _take(self, data: bytes) -> None:
        self._reading = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._keep_alive = False  # the offer is declined, the request served
        except httptools.HttpParserCallbackError as error:
            match error.__context__:
                case _TooLarge():
                    self._refuse(413)
                case httptools.HttpParserError():
                    self._refuse(400)
                case _:
                    raise
        except httptools.HttpParserError:
            self._refuse(400)
        self._next_request()
        self._reading = False
        self.flush()

    def _refuse(self, status: int) -> None:
        """The bytes make no sense, so nothing after them does."""
        if self._reply is not None or self._waiting:
            self._conduit.abort()
            return
        self._keep_alive = False
        if status == 413:
            self._begin(self._service.too_large(self))
            return
        self._put(_BAD_REQUEST)
        self.flush()
        self._conduit.close_when_drained()

    def on_message_begin(self) -> None:
        self._incoming = _Incoming()

    def on_url(self, url: bytes) -> None:
        incoming = self._current()
        incoming.url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._current().headers[name.lower()] = value
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        incoming = self._current()
        incoming.body = IncomingBody(incoming.headers.get(b"content-type", b""))
        if incoming.headers.get(b"expect", b"").lower() == b"100-continue" and not self._reply:
            self._put(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        incoming = self._current()
        incoming.body.add(body)
        if incoming.body.size > self._settings.body_max_bytes:
            raise _TooLarge

    def on_message_complete(self) -> None:
        incoming = self._current()
        self._incoming = None
        if len(self._waiting) >= PIPELINE_MAX:
            raise _TooLarge
        url = httptools.parse_url(incoming.url)
        body, upload = incoming.body.take()
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=(url.path or b"/").decode("latin-1"),
            query=(url.query or b"").decode("latin-1"),
            headers=incoming.headers,
            body=body,
            protocol="http/1.1",
            upload=upload,
        )
        http10 = self._parser.get_http_version() == "1.0"
        self._waiting.append((request, self._parser.should_keep_alive(), http10))

    def _current(self) -> _Incoming:
        assert self._incoming is not None
        return self._incoming

    def _count_head(self, size: int) -> None:
        incoming = self._current()
        incoming.head_bytes += size
        if incoming.head_bytes > HEAD_MAX_BYTES:
            raise _TooLarge

    def _next_request(self) -> None:
        while self._waiting and self._reply is None and not self._conduit.closing:
            request, keep_alive, self._http10 = self._waiting.popleft()
            self._keep_alive = self._keep_alive and keep_alive
            self._begin(self._service.reply_to(request, self, trio.current_time()))

    def _begin(self, reply: Reply) -> None:
        self._reply = reply
        self._deadline_scope.deadline = math.inf
        reply.start(trio.current_time())

    # -- the responder ----------------------------------------------------------------------------

    def send_head(self, status: int, headers: Headers, *, length: int | None) -> None:
        reason = _REASONS.get(status, b"")
        lines = [b"HTTP/1.1 %d %s\r\ndate: %s\r\n" % (status, reason, http_date())]
        lines.extend(b"%s: %s\r\n" % field for field in headers)
        self._chunked = length is None and not self._http10
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self._keep_alive = False
        if not self._keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._put(b"".join(lines))

    def send_body(self, data: bytes) -> int:
        # A short take is only allowed while the flusher has work, for it is what calls back.
        taken = 0
        while taken < len(data) and not self._conduit.congested:
            piece = data[taken : taken + self._settings.high_water_bytes]
            self._put(b"%x\r\n%s\r\n" % (len(piece), piece) if self._chunked else piece)
            taken += len(piece)
            if taken < len(data):
                self.flush()
        return taken

    def mark(self, reply: Reply, tokens: int, ending: Ending | None) -> None:
        self._marks.append((self._out_bytes, reply, tokens, ending))

    def end(self) -> None:
        if self._chunked:
            self._put(b"0\r\n\r\n")

    def release(self) -> None:
        self._reply = None
        self._chunked = False
        if not self._keep_alive:
            self.flush()
            self._conduit.close_when_drained()
            return
        self._deadline_scope.deadline = trio.current_time() + self._settings.idle_timeout_s
        self._next_request()

    def reset(self, *, refused: bool) -> None:
        if refused:
            self.cut()
            return
        self.flush()
        self._conduit.abort()

    def cut(self) -> None:
        self.flush()
        self._conduit.close_when_drained(abrupt=True)

    def goaway(self, *, refuse: bool) -> None:
        self._keep_alive = False
        if refuse:
            self.cut()

    def touch(self) -> None:
        if not self._reading:
            self._wheel.touch(self)

    def flush(self) -> None:
        if not self._out and not self._marks:
            return
        data, marks = b"".join(self._out), self._marks
        self._out, self._out_bytes, self._marks = [], 0, []
        self._conduit.send(data, marks)

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    # -- the connection ----------------------------------------------------------------------------

    def on_drained(self) -> None:
        """The socket takes bytes again."""
        if self._reply is not None:
            self._reply.pump()
        self.flush()

    def lost(self) -> None:
        """The connection is over, whoever ended it."""
        self._waiting.clear()
        if self._incoming is not None:
            self._incoming.body.discard()
        for _, writer, _, _ in self._marks:
            writer.on_lost()
        self._marks.clear()
        if self._reply is not None:
            self._reply.abandon("reset", trio.current_time())
            self._reply = None
