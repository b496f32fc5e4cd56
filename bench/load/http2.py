"""HTTP/2 of a client: frames as bytes, and what they mean. Nothing here touches a socket.

Only what a load needs: no pushes, no priorities; windows so wide that they need no update, unless
they are what slows a reader down (RFC 9113, by section).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

from bench.load.protocols import Headers

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_MAX_BYTES: Final = 2**31 - 1
WINDOW_BYTES: Final = 65_535
"""What a connection, and a stream unless told, begins with."""
FRAME_MAX_BYTES: Final = 16_384
"""Of a frame's payload; the server, which is not told that it may, sends none longer (4.2)."""
STREAMS_MAX: Final = 100
"""At once on a connection, until the server allows fewer, and at most."""
_BLOCK_MAX_BYTES: Final = 65_536
_HEAD: Final = struct.Struct(">HBBBL")
_SETTING: Final = struct.Struct(">HL")
_LONG: Final = struct.Struct(">L")

DATA: Final = 0x0
HEADERS: Final = 0x1
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
_END_STREAM: Final = 0x1
_ACK: Final = 0x1
_END_HEADERS: Final = 0x4
_PADDED: Final = 0x8
_PRIORITY: Final = 0x20
_PUSH: Final = 0x2
_STREAMS_MAX: Final = 0x3
_WINDOW: Final = 0x4
_FRAME_MAX: Final = 0x5
CANCEL: Final = 0x8
REFUSED_STREAM: Final = 0x7


class Http2Error(ValueError):
    """What came is not HTTP/2, or not what was asked for."""


class Sink(Protocol):
    """Where the answer of one stream goes."""

    def head(self, status: int) -> None:
        """Its final head."""

    def take(self, data: bytes, now_s: float) -> None:
        """A part of its body; raises ValueError if it cannot be read."""

    def end(self, now_s: float) -> None:
        """It is over."""

    def fail(self, kind: str, now_s: float) -> None:
        """It will not be."""


S = TypeVar("S", bound=Sink)


@dataclass(slots=True)
class _Stream(Generic[S]):
    sink: S
    window: int
    """What the server still takes of the request's body."""
    unsent: memoryview
    headed: bool = False


