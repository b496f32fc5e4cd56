"""A server that sends exactly the frames a test names, and shows those it gets.

Frames are hyperframe's, and compression is hpack's: nothing here keeps state or rules that could
hide a mistake, so a test may break any rule there is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import trio
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from engine.upstream.connection import Connection, ConnectionSettings, open_connection
from engine.upstream.errors import sole_error
from engine.upstream.providers import Origin
from engine.upstream.streams import UpstreamStream
from engine.wire.http import Headers

from .peer import OK, Collector

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WITHIN_S: Final = 30.0
"""No answer takes so long; a test that waits for more has failed."""

F = TypeVar("F", bound=Frame)


def raw(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    """A frame as bytes, for what hyperframe refuses to build."""
    head = len(body).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream_id.to_bytes(4, "big") + body


def settings(values: dict[int, int] | None = None) -> bytes:
    """A SETTINGS frame, valid or not."""
    pairs = (values or {}).items()
    return raw(4, 0, 0, b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in pairs))


def data(stream_id: int, body: bytes = b"", *, ended: bool = False) -> bytes:
    """A DATA frame without padding."""
    return raw(0, 1 if ended else 0, stream_id, body)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame, valid or not."""
    return raw(8, 0, stream_id, increment.to_bytes(4, "big"))


def rst(stream_id: int, code: int) -> bytes:
    """An RST_STREAM frame."""
    return raw(3, 0, stream_id, code.to_bytes(4, "big"))


def goaway(last_id: int, code: int = 0, debug: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return raw(7, 0, 0, last_id.to_bytes(4, "big") + code.to_bytes(4, "big") + debug)


class ScriptedPeer:
    """One accepted connection, frame by frame."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.seen: list[Frame] = []
        """Every frame that came, in order."""
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._buffer = b""
        self._unread: list[Frame] = []

    # -- sending --------------------------------------------------------------------------------

    async def send(self, *parts: bytes) -> None:
        """Write it all at once, so that one read may bring it."""
        with trio.fail_after(WITHIN_S):
            await self.stream.send_all(b"".join(parts))

    def head(self, stream_id: int, fields: Headers = OK, *, ended: bool = False) -> bytes:
        """A HEADERS frame with a whole block."""
        return raw(1, 0x5 if ended else 0x4, stream_id, self.encoder.encode(fields))

    async def close(self) -> None:
        """FIN; what the client still sends is read and shown."""
        await self.stream.send_eof()

    # -- receiving ------------------------------------------------------------------------------

    async def next_frame(self) -> Frame | None:
        """The next frame, None when the client has closed."""
        if self._unread:
            return self._unread.pop(0)
        while (frame := self._parse()) is None:
            received = await self.stream.receive_some(16_384)
            if not received:
                assert not self._buffer, "the client cut a frame short"
                return None
            self._buffer += received
        self.seen.append(frame)
        return frame

    async def expect(self, kind: type[F], wanted: Callable[[F], bool] = lambda _: True) -> F:
        """The next frame of a kind that is `wanted`; others on the way are passed over."""
        with trio.fail_after(WITHIN_S):
            while (frame := await self.next_frame()) is not None:
                if isinstance(frame, kind) and wanted(frame):
                    return frame
        raise AssertionError(f"closed without a {kind.__name__}: {self.seen}")

    async def expect_close(self) -> list[Frame]:
        """Whatever comes until the client has closed."""
        frames = []
        with trio.fail_after(WITHIN_S):
            try:
                while (frame := await self.next_frame()) is not None:
                    frames.append(frame)
            except trio.BrokenResourceError:  # closed before it had read all of ours
                pass
        return frames

    async def expect_head(self) -> tuple[int, Headers, HeadersFrame]:
        """The next request: its stream, its fields, its first frame."""
        first = await self.expect(HeadersFrame)
        block = first.data
        last: Frame = first
        while "END_HEADERS" not in last.flags:
            with trio.fail_after(WITHIN_S):
                following = await self.next_frame()
            assert isinstance(following, ContinuationFrame), "a block is not interrupted"
            assert following.stream_id == first.stream_id
            last, block = following, block + following.data
        fields = self.decoder.decode(block, raw=True)
        return first.stream_id, [(bytes(name), bytes(value)) for name, value in fields], first

    async def expect_body(self, stream_id: int, size: int) -> bytes:
        """`size` bytes of a request's body, whose frames may be many."""
        body = b""
        while len(body) < size:
            frame = await self.expect(DataFrame, lambda f: f.stream_id == stream_id)
            body += frame.data
        return body

    async def quiet(self) -> list[Frame]:
        """All that the client has to say to what was sent: it answers a PING behind it."""
        before = len(self.seen)
        await self.send(raw(6, 0, 0, b"anything"))
        await self.expect(PingFrame, lambda f: "ACK" in f.flags and f.opaque_data == b"anything")
        return self.seen[before:-1]

    def _parse(self) -> Frame | None:
        if len(self._buffer) < 9:
            return None
        frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
        if len(self._buffer) < 9 + length:
            return None
        frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
        self._buffer = self._buffer[9 + length :]
        return frame


class Conversation:
    """A connection of ours and the scripted peer at its other end."""

    def __init__(self, connection: Connection, peer: ScriptedPeer, origin: Origin) -> None:
        self.connection = connection
        self.peer = peer
        self._origin = origin

    def start(self, body: bytes = b"", fields: Iterable[tuple[bytes, bytes]] = ()) -> Opened:
        """Open a stream; the peer has yet to read it."""
        head: Headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", self._origin.authority.encode()),
            (b":path", b"/v1/chat/completions"),
            *fields,
        ]
        collector = Collector()
        stream = self.connection.open_stream_nowait(head, body, collector)
        return Opened(stream, collector)

    async def request(self, body: bytes = b"") -> Opened:
        """Open a stream whose head the peer has read."""
        opened = self.start(body)
        stream_id, _, _ = await self.peer.expect_head()
        assert stream_id == opened.id
        return opened

    async def answered(self, body: bytes = b"") -> Opened:
        """A stream that the peer has answered with its head and the byte `a`."""
        opened = await self.request(body)
        await self.peer.send(self.peer.head(opened.id), data(opened.id, b"a"))
        with trio.fail_after(WITHIN_S):
            await opened.answer.wait_bytes(1)
        return opened

    async def assert_works(self) -> None:
        """A new stream is opened, answered and ended."""
        opened = await self.request()
        await self.peer.send(self.peer.head(opened.id), data(opened.id, b"well", ended=True))
        assert (await opened.over()).data == b"well"
        assert opened.answer.ended

    async def assert_fails(self, code: int) -> None:
        """The client says goodbye with this code, and has no more use for the connection."""
        frame = await self.peer.expect(GoAwayFrame)
        assert frame.error_code == code
        await self.assert_finished()

    async def assert_finished(self) -> None:
        """The connection takes no more streams, and holds none."""
        with trio.fail_after(WITHIN_S):
            await self.connection.wait_finished()
        assert self.connection.free_streams == 0
        assert self.connection.draining


