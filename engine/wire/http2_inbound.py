"""The receiving half of an HTTP/2 connection: frames apart, what each means, deliveries.

DATA frames that nothing is special about, nearly all of them, are read here; every other frame is
bounded, then read by h2 (http2_machine.py). Both ways keep the same windows and states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.stream import StreamClosedBy

from .http import Delivery
from .http2_fields import Block
from .http2_limits import (
    CONTINUATION,
    DATA,
    EMPTY_DATA,
    HEADERS,
    LATE_RESET,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FloodGuard,
    Http2Limits,
)
from .http2_machine import FRAME_HEAD, FieldsReceived, Http2Machine
from .http2_stream import Http2Error, Stream
from .http2_streams import Http2Streams

_PREFACE_BYTES: Final = 24
_FRAME_HEAD_BYTES: Final = 9
_END_STREAM: Final = 0x1
_END_HEADERS: Final = 0x4
_ACK: Final = 0x1
_PRIORITY_BYTES: Final = 5
_STREAM_ID_MASK: Final = 2**31 - 1
_COUNTED: Final = frozenset({PING, SETTINGS, PRIORITY})
_COUNTED_OF_CLIENTS: Final = _COUNTED | {WINDOW_UPDATE}
"""A server opens windows for what a client chose to send; a client does so as it likes."""
_CHECKED: Final = frozenset({SETTINGS, PRIORITY, WINDOW_UPDATE})


class Http2Inbound(Http2Streams):
    """The receiving half of a connection; `Http2Connection` adds the calls."""

    def __init__(
        self, *, client_side: bool, limits: Http2Limits, machine: Http2Machine, guard: FloodGuard
    ) -> None:
        super().__init__(client_side=client_side, limits=limits, machine=machine, guard=guard)
        self._preface_left = 0 if client_side else _PREFACE_BYTES
        self._counted = _COUNTED if client_side else _COUNTED_OF_CLIENTS
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._wanted_bytes = 0
        self._continuations = -1
        """CONTINUATION frames of the open header block; −1 when none is open."""
        self._block_bytes = 0

    @property
    def in_header_block(self) -> bool:
        """HEADERS have come whose CONTINUATION has not: nothing else may come before that."""
        return self._continuations >= 0

    def receive(self, data: bytes) -> list[Delivery]:
        """Take what one read brought: at most one delivery a stream, in order of appearance.

        Frames may be split anywhere; a frame is acted on when it is complete.

        Raises:
            Http2Error: the connection must end; `outgoing()` then holds our GOAWAY.
        """
        if self._failed is not None:
            raise Http2Error(str(self._failed), self._failed.code)
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._wanted_bytes:
                return []
            data = b"".join(self._held)
            self._held.clear()
        try:
            self._receive_frames(data)
        except ProtocolError as error:
            # h2 has queued its GOAWAY. What came before the fault was received all the same.
            self._failed = Http2Error(str(error), int(error.error_code), self._deliver())
            raise self._failed from error
        except Http2Error as error:
            self._machine.terminate(ErrorCodes(error.code))
            error.deliveries = self._deliver()
            self._failed = error
            raise
        return self._deliver()

    def _receive_frames(self, data: bytes) -> None:
        if self._preface_left:
            data = self._receive_preface(data)
        at, end = 0, len(data)
        streams, machine = self._streams, self._machine
        wanted = _FRAME_HEAD_BYTES
        while end - at >= _FRAME_HEAD_BYTES:
            high, low, kind, flags, stream_id = FRAME_HEAD.unpack_from(data, at)
            size = (high << 8) | low
            body = at + _FRAME_HEAD_BYTES
            after = body + size
            if after > end:
                wanted = _FRAME_HEAD_BYTES + size
                if size > self.limits.frame_max_bytes:
                    raise Http2Error("a frame is too large", ErrorCodes.FRAME_SIZE_ERROR)
                break
            if kind == DATA and flags <= _END_STREAM and self._continuations < 0:
                stream = streams.get(stream_id)
                if (
                    stream is not None
                    and stream.receiving
                    and (flags or size)
                    and size <= self.limits.frame_max_bytes
                    and machine.consume(stream.h2, size)
                ):
                    if not stream.touched:
                        stream.touched = True
                        self._touched.append(stream)
                    stream.data.append(data[body:after])
                    stream.flow_bytes += size
                    stream.unacknowledged += size
                    if stream.left_bytes is not None:
                        self._count_body(stream, size)
                    if flags and stream.receiving:
                        machine.end_received(stream.h2)
                        self._end_stream(stream)
                    at = after
                    continue
            self._receive_frame(kind, flags, size, data[at:after])
            at = after
        if at < end:
            self._held.append(data[at:] if at else data)
            self._held_bytes = end - at
            self._wanted_bytes = wanted

    def _receive_preface(self, data: bytes) -> bytes:
        size = min(self._preface_left, len(data))
        self._machine.receive_data(data[:size])
        self._preface_left -= size
        return data[size:]

    def _receive_frame(self, kind: int, flags: int, size: int, frame: bytes) -> None:
        """Bound what the frame may cost, and let h2 read it."""
        if not self.settings_seen and (kind != SETTINGS or flags & _ACK):
            raise Http2Error("the first frame is not SETTINGS", ErrorCodes.PROTOCOL_ERROR)
        in_block = self._continuations >= 0
        if in_block or kind == HEADERS:
            self._count_header_block(kind, flags, size)
        elif kind == DATA and not size and not flags & _END_STREAM:
            self._count(EMPTY_DATA)
        elif kind in self._counted or kind > CONTINUATION:
            self._count(kind)
        elif kind == RST_STREAM:
            self._count_reset(int.from_bytes(frame[5:9], "big") & _STREAM_ID_MASK)
        if kind in _CHECKED and self._continuations < 0 and self._checked(kind, flags, size, frame):
            return
        if (
            kind == HEADERS
            and flags & ~_END_STREAM == _END_HEADERS
            and not in_block
            and size <= self.limits.frame_max_bytes
        ):
            events = self._machine.receive_head(frame)
        else:
            events = self._machine.receive_data(frame)
        for event in events:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)

    def _checked(self, kind: int, flags: int, size: int, frame: bytes) -> bool:
        """Faults that h2 takes for others than RFC 9113 does; True when all is done."""
        stream_id = int.from_bytes(frame[5:9], "big") & _STREAM_ID_MASK
        stream = self._streams.get(stream_id)
        if kind == SETTINGS and flags & _ACK and size:
            raise Http2Error("an acknowledgement with settings", ErrorCodes.FRAME_SIZE_ERROR)
        if kind == PRIORITY and stream_id:
            if size != _PRIORITY_BYTES and stream is not None:
                self._fail_stream(stream, ErrorCodes.FRAME_SIZE_ERROR)
            return True  # sections 5.3.2 and 6.3: deprecated, and ignored
        if kind == WINDOW_UPDATE and stream is not None and frame[_FRAME_HEAD_BYTES:] == bytes(4):
            self._fail_stream(stream, ErrorCodes.PROTOCOL_ERROR)  # section 6.9: of its own only
            return True
        return False

    def _count(self, kind: int) -> None:
        if self._guard.exceeded(kind):
            raise Http2Error("too many frames of one kind", ErrorCodes.ENHANCE_YOUR_CALM)

    def _count_reset(self, stream_id: int) -> None:
        """What a client opened and has reset, it bounds itself. A server has worked in vain."""
        stream = self._streams.get(stream_id)
        if self.client_side:
            if stream is None:
                self._count(RST_STREAM)
        else:
            answered = stream is None or not stream.sending
            self._count(LATE_RESET if answered else RST_STREAM)

    def _count_header_block(self, kind: int, flags: int, size: int) -> None:
        self._continuations += 1
        self._block_bytes += size
        if self._continuations > self.limits.continuations_max:
            raise Http2Error("too many CONTINUATION frames", ErrorCodes.ENHANCE_YOUR_CALM)
        if self._block_bytes > self.limits.header_list_max_bytes:
            raise Http2Error("a header block is too large", ErrorCodes.ENHANCE_YOUR_CALM)
        if flags & _END_HEADERS and kind in {HEADERS, CONTINUATION}:
            self._continuations = -1
            self._block_bytes = 0

    # -- what frames mean ---------------------------------------------------------------------

    def _fields_received(self, event: FieldsReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            stream = Stream(event.stream_id, self._machine.streams[event.stream_id])
            self._streams[event.stream_id] = stream
        if event.informational:
            return
        if event.block is Block.TRAILERS:
            self._touch(stream).trailers = event.fields
            return
        self._touch(stream).head = event.fields
        stream.receiving = True
        if not stream.no_body and dict(event.fields).get(b":status") not in {b"204", b"304"}:
            stream.left_bytes = event.content_length

    def _data_received(self, event: DataReceived) -> None:
        stream = self._touch(self._streams[event.stream_id])
        if event.flow_controlled_length and not event.data and not event.stream_ended:
            self._count(EMPTY_DATA)  # padding only
        stream.data.append(event.data)
        stream.flow_bytes += event.flow_controlled_length
        stream.unacknowledged += event.flow_controlled_length
        if stream.left_bytes is not None:
            self._count_body(stream, len(event.data))

    def _count_body(self, stream: Stream, size: int) -> None:
        assert stream.left_bytes is not None
        stream.left_bytes -= size
        if stream.left_bytes < 0:  # RFC 9113 section 8.1.1: malformed, the stream's own fault
            self._fail_stream(stream, ErrorCodes.PROTOCOL_ERROR)

    def _fail_stream(self, stream: Stream, code: int) -> None:
        if stream.stream_id not in self._streams:
            return
        self._count(RST_STREAM)  # provoked by the peer
        self._touch(stream).code = code
        if stream.h2.closed:  # the end that was too early closed it
            self._forget(stream)
        else:
            self.reset(stream.stream_id, code)

    def _stream_ended(self, event: StreamEnded) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            self._end_stream(stream)

    def _end_stream(self, stream: Stream) -> None:
        if stream.left_bytes:
            self._fail_stream(stream, ErrorCodes.PROTOCOL_ERROR)
            return
        self._touch(stream).ended = stream.over = True
        stream.receiving = False
        # Nothing more can come, so nothing is left to hold back on this stream.
        self._credit_all(stream)
        self._forget_if_closed(stream)

    def _stream_reset(self, event: StreamReset) -> None:
        if not event.remote_reset:
            self._count(RST_STREAM)  # resets a peer provokes count like those it sends
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        # A client has its answer; a server wants to know that nobody waits for one.
        if not (stream.over and self.client_side):
            self._touch(stream).code = int(event.error_code)
            stream.unprocessed = event.remote_reset and event.error_code == 7
        self._forget(stream)

    def _window_updated(self, event: WindowUpdated) -> None:
        if not self._blocked:
            return
        candidates = [event.stream_id] if event.stream_id else list(self._blocked)
        for stream_id in candidates:
            if stream_id in self._blocked and self.send_window(stream_id) > 0:
                del self._blocked[stream_id]
                self._writable[stream_id] = None

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        self.settings_seen += 1
        self._window_updated(WindowUpdated(stream_id=0))

    def _pong_received(self, event: PingAckReceived) -> None:
        self.pings_answered += 1
        self.last_pong = event.ping_data

    def _goaway_received(self, event: ConnectionTerminated) -> None:
        last_id = event.last_stream_id or 0
        self.draining = True
        self.goaway_code = int(event.error_code or 0)
        if self.goaway_last_id is not None:
            last_id = min(last_id, self.goaway_last_id)
        self.goaway_last_id = last_id
        if not self.client_side:
            return
        for stream in [s for s in self._streams.values() if s.stream_id > last_id]:
            if not stream.over:
                self._touch(stream).unprocessed = True
            self._forget(stream, StreamClosedBy.SEND_RST_STREAM)

    def _deliver(self) -> list[Delivery]:
        if not self._touched:
            return []
        deliveries = []
        for stream in self._touched:
            parts = stream.data
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if not stream.more:
                deliveries.append(Delivery(stream.stream_id, None, data, stream.flow_bytes))
            else:
                deliveries.append(
                    Delivery(
                        stream.stream_id,
                        stream.head,
                        data,
                        stream.flow_bytes,
                        stream.trailers,
                        stream.ended,
                        stream.code,
                        stream.unprocessed,
                    )
                )
                stream.clear()
            stream.touched = False
            stream.data = []
            stream.flow_bytes = 0
        self._touched.clear()
        return deliveries


_HANDLERS: Final[dict[type[Event], Callable[..., None]]] = {
    FieldsReceived: Http2Inbound._fields_received,
    DataReceived: Http2Inbound._data_received,
    StreamEnded: Http2Inbound._stream_ended,
    StreamReset: Http2Inbound._stream_reset,
    WindowUpdated: Http2Inbound._window_updated,
    RemoteSettingsChanged: Http2Inbound._settings_changed,
    PingAckReceived: Http2Inbound._pong_received,
    ConnectionTerminated: Http2Inbound._goaway_received,
}