class Http2Session(Generic[S]):
    """The client's side of a connection.

    After every call `take_outgoing` has what is to be sent, and `take_refused` those that the
    server took back unread.
    """

    def __init__(self, *, window: int = WINDOW_MAX_BYTES) -> None:
        self._streams: dict[int, _Stream[S]] = {}
        self._next_id = 1
        self._pending = b""
        self._block: tuple[int, int, bytes] | None = None
        """A header block that goes on: its stream, its flags, what there is of it."""
        self._decoder = Decoder()
        self._window = WINDOW_BYTES
        self._stream_window = WINDOW_BYTES
        self._frame_max = FRAME_MAX_BYTES
        self._streams_max = STREAMS_MAX
        self._received = 0
        self._wide = window == WINDOW_MAX_BYTES
        self.draining = False
        """The server takes no further streams."""
        self._refused: list[S] = []
        self._outgoing = bytearray(PREFACE)
        self._send(SETTINGS, 0, 0, _SETTING.pack(_PUSH, 0) + _SETTING.pack(_WINDOW, window))
        if self._wide:
            self._send(WINDOW_UPDATE, 0, 0, _LONG.pack(WINDOW_MAX_BYTES - WINDOW_BYTES))

    # -- what is asked --------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more streams it takes now."""
        return 0 if self.draining else self._streams_max - len(self._streams)

    @property
    def streams(self) -> int:
        """That are open."""
        return len(self._streams)

    def open(self, sink: S, block: bytes, body: bytes) -> int:
        """Ask on a new stream; returns its number. There is room."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self._streams[stream_id] = _Stream(sink, self._stream_window, memoryview(body))
        flags = _END_HEADERS if body else _END_HEADERS | _END_STREAM
        self._send(HEADERS, flags, stream_id, block)
        self._send_bodies()
        return stream_id

    def cancel(self, stream_id: int) -> None:
        """The client leaves; fine if the stream is over."""
        if self._streams.pop(stream_id, None) is not None:
            self._send(RST_STREAM, 0, stream_id, _LONG.pack(CANCEL))

    def allow(self, stream_id: int, count: int) -> None:
        """Let the server send so many bytes more, on this stream and the connection."""
        if stream_id in self._streams:
            for each in (0, stream_id):
                self._send(WINDOW_UPDATE, 0, each, _LONG.pack(count))

    def take_outgoing(self) -> bytes:
        """What is to be sent now."""
        outgoing = bytes(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def take_refused(self) -> list[S]:
        """Whose streams were refused since; each is handed out once."""
        refused, self._refused = self._refused, []
        return refused

    def _send(self, kind: int, flags: int, stream_id: int, payload: bytes | memoryview) -> None:
        size = len(payload)
        self._outgoing += _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id)
        self._outgoing += payload

    def _send_bodies(self) -> None:
        """As far as the windows reach, stream after stream."""
        for stream_id, stream in self._streams.items():
            while stream.unsent and (most := min(self._window, stream.window, self._frame_max)) > 0:
                piece = stream.unsent[:most]
                stream.unsent = stream.unsent[most:]
                stream.window -= len(piece)
                self._window -= len(piece)
                self._send(DATA, 0 if stream.unsent else _END_STREAM, stream_id, piece)

    # -- what is answered -----------------------------------------------------------------------

    def feed(self, data: bytes, now_s: float) -> None:
        """Take what was received.

        Raises:
            ValueError: it cannot be read; the connection is of no more use.
        """
        if self._pending:
            data = self._pending + data
        at, size, unpack = 0, len(data), _HEAD.unpack_from
        while size - at >= 9:
            high, low, kind, flags, stream_id = unpack(data, at)
            length = high << 8 | low
            if length > FRAME_MAX_BYTES:
                raise Http2Error("a frame longer than allowed")
            begin = at + 9
            if begin + length > size:
                break
            at = begin + length
            if kind == DATA:
                self._data(stream_id, flags, data[begin:at], now_s)
            else:
                self._frame(kind, stream_id & 0x7FFFFFFF, flags, data[begin:at], now_s)
        self._pending = data[at:]

    def fail(self, kind: str, now_s: float) -> None:
        """The connection is lost: so are all its streams."""
        self.draining = True
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.sink.fail(kind, now_s)

    def _data(self, stream_id: int, flags: int, payload: bytes, now_s: float) -> None:
        if self._wide:
            self._received += len(payload)
            if self._received > WINDOW_MAX_BYTES // 2:
                self._send(WINDOW_UPDATE, 0, 0, _LONG.pack(self._received))
                self._received = 0
        if self._block is not None:
            raise Http2Error("a header block that is interrupted")
        stream = self._streams.get(stream_id)
        if stream is None:
            return  # cancelled: what was on its way
        if flags & _PADDED:
            payload = _unpadded(payload)
        if payload:
            stream.sink.take(payload, now_s)
        if flags & _END_STREAM:
            self._end(stream_id, now_s)

    def _end(self, stream_id: int, now_s: float) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            if stream.unsent:  # answered early: the rest of the request is not wanted
                self._send(RST_STREAM, 0, stream_id, _LONG.pack(CANCEL))
            stream.sink.end(now_s)

    def _frame(self, kind: int, stream_id: int, flags: int, payload: bytes, now_s: float) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise Http2Error("a header block that is interrupted")
        if kind == HEADERS:
            if flags & _PADDED:
                payload = _unpadded(payload)
            self._headers(stream_id, flags, payload[5:] if flags & _PRIORITY else payload, now_s)
        elif kind == CONTINUATION:
            if self._block is None or self._block[0] != stream_id:
                raise Http2Error("a header block goes on that has not begun")
            _, first, before = self._block
            self._block = None
            self._headers(stream_id, first | flags & _END_HEADERS, before + payload, now_s)
        elif kind == RST_STREAM:
            self._reset(stream_id, _long(payload), now_s)
        elif kind == SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == PING and not flags & _ACK:
            self._send(PING, _ACK, 0, payload)
        elif kind == GOAWAY:
            self._goaway(_long(payload) & 0x7FFFFFFF)
        elif kind == WINDOW_UPDATE:
            self._window_update(stream_id, _long(payload))
        elif kind == PUSH_PROMISE:
            raise Http2Error("a push that was forbidden")

    def _headers(self, stream_id: int, flags: int, block: bytes, now_s: float) -> None:
        if not flags & _END_HEADERS:
            if len(block) > _BLOCK_MAX_BYTES:
                raise Http2Error("a head without an end")
            self._block = (stream_id, flags, block)
            return
        try:
            fields = dict(self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise Http2Error("a head that cannot be read") from error
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not stream.headed:  # else trailers
            status = fields.get(b":status", b"")
            if not status.isdigit():
                raise Http2Error("a head without a status")
            if int(status) >= 200:
                stream.headed = True
                stream.sink.head(int(status))
        if flags & _END_STREAM:
            self._end(stream_id, now_s)

    def _reset(self, stream_id: int, code: int, now_s: float) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        if code == REFUSED_STREAM and not stream.headed:
            self._refused.append(stream.sink)
        else:
            stream.sink.fail("reset", now_s)

    def _settings(self, payload: bytes) -> None:
        if len(payload) % _SETTING.size:
            raise Http2Error("settings that are cut")
        for name, value in _SETTING.iter_unpack(payload):
            if name == _STREAMS_MAX:
                self._streams_max = min(value, STREAMS_MAX)
            elif name == _WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif name == _FRAME_MAX:
                self._frame_max = value
        self._send(SETTINGS, _ACK, 0, b"")
        self._send_bodies()

    def _goaway(self, last_id: int) -> None:
        self.draining = True
        for stream_id in [number for number in self._streams if number > last_id]:
            self._refused.append(self._streams.pop(stream_id).sink)

    def _window_update(self, stream_id: int, count: int) -> None:
        if not stream_id:
            self._window += count
        elif stream_id in self._streams:
            self._streams[stream_id].window += count
        self._send_bodies()


def block_of(path: str, headers: Headers, authority: str) -> bytes:
    """The header block of a request; none of it is indexed, so it means the same every time."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
        *((name.lower(), value) for name, value in headers),
    ]
    return bytes(Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields]))


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Http2Error("padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def _long(payload: bytes) -> int:
    if len(payload) < 4:
        raise Http2Error("a frame shorter than it must be")
    number: int = _LONG.unpack_from(payload)[0]
    return number
