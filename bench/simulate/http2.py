"""HTTP/2 connections of the simulated provider, on the engine's own state machine."""

from __future__ import annotations

import math

import trio

from bench.simulate.conduit import Conduit, Mark
from bench.simulate.paths import http_date
from bench.simulate.replies import Reply, Request
from bench.simulate.service import Service
from bench.simulate.settings import SimulatorSettings
from bench.simulate.truth import Ending
from bench.simulate.uploads import IncomingBody
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Delivery, Headers
from engine.wire.http2 import ErrorCodes, Http2Connection, Http2Error, Http2StreamClosed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class _Exchange:
    """One stream: the request as it comes in, then the responder of its reply."""

    __slots__ = ("_connection", "body", "head", "reply", "stream_id")

    def __init__(self, connection: ServedHttp2, stream_id: int, head: Headers) -> None:
        self._connection = connection
        self.stream_id = stream_id
        self.head = head
        content_type = next((value for name, value in head if name == b"content-type"), b"")
        self.body = IncomingBody(content_type)
        self.reply: Reply | None = None

    def request(self) -> Request:
        """The request, complete."""
        headers = dict(self.head)
        path, _, query = headers.get(b":path", b"/").partition(b"?")
        body, upload = self.body.take()
        return Request(
            method=headers.get(b":method", b"").decode("latin-1"),
            path=path.decode("latin-1"),
            query=query.decode("latin-1"),
            headers=headers,
            body=body,
            protocol="h2",
            upload=upload,
        )

    # -- the responder ----------------------------------------------------------------------------

    def send_head(self, status: int, headers: Headers, *, length: int | None) -> None:
        fields = [(b":status", b"%d" % status), (b"date", http_date()), *headers]
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        try:
            self._connection.h2.send_headers(self.stream_id, fields)
        except Http2StreamClosed:
            self._connection.gone(self)

    def send_body(self, data: bytes) -> int:
        connection = self._connection
        if connection.conduit.congested:
            connection.hold_on(self)
            return 0
        try:
            return connection.h2.send_data(self.stream_id, data)
        except Http2StreamClosed:
            connection.gone(self)
            return 0

    def mark(self, reply: Reply, tokens: int, ending: Ending | None) -> None:
        self._connection.mark(reply, tokens, ending)

    def end(self) -> None:
        try:
            self._connection.h2.send_data(self.stream_id, b"", ended=True)
        except Http2StreamClosed:
            self._connection.gone(self)

    def release(self) -> None:
        # Answered before the request was complete: nothing more of it is wanted.
        self._connection.h2.reset(self.stream_id, ErrorCodes.NO_ERROR)
        self._connection.finished(self)

    def reset(self, *, refused: bool) -> None:
        code = ErrorCodes.REFUSED_STREAM if refused else ErrorCodes.INTERNAL_ERROR
        self._connection.h2.reset(self.stream_id, code)
        self._connection.finished(self)

    def cut(self) -> None:
        self._connection.cut()

    def goaway(self, *, refuse: bool) -> None:
        self._connection.goaway(max(0, self.stream_id - 2) if refuse else None)

    def touch(self) -> None:
        self._connection.touch()

    def flush(self) -> None:
        self._connection.flush()


