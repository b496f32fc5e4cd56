"""One HTTP/2 connection to a provider, shared by many exchanges.

Two tasks: the reader hands each read's deliveries to the streams' receivers by plain calls; the
writer is the only one that sends. Between them is the outbox of Http2Connection. A third, asleep
nearly always, pings a silent peer.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from engine.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from engine.lateness import sleep_and_listen
from engine.wire.http import Delivery, Headers
from engine.wire.http2 import ErrorCodes, Http2Connection, Http2Error, Http2StreamLimit

from .bodies import Body
from .dial import dial, spoken_protocol
from .errors import StreamLostError, lost_message
from .holding import hold_open
from .providers import Origin
from .settings import ConnectionSettings
from .sockets import receiver_of
from .statistics import ConnectionStatistics, RoundTrip
from .streams import Receiver, UpstreamStream
from .uploads import Uploads

__all__ = ["Connection", "ConnectionSettings", "open_connection"]

logger = logging.getLogger(__name__)

_FIRST_PING_S: Final = 1.0
"""Short connections need none."""


class Connection:
    """An open connection; made by `open_connection`.

    Attributes:
        on_change: called when a slot is freed, the peer changes its limit, or no stream may open
            any more.
        keep: not closed for being idle.
    """

    http_version: Final = "HTTP/2"

    def __init__(
        self, transport: trio.abc.Stream, origin: Origin, settings: ConnectionSettings
    ) -> None:
        self.origin = origin
        self.on_change: Callable[[], None] = lambda: None
        self.keep = False
        self._transport = transport
        self._settings = settings
        self._http2 = Http2Connection(
            client_side=True,
            limits=settings.limits,
            stream_window_bytes=settings.stream_window_bytes,
            connection_window_bytes=settings.connection_window_bytes,
            clock=trio.current_time,
        )
        self._streams: dict[int, UpstreamStream] = {}
        self._uploads = Uploads(
            self._http2, changed=self._wake_writer, unreadable=self._body_unreadable
        )
        self._undispatched: list[UpstreamStream] = []
        self._wake = trio.Event()
        self._ready = trio.Event()
        self._finished = trio.Event()
        self._error: UpstreamError | None = None
        self._closing = False
        self._retired = False
        self._opened = 0
        self._opened_at_s = trio.current_time()
        self._round_trip = RoundTrip()
        self._reads = 0
        self._pongs = 0
        self._settings_seen = 0
        self._goaway_seen = False
        self._idle_since_s = trio.current_time()
        self._writer_scope = trio.CancelScope(shield=True)

    # -- what the pool asks ---------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        return self._http2.open_streams

    @property
    def free_streams(self) -> int:
        """Streams that may be opened now; 0 once the connection drains or has failed."""
        if self._closing or self._retired or self._error is not None:
            return 0
        return min(self._http2.free_streams, self.origin.max_streams - self._http2.open_streams)

    @property
    def draining(self) -> bool:
        """No stream opens any more; those that are open finish."""
        return self._closing or self._retired or self._error is not None or self._http2.draining

    async def wait_finished(self) -> None:
        """Return when the connection has failed, has drained, or was idle for too long."""
        await self._finished.wait()

    def retire_nowait(self) -> None:
        """Open no stream any more; end when those that are open have."""
        self._retired = True
        if not self._streams:
            self._finished.set()
        self.on_change()

    def statistics(self) -> ConnectionStatistics:
        """Its figures now."""
        windows = self._http2.windows()
        return ConnectionStatistics(
            protocol="h2",
            state="draining" if self.draining else "open",
            age_s=trio.current_time() - self._opened_at_s,
            open_streams=self.open_streams,
            free_streams=max(0, self.free_streams),
            streams=self._opened,
            uploads=sum(1 for s in self._streams.values() if s.body or s.spooled is not None),
            send_window_bytes=windows.send_bytes,
            receive_window_bytes=windows.receive_bytes,
            stream_send_window_min_bytes=windows.stream_send_min_bytes,
            stream_receive_window_min_bytes=windows.stream_receive_min_bytes,
            round_trip_last_s=self._round_trip.last_s,
            round_trip_smoothed_s=self._round_trip.smoothed_s,
        )

    def open_stream_nowait(
        self, headers: Headers, body: Body, receiver: Receiver
    ) -> UpstreamStream:
        """Send a request.

        Raises:
            Http2StreamLimit: `free_streams` is 0.
            MalformedFieldsError: `headers` break RFC 9113 section 8.2 or 8.3.
        """
        if self.free_streams <= 0:
            raise Http2StreamLimit("no free stream")
        stream_id = self._http2.next_stream(headers, ended=not body)
        stream = UpstreamStream(self, stream_id, receiver, body, self._settings.stream_window_bytes)
        self._streams[stream_id] = stream
        self._opened += 1
        self._undispatched.append(stream)
        self._uploads.add(stream)
        self._wake.set()
        return stream

    # -- what streams ask -----------------------------------------------------------------------

    def acknowledge(self, stream: UpstreamStream, flow_bytes: int) -> None:
        """See UpstreamStream."""
        if self._http2.acknowledge(stream.stream_id, flow_bytes):
            self._wake.set()

    @trio.lowlevel.enable_ki_protection
    def reset(self, stream: UpstreamStream, code: int) -> None:
        """See UpstreamStream.reset_nowait."""
        if self._streams.pop(stream.stream_id, None) is None:
            return
        stream.forget_body()
        self._http2.reset(stream.stream_id, code)
        self._wake.set()
        self._slot_freed()

    # -- reading --------------------------------------------------------------------------------

    async def _read(self) -> None:
        size = self._settings.read_max_bytes
        receive_some = receiver_of(self._transport)
        while True:
            data = await receive_some(size)
            if not data:
                raise trio.BrokenResourceError("the peer closed the connection")
            self._reads += 1
            self._receive(bytes(data))

    @trio.lowlevel.enable_ki_protection
    def _receive(self, data: bytes) -> None:
        http2 = self._http2
        fault: Http2Error | None = None
        try:
            deliveries = http2.receive(data)
        except Http2Error as error:
            deliveries, fault = error.deliveries, error
        for delivery in deliveries:
            self._deliver(delivery)
        for stream_id in http2.take_writable():
            if (stream := self._streams.get(stream_id)) is not None:
                self._uploads.add(stream)
        if http2.has_outgoing:
            self._wake.set()
        if http2.pings_answered != self._pongs:
            self._pongs = http2.pings_answered
            self._round_trip.end(http2.last_pong, trio.current_time())
        if http2.settings_seen != self._settings_seen:
            self._settings_seen = http2.settings_seen
            self._ready.set()
            self.on_change()
        if fault is not None:
            raise fault
        if http2.draining and not self._goaway_seen:
            self._goaway_received()

    def _goaway_received(self) -> None:
        self._goaway_seen = True
        logger.info("%s drains: code %s", self.origin.authority, self._http2.goaway_code)
        if not self._streams:
            self._finished.set()
        self.on_change()

    def _deliver(self, delivery: Delivery) -> None:
        stream = self._streams.get(delivery.stream_id)
        if stream is None:  # reset by a receiver earlier in this read
            return
        if delivery.unprocessed and delivery.reset_code is None:
            self._drop(stream)
            self._lose(stream, "The provider is closing its connection.", unprocessed=True)
            return
        if delivery.ended or delivery.reset_code is not None:
            self._drop(stream)
        try:
            stream.receiver.deliver(delivery)
        except Exception:  # a receiver's fault is its own: the connection carries others
            logger.exception("a receiver failed; its stream is reset")
            self.reset(stream, ErrorCodes.CANCEL)
            self._lose(stream, "The answer could not be handled.", unprocessed=False)

    def _drop(self, stream: UpstreamStream) -> None:
        """The answer is over. A request that is still being sent is pointless."""
        del self._streams[stream.stream_id]
        stream.forget_body()
        if self._http2.is_open(stream.stream_id):
            self._http2.reset(stream.stream_id, ErrorCodes.CANCEL)
        self._slot_freed()

    def _lose(self, stream: UpstreamStream, message: str, *, unprocessed: bool) -> None:
        try:
            stream.receiver.lost(StreamLostError(message, unprocessed=unprocessed))
        except Exception:
            logger.exception("a receiver failed when told that its stream is lost")

    def _slot_freed(self) -> None:
        if not self._streams:
            self._idle_since_s = trio.current_time()
            if self.draining:
                self._finished.set()
        self.on_change()

    # -- writing --------------------------------------------------------------------------------

    async def _write(self) -> None:
        # Shielded: when the connection is closed around us, resets and GOAWAY still go out, until
        # the deadline that `close_nowait` sets.
        with self._writer_scope:
            while not (self._closing and not self._http2.has_outgoing):
                data = self._next_write()
                if not data:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    continue
                with trio.fail_after(self._settings.write_timeout_s):
                    await self._transport.send_all(data)

    def _next_write(self) -> bytes:
        if not self._closing:
            self._uploads.queue(self._settings.outbox_max_bytes)
        for stream in self._undispatched:
            stream.dispatched = True
        self._undispatched.clear()
        return self._http2.outgoing()

    def _wake_writer(self) -> None:
        self._wake.set()

    def _body_unreadable(self, stream: UpstreamStream) -> None:
        self.reset(stream, ErrorCodes.CANCEL)
        self._lose(stream, "The request's body could not be read.", unprocessed=False)

    # -- life -----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Measure the round trip now and then; end the connection when it is dead or idle."""
        settings = self._settings
        await trio.sleep(min(_FIRST_PING_S, settings.ping_interval_s))
        while True:
            reads = self._reads
            self._http2.ping(self._round_trip.begin(trio.current_time()))
            self._wake.set()
            await sleep_and_listen(settings.ping_interval_s)
            idle_s = trio.current_time() - self._idle_since_s
            if not self._streams and idle_s >= settings.idle_timeout_s and not self.keep:
                self._closing = True
                self._finished.set()
                return
            if self._reads == reads:  # not even the ping's answer has come
                await sleep_and_listen(settings.ping_timeout_s)
                if self._reads == reads:
                    raise trio.TooSlowError

    async def wait_ready(self, deadline_s: float) -> None:
        with trio.move_on_at(deadline_s):
            await self._ready.wait()
        if self._error is not None:
            raise self._error
        if not self._ready.is_set():
            raise UpstreamTimeoutError("The provider accepted a connection and stayed silent.")

    async def run(self) -> None:
        """The connection's tasks. When the writer is done, so is the connection."""
        self._http2.start()
        async with trio.open_nursery() as nursery:
            self._uploads.run_in(nursery)
            nursery.start_soon(self._contain, self._read)
            nursery.start_soon(self._contain, self._watch)
            await self._contain(self._write)
            nursery.cancel_scope.cancel()

    async def _contain(self, task: Callable[[], Awaitable[None]]) -> None:
        """Whatever ends a task ends the connection, and nothing else."""
        try:
            await task()
        except Http2Error as error:
            self._fail("The provider broke the HTTP/2 protocol.", error)
        except trio.TooSlowError as error:
            self._fail("The provider stopped answering.", error)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            self._fail(lost_message(error), error)
        except Exception as error:  # a fault of ours: this connection's streams pay, no others
            logger.exception("the connection to %s failed", self.origin.authority)
            self._fail("The connection to the provider failed.", error)

    @trio.lowlevel.enable_ki_protection
    def _fail(self, message: str, cause: Exception) -> None:
        if self._error is None and not self._closing:
            level = logging.WARNING if self._streams else logging.INFO
            logger.log(level, "connection to %s: %r", self.origin.authority, cause)
        self._closing = True
        if self._error is None:
            self._error = UpstreamUnreachableError(message)
        self._lose_all(message)
        self._finished.set()
        self._ready.set()
        self._wake.set()
        self.on_change()

    def _lose_all(self, message: str) -> None:
        for stream in list(self._streams.values()):
            if self._streams.pop(stream.stream_id, None) is None:
                continue  # reset by another's receiver meanwhile
            stream.forget_body()
            self._http2.reset(stream.stream_id, ErrorCodes.CANCEL)
            self._lose(stream, message, unprocessed=not stream.dispatched)

    @trio.lowlevel.enable_ki_protection
    def close_nowait(self) -> None:
        """Reset what is open, say goodbye, and give the writer a moment to send it."""
        self._closing = True
        self._lose_all("The gateway is closing the connection.")
        self._http2.goaway()
        self._writer_scope.deadline = trio.current_time() + self._settings.close_timeout_s
        self._finished.set()
        self._wake.set()


@asynccontextmanager
async def open_connection(
    origin: Origin,
    settings: ConnectionSettings = ConnectionSettings(),  # noqa: B008  (frozen)
) -> AsyncIterator[Connection]:
    """Connect, and keep the connection's tasks until the block is left.

    Streams still open then are reset, and their receivers told.

    Raises:
        UpstreamTimeoutError: not connected, or no SETTINGS, within `origin.connect_timeout_s`.
        UpstreamUnreachableError: no route, no TLS, no HTTP/2.
    """
    deadline_s = trio.current_time() + origin.connect_timeout_s
    transport = await dial(origin)
    if spoken_protocol(transport, origin) != "h2":
        await trio.aclose_forcefully(transport)
        raise UpstreamUnreachableError("The provider speaks HTTP/1.1; HTTP/2 is needed.")
    connection = Connection(transport, origin, settings)
    async with hold_open(connection, transport):
        await connection.wait_ready(deadline_s)
        yield connection