class Opened:
    """A stream and what comes of it."""

    def __init__(self, stream: UpstreamStream, answer: Collector) -> None:
        self.stream = stream
        self.answer = answer

    @property
    def id(self) -> int:
        return self.stream.stream_id

    async def over(self) -> Collector:
        """Wait until the answer has ended, one way or another."""
        with trio.fail_after(WITHIN_S):
            return await self.answer.wait_over()


@asynccontextmanager
async def open_conversation(
    first: bytes | None = None,
    connection_settings: ConnectionSettings = ConnectionSettings(),  # noqa: B008  (frozen)
    **origin_fields: Any,
) -> AsyncIterator[Conversation]:
    """A connection that has been greeted with `first` (default: empty SETTINGS, and its ack)."""
    async with open_listening(**origin_fields) as (origin, accept):
        peers: list[ScriptedPeer] = []

        async def greet() -> None:
            peer = await accept()
            await peer.send(settings() if first is None else first)
            peers.append(peer)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(greet)
                async with open_connection(origin, connection_settings) as connection:
                    assert isinstance(connection, Connection)
                    [peer] = peers
                    await peer.expect(SettingsFrame, lambda f: "ACK" in f.flags)
                    await peer.send(raw(4, 1, 0))
                    yield Conversation(connection, peer, origin)
        except BaseExceptionGroup as group:
            raise sole_error(group) from None


@asynccontextmanager
async def open_listening(
    **origin_fields: Any,
) -> AsyncIterator[tuple[Origin, Callable[[], Any]]]:
    """An origin, and a function that waits for its next connection and reads the preface."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    accepted: list[ScriptedPeer] = []

    async def accept() -> ScriptedPeer:
        with trio.fail_after(WITHIN_S):
            stream = await listener.accept()
            peer = ScriptedPeer(stream)
            accepted.append(peer)
            preface = b""
            while len(preface) < len(PREFACE):
                preface += await stream.receive_some(len(PREFACE) - len(preface))
        assert preface == PREFACE
        return peer

    try:
        port = listener.socket.getsockname()[1]
        yield (
            Origin("http", "127.0.0.1", port, http2="prior-knowledge", **origin_fields),
            accept,
        )
    finally:
        await trio.aclose_forcefully(listener)
        for peer in accepted:
            await trio.aclose_forcefully(peer.stream)


def kinds(frames: Iterable[Frame]) -> list[str]:
    """The frames' types, window credits left out."""
    return [type(f).__name__ for f in frames if not isinstance(f, WindowUpdateFrame)]


def resets(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """Stream and code of each RST_STREAM."""
    return [(f.stream_id, f.error_code) for f in frames if isinstance(f, RstStreamFrame)]
