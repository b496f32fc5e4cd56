"""One HTTP/2 connection without I/O, client or server (RFC 9113), on top of h2.

h2 keeps settings, stream states, header compression and windows (http2_machine.py). Frames are cut
apart here (http2_inbound.py), and DATA frames that nothing is special about, nearly all of them,
are read and written here too: a frame costs h2 many times as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from h2.errors import ErrorCodes
from h2.stream import StreamClosedBy

from .http import Headers
from .http2_fields import Block, MalformedFieldsError, check_fields
from .http2_inbound import Http2Inbound
from .http2_limits import FloodGuard, Http2Limits
from .http2_machine import Http2Machine
from .http2_stream import Http2Error, Http2StreamClosed, Http2StreamLimit, Stream, Windows

__all__ = [
    "ErrorCodes",
    "Http2Connection",
    "Http2Error",
    "Http2Limits",
    "Http2StreamClosed",
    "Http2StreamLimit",
    "MalformedFieldsError",
    "Windows",
]

_STREAMS_BEFORE_SETTINGS: Final = 100
"""What RFC 9113 section 6.5.2 recommends as a floor, until the peer's SETTINGS say more."""

_DRIBBLE_BYTES: Final = 512
"""A frame that a window cut smaller earns its receiver no WINDOW_UPDATE (CVE-2019-9511)."""