class ServedHttp2:
    """One connection and its streams. All that a tick or a read brings goes out as one write."""

    def __init__(
        self, conduit: Conduit, service: Service, wheel: TimerWheel, settings: SimulatorSettings
    ) -> None:
        self.conduit = conduit
        self.h2 = Http2Connection(client_side=False, limits=settings.http2)
        self._marks: list[Mark] = []
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._service = service
        self._wheel = wheel
        self._settings = settings
        self._exchanges: dict[int, _Exchange] = {}
        self._held: dict[int, _Exchange] = {}
        self._replies = 0
        self._reading = False
        self._deadline_scope = trio.CancelScope()

    # -- reading --------------------------------------------------------------------------------

    async def run(self, data: bytes) -> None:
        """Serve until the client leaves or the connection is to end. `data` was read already."""
        self.h2.start()
        while data:
            if not self.conduit.closing:
                self._take(data)
            with trio.CancelScope(deadline=self._deadline_s()) as self._deadline_scope:
                data = await self.conduit.receive()
            if self._deadline_scope.cancelled_caught:
                return

    def _deadline_s(self) -> float:
        if self._replies:
            return math.inf
        return trio.current_time() + self._settings.idle_timeout_s

    def _take(self, data: bytes) -> None:
        self._reading = True
        broken = False
        try:
            deliveries = self.h2.receive(data)
        except Http2Error as error:
            deliveries, broken = error.deliveries, True
        for delivery in deliveries:
            self._deliver(delivery)
        for stream_id in self.h2.take_writable():
            exchange = self._exchanges.get(stream_id)
            if exchange is not None and exchange.reply is not None:
                exchange.reply.pump()
        self._reading = False
        self.flush()
        if broken:
            self._abandon_all("reset")
            self.conduit.close_when_drained()

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.head is not None:
            exchange = _Exchange(self, delivery.stream_id, delivery.head)
            self._exchanges[delivery.stream_id] = exchange
        elif (found := self._exchanges.get(delivery.stream_id)) is not None:
            exchange = found
        else:
            return  # late frames of a stream that is over; its window was credited then
        if delivery.data:
            self.h2.acknowledge(delivery.stream_id, delivery.flow_bytes)
        now_s = trio.current_time()
        if delivery.reset_code is not None:
            self._drop(exchange, "reset", now_s)
        elif exchange.reply is None:
            exchange.body.add(delivery.data)
            if exchange.body.size > self._settings.body_max_bytes:
                self._begin(exchange, self._service.too_large(exchange), now_s)
            elif delivery.ended:
                reply = self._service.reply_to(exchange.request(), exchange, now_s)
                self._begin(exchange, reply, now_s)

    def _begin(self, exchange: _Exchange, reply: Reply, now_s: float) -> None:
        exchange.body.discard()  # past its limit; otherwise it was taken
        exchange.reply = reply
        self._replies += 1
        self._deadline_scope.deadline = math.inf
        reply.start(now_s)

    # -- what exchanges ask for -------------------------------------------------------------------

    def hold_on(self, exchange: _Exchange) -> None:
        """Pump it when the socket has drained."""
        self._held[exchange.stream_id] = exchange

    def finished(self, exchange: _Exchange) -> None:
        """Its response has ended."""
        self._forget(exchange)
        if self.h2.draining and not self._exchanges:
            self.flush()
            self.conduit.close_when_drained()

    def gone(self, exchange: _Exchange) -> None:
        """The stream was closed under it."""
        self._drop(exchange, "reset", trio.current_time())

    def goaway(self, last_stream_id: int | None) -> None:
        """Take no more streams; those above the last were never processed."""
        named = self.h2.goaway_last_id
        if named is not None:  # RFC 9113 section 6.8: it may be lowered, not raised
            last_stream_id = named if last_stream_id is None else min(named, last_stream_id)
        self.h2.goaway(last_stream_id=last_stream_id)
        now_s = trio.current_time()
        for exchange in list(self._exchanges.values()):
            if last_stream_id is not None and exchange.stream_id > last_stream_id:
                self._drop(exchange, "cut", now_s)
        if not self._exchanges:
            self.flush()
            self.conduit.close_when_drained()

    def cut(self) -> None:
        """Close the connection after what was sent; every stream on it is cut."""
        self.flush()
        self._abandon_all("cut")
        self.conduit.close_when_drained(abrupt=True)

    def touch(self) -> None:
        """Flush at the end of this tick; a read flushes by itself."""
        if not self._reading:
            self._wheel.touch(self)

    def mark(self, reply: Reply, tokens: int, ending: Ending | None) -> None:
        """Tell the reply when all that was sent so far is with the operating system."""
        self._gather()
        self._marks.append((self._out_bytes, reply, tokens, ending))

    def _gather(self) -> None:
        data = self.h2.outgoing()
        if data:
            self._out.append(data)
            self._out_bytes += len(data)

    def flush(self) -> None:
        """Everything that has gathered, as one write."""
        self._gather()
        if self._out or self._marks:
            data, marks = b"".join(self._out), self._marks
            self._out, self._out_bytes, self._marks = [], 0, []
            self.conduit.send(data, marks)

    # -- the connection ----------------------------------------------------------------------------

    def on_drained(self) -> None:
        """The socket takes bytes again."""
        held, self._held = self._held, {}
        for exchange in held.values():
            if exchange.reply is not None:
                exchange.reply.pump()
        self.flush()

    def lost(self) -> None:
        """The connection is over, whoever ended it."""
        for _, writer, _, _ in self._marks:
            writer.on_lost()
        self._marks.clear()
        self._abandon_all("reset")

    def _abandon_all(self, ending: Ending) -> None:
        now_s = trio.current_time()
        for exchange in list(self._exchanges.values()):
            self._drop(exchange, ending, now_s)

    def _drop(self, exchange: _Exchange, ending: Ending, now_s: float) -> None:
        self._forget(exchange)
        exchange.body.discard()
        if exchange.reply is not None:
            exchange.reply.abandon(ending, now_s)

    def _forget(self, exchange: _Exchange) -> None:
        self._held.pop(exchange.stream_id, None)
        if self._exchanges.pop(exchange.stream_id, None) is None or exchange.reply is None:
            return
        self._replies -= 1
        if not self._replies:
            self._deadline_scope.deadline = self._deadline_s()
