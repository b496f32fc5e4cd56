"""One HTTP/1.1 connection to a provider: one request at a time, kept alive in between.

Two tasks, as with HTTP/2: the reader hands each read to the stream's receiver by a plain call, the
writer is the only one that sends. The reader stops while a window's worth of bytes has not been
acknowledged, so that a slow client is felt by its own provider and by nobody else. HTTP/1.1 has no
way to take a request back but to close the connection.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from engine.errors import UpstreamError, UpstreamUnreachableError
from engine.wire.http import Delivery, Headers
from engine.wire.http1 import Http1Busy, Http1ClosedError, Http1Connection, Http1Error

from .bodies import Body
from .errors import StreamLostError, lost_message
from .providers import Origin
from .settings import ConnectionSettings
from .sockets import abort_nowait, acknowledge_quickly, is_readable, receiver_of
from .statistics import ConnectionStatistics
from .streams import NO_BODY, Receiver, UpstreamStream

logger = logging.getLogger(__name__)

_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Asking twice does no more than asking once (RFC 9110 section 9.2.1)."""
_KEEP_ALIVE_MARGIN_S: Final = 1.0
"""We let go of a connection this much before the server said it would."""


class SerialConnection:
    """An open HTTP/1.1 connection, with the interface of an HTTP/2 one that has a single slot.

    Attributes:
        on_change: called when the slot is freed, or can no longer be had.
        keep: not closed for being idle, unless the server says that it would.
    """

    http_version: Final = "HTTP/1.1"

    def __init__(
        self, transport: trio.abc.Stream, origin: Origin, settings: ConnectionSettings
    ) -> None:
        self.origin = origin
        self.on_change: Callable[[], None] = lambda: None
        self.keep = False
        self._transport = transport
        self._settings = settings
        self._http1 = Http1Connection(settings.http1_limits)
        self._stream: UpstreamStream | None = None
        self._uploading: UpstreamStream | None = None
        """Whose request is being sent; may outlive its answer."""
        self._opened = 0
        self._opened_at_s = self._idle_since_s = trio.current_time()
        self._answers = 0
        self._safe = False
        self._unacknowledged = 0
        self._room = trio.Event()
        self._wake = trio.Event()
        self._sleep_scope = trio.CancelScope()
        self._tasks_scope = trio.CancelScope()
        self._finished = trio.Event()
        self._error: UpstreamError | None = None
        self._retired = False
        self._closing = False

    # -- what the pool asks ---------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        return 1 if self._stream is not None else 0

    @property
    def free_streams(self) -> int:
        """1 when a request can be sent now."""
        busy = self._uploading is not None or not self._http1.idle
        return 0 if busy or self._retired or self._closing else 1

    @property
    def draining(self) -> bool:
        """No request can be sent any more; the one that is being answered finishes."""
        return self._closing or self._retired or self._http1.draining

    async def wait_finished(self) -> None:
        """Return when the connection has failed, was closed, or was idle for too long."""
        await self._finished.wait()

    def retire_nowait(self) -> None:
        """Take no request any more; end when the one that is being answered has been."""
        self._retired = True
        if self._stream is None and self._uploading is None and not self._closing:
            self._finish("it is retired")
        else:
            self.on_change()

    def statistics(self) -> ConnectionStatistics:
        """Its figures now."""
        return ConnectionStatistics(
            protocol="http/1.1",
            state="draining" if self.draining else "open",
            age_s=trio.current_time() - self._opened_at_s,
            open_streams=self.open_streams,
            free_streams=self.free_streams,
            streams=self._opened,
            uploads=0 if self._uploading is None else 1,
        )

    @trio.lowlevel.enable_ki_protection
    def still_open(self) -> bool:
        """Whether an idle connection still is one, as far as the kernel knows.

        Servers close connections that were idle for long, whenever they like. Something to read,
        that the reader has not come to yet, is either that or an answer to nothing.
        """
        if self._answers and not self._closing and is_readable(self._transport):
            self._finish("the server has closed the idle connection")
        return not self._closing

    def open_stream_nowait(
        self, headers: Headers, body: Body, receiver: Receiver
    ) -> UpstreamStream:
        """Send a request.

        Raises:
            Http1Busy: `free_streams` is 0.
            MalformedFieldsError: `headers` cannot be said in HTTP/1.1.
        """
        if not self.free_streams:
            raise Http1Busy("the connection is not idle")
        stream_id = self._http1.next_stream(headers, body_bytes=len(body))
        stream = UpstreamStream(self, stream_id, receiver, body, self._settings.stream_window_bytes)
        self._safe = any(name == b":method" and v in _SAFE_METHODS for name, v in headers)
        self._stream = self._uploading = stream
        self._unacknowledged = 0
        self._opened += 1
        self._wake.set()
        return stream

    # -- what streams ask -----------------------------------------------------------------------

    def acknowledge(self, stream: UpstreamStream, flow_bytes: int) -> None:
        """See UpstreamStream."""
        if stream is self._stream:
            self._unacknowledged = max(0, self._unacknowledged - flow_bytes)
            self._room.set()

    @trio.lowlevel.enable_ki_protection
    def reset(self, stream: UpstreamStream, code: int) -> None:
        """See UpstreamStream.reset_nowait. A request that has left takes the connection with it."""
        if stream is not self._stream:
            return
        if self._http1.withdraw():
            self._uploading = None
            self._let_go()
            self._slot_freed()
        else:
            self._let_go()
            self._abort("its stream was reset")

    # -- reading --------------------------------------------------------------------------------

    async def _read(self) -> None:
        settings, receive_some = self._settings, receiver_of(self._transport)
        while not self._finished.is_set():
            room = settings.stream_window_bytes - self._unacknowledged
            if room <= 0:
                self._room = trio.Event()
                await self._room.wait()
                continue
            data = await receive_some(min(room, settings.read_max_bytes))
            self._receive(bytes(data))

    @trio.lowlevel.enable_ki_protection
    def _receive(self, data: bytes) -> None:
        fault: Http1Error | None = None
        try:
            delivery = self._http1.receive(data) if data else self._http1.receive_eof()
        except Http1Error as error:
            delivery, fault = error.delivery, error
        if delivery is not None and self._stream is not None:
            self._deliver(self._stream, delivery)
        if fault is not None:
            raise fault
        if self._http1.closed and not self._closing:
            self._finish("the server has closed it")

    def _deliver(self, stream: UpstreamStream, delivery: Delivery) -> None:
        if delivery.ended:
            self._answered()
        else:
            self._unacknowledged += delivery.flow_bytes
        try:
            stream.receiver.deliver(delivery)
        except Exception:  # a receiver's fault is its own
            logger.exception("a receiver failed; its stream is reset")
            self.reset(stream, 0)
            self._lose(stream, "The answer could not be handled.", unprocessed=False)

    def _answered(self) -> None:
        """The answer is over. A request that is still being sent is pointless."""
        upload = self._uploading
        pointless = upload is not None and bool(upload.body or upload.spooled)
        self._let_go()
        self._answers += 1
        if pointless:
            self._abort("the answer came before the request was sent")
        elif not self._http1.closed:
            self._slot_freed()

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        assert stream is not None
        stream.forget_body()
        self._unacknowledged = 0
        self._room.set()

    def _lose(self, stream: UpstreamStream, message: str, *, unprocessed: bool) -> None:
        try:
            stream.receiver.lost(StreamLostError(message, unprocessed=unprocessed))
        except Exception:
            logger.exception("a receiver failed when told that its stream is lost")

    def _slot_freed(self) -> None:
        if self._uploading is not None:
            return  # the last piece is with the kernel: the writer will say so
        if self._retired:
            self._finish("it is retired")
            return
        self._idle_since_s = trio.current_time()
        self._sleep_scope.deadline = self._idle_until_s()
        self.on_change()

    # -- writing --------------------------------------------------------------------------------

    async def _write(self) -> None:
        while not self._closing:
            stream = self._uploading
            if stream is None:
                await self._sleep()
            else:
                await self._send_request(stream)
                acknowledge_quickly(self._transport)
                self._uploading = None
                if self._stream is None and not self._closing:
                    self._slot_freed()

    async def _send_request(self, stream: UpstreamStream) -> None:
        stream.dispatched = True
        head = self._http1.outgoing()
        if len(stream.body) <= self._settings.outbox_max_bytes:  # nearly always: one segment
            head += stream.body
            stream.body = NO_BODY
        await self._send(head)
        while self._stream is stream and (stream.body or stream.spooled):
            if not stream.body and stream.spooled is not None:
                await self._read_spooled(stream)
                continue
            piece = stream.body[: self._settings.outbox_max_bytes]
            stream.body = stream.body[len(piece) :] or NO_BODY
            await self._send(piece)

    async def _read_spooled(self, stream: UpstreamStream) -> None:
        assert stream.spooled is not None
        try:
            piece = await stream.spooled.read(stream.offset)
        except OSError as error:
            if self._stream is stream:
                logger.error("a request's body cannot be read: %s", error)
                self.reset(stream, 0)
                self._lose(stream, "The request's body could not be read.", unprocessed=False)
            return
        if self._stream is stream:
            stream.offset += len(piece)
            stream.body = memoryview(piece)
            if stream.offset >= stream.spooled.size_bytes:
                stream.spooled = None

    async def _send(self, data: bytes | memoryview) -> None:
        with trio.fail_after(self._settings.write_timeout_s):
            await self._transport.send_all(data)

    async def _sleep(self) -> None:
        """Wait for a request; end the connection when none comes for too long."""
        deadline_s = self._idle_until_s() if self._stream is None else math.inf
        with trio.CancelScope(deadline=deadline_s) as self._sleep_scope:
            await self._wake.wait()
        self._wake = trio.Event()
        if self._stream is None and trio.current_time() >= self._idle_until_s():
            self._finish("it was idle")

    def _idle_until_s(self) -> float:
        idle_s = math.inf if self.keep else self._settings.idle_timeout_s
        if (promised_s := self._http1.keep_alive_s) is not None:
            idle_s = min(idle_s, max(promised_s - _KEEP_ALIVE_MARGIN_S, promised_s / 2))
        return self._idle_since_s + idle_s

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """The connection's tasks. When the writer is done, so is the connection."""
        with self._tasks_scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._contain, self._read)
                await self._contain(self._write)
                nursery.cancel_scope.cancel()

    async def _contain(self, task: Callable[[], Awaitable[None]]) -> None:
        """Whatever ends a task ends the connection, and nothing else."""
        try:
            await task()
        except Http1ClosedError as error:
            self._fail("The provider closed the connection before the end of its answer.", error)
        except Http1Error as error:
            self._fail("The provider broke the HTTP/1.1 protocol.", error)
        except trio.TooSlowError as error:
            self._fail("The provider stopped reading.", error)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            self._fail(lost_message(error), error)
        except Exception as error:  # a fault of ours: this connection's stream pays, no other
            logger.exception("the connection to %s failed", self.origin.authority)
            self._fail("The connection to the provider failed.", error)

    @trio.lowlevel.enable_ki_protection
    def _fail(self, message: str, cause: Exception) -> None:
        if self._error is None and not self._closing:
            level = logging.WARNING if self._stream is not None else logging.INFO
            logger.log(level, "connection to %s: %r", self.origin.authority, cause)
        if self._error is None:
            self._error = UpstreamUnreachableError(message)
        self._lose_stream(message)
        self._abort("it failed")

    def _lose_stream(self, message: str) -> None:
        """Tell the receiver, and whether its request may have been acted on.

        Nothing that came back proves nothing: the server may have died of the request, or just
        after it. Only what was never sent was surely not processed. What is safe to repeat and met
        a server that closed a kept connection, as any may at any time, counts as the same.
        """
        if (stream := self._stream) is None:
            return
        raced = self._safe and self._answers > 0 and not self._http1.answer_begun
        self._let_go()
        self._lose(stream, message, unprocessed=not stream.dispatched or raced)

    def _finish(self, why: str) -> None:
        """No stream is open, and none will be."""
        logger.info("connection to %s ends: %s", self.origin.authority, why)
        self._closing = True
        self._finished.set()
        self._wake.set()
        self._room.set()
        self.on_change()

    def _abort(self, why: str) -> None:
        """Close at once, whatever is still under way."""
        abort_nowait(self._transport)
        if not self._finished.is_set():
            self._finish(why)

    @trio.lowlevel.enable_ki_protection
    def close_nowait(self) -> None:
        """The block is left: a stream still open is lost, and the provider sees it."""
        if self._stream is not None:
            self._lose_stream("The gateway is closing the connection.")
            self._abort("the gateway closes it")
        elif not self._finished.is_set():
            self._finish("the gateway closes it")
        self._tasks_scope.cancel()
