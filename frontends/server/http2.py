"""HTTP/2 to a client: requests to the app, and the ends of connections.

Nothing here waits: not for the app, whose unread bodies the windows bound, and not for the client,
whose answers wait in their streams (http2_outbound.py).
"""

from __future__ import annotations

import logging
import math
from typing import Final

import trio

from engine.wire.http import Delivery
from engine.wire.http1_head import BadHead, RequestHead
from engine.wire.http2 import (
    ErrorCodes,
    Http2Connection,
    Http2Error,
    Http2Limits,
)
from engine.wire.http2_requests import read_request
from frontends.server.asgi import scope_of
from frontends.server.http2_outbound import Http2Outbound
from frontends.server.http2_stream import Http2Stream
from frontends.server.interfaces import Apps, Flusher, Wire
from frontends.server.settings import ServerSettings

log = logging.getLogger("parshall.server")

STREAM_WINDOW_BYTES: Final = 65_535
"""Of a request's body, not yet read by the app."""
CONNECTION_WINDOW_BYTES: Final = 1024 * 1024
"""Of all bodies on one connection."""
RESETS_MAX: Final = 100
"""In ten seconds, of the client's or provoked by it: each costs an app's task."""
LAST_CALL_S: Final = 1.0
"""Between the GOAWAY that tells a client to stop, and the one that says what was served."""
_EVERY_STREAM: Final = 2**31 - 1


class Http2Server(Http2Outbound):
    """Implements `ServerProtocol` on one wire.

    Args:
        wire: the client's socket.
        apps: what serves requests.
        settings: bounds.
        flusher: joins the writes.
    """

    def __init__(self, wire: Wire, apps: Apps, settings: ServerSettings, flusher: Flusher) -> None:
        h2 = Http2Connection(
            client_side=False,
            limits=Http2Limits(
                streams_max=settings.streams_max,
                header_list_max_bytes=2 * settings.header_max_bytes,  # one is answered by 431
                resets_max=RESETS_MAX,
            ),
            stream_window_bytes=STREAM_WINDOW_BYTES,
            connection_window_bytes=CONNECTION_WINDOW_BYTES,
            clock=trio.current_time,
        )
        super().__init__(wire, h2, settings, flusher)
        self._apps = apps
        self._block_until_s = math.inf
        self._last_call_s = math.inf
        h2.start()
        self._touch()

    # -- the connection -------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float:
        """When `timed_out` has something to do."""
        idle_s = math.inf if self._streams else self._idle_until_s
        unread_s = next(iter(self._unread.values()))[0] if self._unread else math.inf
        return min(idle_s, unread_s, self._block_until_s, self._last_call_s, self._stalls.look_at_s)

    @property
    def idle(self) -> bool:
        """No stream is open."""
        return not self._streams

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over:
            return
        try:
            deliveries = self._h2.receive(data)
        except Http2Error as error:
            log.info("an HTTP/2 connection is cut: %s", error)
            self._end()
            return
        for delivery in deliveries:
            self._deliver(delivery)
        for stream_id in self._h2.take_writable():
            self._unblock(stream_id)
        self._stalls.heard(self._h2.pings_answered, trio.current_time())
        if not self._h2.in_header_block:
            self._block_until_s = math.inf
        elif self._block_until_s == math.inf:
            self._block_until_s = trio.current_time() + self._settings.header_timeout_s
        if self._h2.has_outgoing or self._ending:
            self._touch()

    def receive_eof(self) -> None:
        """The client has left."""
        self._leave_all()
        self._over = True
        self.wire.end()

    def timed_out(self) -> None:
        """The client is late with a head, or with reading; or it has had its last call."""
        now_s = trio.current_time()
        if now_s >= self._last_call_s:
            self._last_call_s = math.inf
            self._h2.goaway()
            self._touch()
        if now_s >= self._stalls.look_at_s:
            self._cut_stalled(now_s)
        self._stop_dropping(now_s)
        if now_s >= self._block_until_s or (self.idle and now_s >= self._idle_until_s):
            self._h2.goaway()
            self._end()

    def stop(self) -> None:
        """Take no further request; end when those that are open have been answered."""
        if self._stopping:
            return
        self._stopping = True
        if self._streams:
            self._h2.goaway(last_stream_id=_EVERY_STREAM)
            self._last_call_s = trio.current_time() + LAST_CALL_S
        self._touch()

    # -- requests -------------------------------------------------------------------------------

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.head is not None:
            if delivery.reset_code is None:
                self._begin(delivery)
            return
        stream = self._streams.get(delivery.stream_id)
        if stream is None:
            self._drop_body(delivery)
            return
        if delivery.reset_code is not None:
            self._forget(stream)
            stream.leave()
        elif delivery.data or delivery.ended:
            self._pass_body(stream, delivery)

    def _begin(self, delivery: Delivery) -> None:
        assert delivery.head is not None
        stream_id = delivery.stream_id
        try:
            head = read_request(
                delivery.head,
                ended=delivery.ended and not delivery.data,
                list_max_bytes=self._settings.header_max_bytes,
            )
        except BadHead as error:
            self._refuse(stream_id, error)
            return
        stream = self._open(stream_id, head)
        scope = scope_of(head, self.wire, stream.open_sink)
        stream.exchange = self._apps.begin(scope, stream)
        if delivery.data or delivery.ended:
            self._pass_body(stream, delivery)

    def _open(self, stream_id: int, head: RequestHead) -> Http2Stream:
        stream = Http2Stream(self, stream_id, bodyless=head.method == "HEAD", expect=head.expect)
        self._streams[stream_id] = stream
        return stream

    def _refuse(self, stream_id: int, problem: BadHead) -> None:
        """A malformed request may be answered before its stream is reset (section 8.1.1)."""
        log.info("a request is refused: %s", problem)
        error = self._settings.render_error(problem.status)
        stream = Http2Stream(self, stream_id, bodyless=False, expect=False)
        self._streams[stream_id] = stream
        length = (b"content-length", b"%d" % len(error.body))
        stream.start(problem.status, [*error.headers, length])
        stream.send_nowait(error.body)
        stream.finish()

    def _pass_body(self, stream: Http2Stream, delivery: Delivery) -> None:
        padding_bytes = delivery.flow_bytes - len(delivery.data)
        if stream.exchange is None:
            self.consumed(stream, delivery.flow_bytes)
            return
        if padding_bytes:
            self.consumed(stream, padding_bytes)
        stream.exchange.body(delivery.data, ended=delivery.ended)

    def _drop_body(self, delivery: Delivery) -> None:
        """More of a request that was answered."""
        stream_id = delivery.stream_id
        if (unread := self._unread.get(stream_id)) is None:
            return
        until_s, left_bytes = unread
        left_bytes -= delivery.flow_bytes
        if left_bytes > 0 and not delivery.ended and delivery.reset_code is None:
            self._unread[stream_id] = (until_s, left_bytes)
            self._h2.acknowledge(stream_id, delivery.flow_bytes)
        else:
            del self._unread[stream_id]
            self._h2.reset(stream_id, ErrorCodes.NO_ERROR)

    def _stop_dropping(self, now_s: float) -> None:
        """The rest of these requests is not wanted (RFC 9113 section 8.1)."""
        for stream_id in [one for one, (until_s, _) in self._unread.items() if now_s >= until_s]:
            del self._unread[stream_id]
            self._h2.reset(stream_id, ErrorCodes.NO_ERROR)
            self._touch()