class Http2Connection(Http2Inbound):
    """Frames in, deliveries out; calls in, bytes out. Nothing here waits.

    The owner reads from the socket into `receive`, hands the deliveries on, and writes
    `outgoing()`; after any call `has_outgoing` says whether there is something to write.

    Args:
        client_side: which end we are.
        limits: bounds on the peer.
        stream_window_bytes: what a peer may send on one stream before it is acknowledged; a
            server's is at least 65,535, since clients may send that before they see its SETTINGS.
        connection_window_bytes: the same for all streams together.
        clock: seconds, for the windows in which floods are counted.
    """

    def __init__(
        self,
        *,
        client_side: bool,
        limits: Http2Limits = Http2Limits(),  # noqa: B008  (frozen)
        stream_window_bytes: int = 65_536,
        connection_window_bytes: int = 16 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not client_side and stream_window_bytes < 65_535:
            raise ValueError("a server's stream window is at least 65,535 bytes")
        super().__init__(
            client_side=client_side,
            limits=limits,
            machine=Http2Machine(
                client_side=client_side, limits=limits, stream_window_bytes=stream_window_bytes
            ),
            guard=FloodGuard(limits, clock),
        )
        self._connection_window_bytes = connection_window_bytes

    def start(self) -> None:
        """Queue the preface, SETTINGS and the connection's window."""
        self._machine.initiate_connection()
        self._machine.open_connection_window(self._connection_window_bytes)

    # -- bytes --------------------------------------------------------------------------------

    @property
    def has_outgoing(self) -> bool:
        return self._machine.has_outgoing

    def outgoing(self) -> bytes:
        """Move out what is to be written now."""
        return self._machine.data_to_send()

    # -- streams ------------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def free_streams(self) -> int:
        """Streams a client may open now: the peer's limit less what is open, 0 when draining."""
        if self.draining or self._failed is not None or not self.client_side:
            return 0
        most = _STREAMS_BEFORE_SETTINGS
        if self.settings_seen:
            most = self._machine.remote_settings.max_concurrent_streams
        ids_left = (2**31 - 1 - self._machine.highest_outbound_stream_id) // 2
        return max(0, min(most - len(self._streams), ids_left))

    def is_open(self, stream_id: int) -> bool:
        """Whether the stream is open in either direction."""
        return stream_id in self._streams

    def next_stream(self, headers: Headers, *, ended: bool) -> int:
        """Open a stream with a request's head; returns its id.

        Raises:
            Http2StreamLimit: `free_streams` is 0.
            MalformedFieldsError: the head breaks RFC 9113 section 8.2 or 8.3.
        """
        if not self.free_streams:
            raise Http2StreamLimit("no free stream")
        check_fields(headers, Block.REQUEST)
        h2_stream = self._machine.send_request(headers, ended=ended)
        stream_id = h2_stream.stream_id
        stream = Stream(stream_id, h2_stream)
        stream.head_sent = True
        stream.sending = not ended
        stream.no_body = (b":method", b"HEAD") in headers
        self._streams[stream_id] = stream
        return stream_id

    def send_headers(self, stream_id: int, headers: Headers, *, ended: bool = False) -> None:
        """Send a response's head, or trailers (which end the stream).

        Raises:
            Http2StreamClosed: the stream can send no more.
            MalformedFieldsError: the fields break RFC 9113 section 8.2 or 8.3.
        """
        stream = self._sendable(stream_id)
        if not stream.head_sent:
            check_fields(headers, Block.RESPONSE)
            self.send_checked(stream_id, headers, ended=ended)
            return
        check_fields(headers, Block.TRAILERS)
        if not ended:
            raise ValueError("trailers end the stream")
        self._machine.send_headers(stream_id, headers, end_stream=True)
        self._guard.sent(1)
        self._sent_end(stream)

    def send_checked(self, stream_id: int, headers: Headers, *, ended: bool = False) -> None:
        """Send a response's head that has passed `check_fields`.

        Raises:
            Http2StreamClosed: the stream can send no more.
        """
        stream = self._sendable(stream_id)
        assert not stream.head_sent
        self._machine.send_answer(stream.h2, headers, ended=ended)
        self._guard.sent(1)
        stream.head_sent = not headers[0][1].startswith(b"1")  # 1xx: another head follows
        if ended:
            self._sent_end(stream)

    def send_data(
        self, stream_id: int, data: bytes | bytearray | memoryview, *, ended: bool = False
    ) -> int:
        """Queue as much as the windows allow; returns the bytes taken, 0 to `len(data)`.

        `ended` is applied when all is taken. If not all is, `take_writable` names the stream once
        it can go on.

        Raises:
            Http2StreamClosed: the stream can send no more.
        """
        stream = self._sendable(stream_id)
        assert stream.head_sent, "the head comes first"
        size = min(len(data), self._window(stream))
        whole = size == len(data)
        if not whole:
            self._blocked[stream_id] = None
        if size or (ended and whole):
            frames = self._machine.data_frames(stream.h2, data, size, ended=ended and whole)
            if whole or size >= _DRIBBLE_BYTES:
                self._guard.sent(frames)
            if ended and whole:
                self._sent_end(stream)
        return size

    def take_writable(self) -> list[int]:
        """Streams whose `send_data` fell short and whose window has opened, since last asked."""
        if not self._writable:
            return []
        writable = list(self._writable)
        self._writable.clear()
        return writable

    def acknowledge(self, stream_id: int, flow_bytes: int) -> bool:
        """Say that delivered bytes were consumed, so that the peer may send as many more.

        What a stream still owed when it ended was credited then; later calls do nothing.
        True when this has queued a WINDOW_UPDATE.
        """
        stream = self._streams.get(stream_id)
        if stream is None or self._failed is not None:
            return False
        left = stream.unacknowledged - flow_bytes
        if left < 0:
            flow_bytes, left = stream.unacknowledged, 0
        stream.unacknowledged = left
        return flow_bytes > 0 and self._machine.credit(flow_bytes, stream.h2)

    # -- the connection -----------------------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        """Send PING with 8 bytes; the answer shows in `last_pong` and `pings_answered`."""
        if self._failed is None:
            self._machine.ping(payload)

    def windows(self) -> Windows:
        """How far either side may go now."""
        streams = self._streams.values()
        return Windows(
            self._machine.outbound_flow_control_window,
            self._machine.inbound_flow_control_window,
            min((s.h2.outbound_flow_control_window for s in streams), default=None),
            min((s.h2.inbound_flow_control_window for s in streams), default=None),
        )

    def goaway(self, code: int = ErrorCodes.NO_ERROR, last_stream_id: int | None = None) -> None:
        """Announce the end: no stream opens from here on, those up to `last_stream_id` finish.

        A server's streams above it are forgotten without a word, as never having been seen.
        """
        if self._failed is not None:
            return
        highest = self._machine.highest_inbound_stream_id
        last_id = highest if last_stream_id is None else last_stream_id
        self._machine.announce_goaway(code, last_id)
        self.draining = True
        if self.client_side:
            return
        self._machine.refuse_above = last_id
        self.goaway_last_id = last_id
        for stream in [s for s in self._streams.values() if s.stream_id > last_id]:
            self._forget(stream, StreamClosedBy.SEND_RST_STREAM)

    def _sendable(self, stream_id: int) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.sending or self._failed is not None:
            raise Http2StreamClosed(f"stream {stream_id} can send no more")
        return stream

    def _sent_end(self, stream: Stream) -> None:
        stream.sending = False
        self._forget_if_closed(stream)
