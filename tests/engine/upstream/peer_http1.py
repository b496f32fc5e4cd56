"""An HTTP/1.1 provider over a real socket that answers with exactly the bytes a test says."""

from __future__ import annotations

import math
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httptools
import trio

from engine.upstream.providers import Provider

_LINGER_RESET = struct.pack("ii", 1, 0)


def plain(data: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer with a length."""
    lines = b"".join(b"%s\r\n" % field for field in fields)
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(data), lines, data)


STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk; the last one when empty."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Request:
    """One request, as the provider reads it."""

    def __init__(self, connection: PeerConnection) -> None:
        self.connection = connection
        self.method = b""
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.ended = trio.Event()

    async def send(self, *parts: bytes) -> None:
        await self.connection.stream.send_all(b"".join(parts))

    async def wait_ended(self) -> bytes:
        await self.ended.wait()
        return bytes(self.body)


class PeerConnection:
    """An accepted connection; its `on_` methods are what httptools calls."""

    def __init__(self, peer: Peer, stream: trio.abc.Stream) -> None:
        self.peer = peer
        self.stream = stream
        self.requests: list[Request] = []
        self.raw = b""
        self.reading = trio.Event()
        self.reading.set()
        self.closed = trio.Event()
        self.was_reset = False
        self._parser = httptools.HttpRequestParser(self)

    async def serve(self) -> None:
        try:
            while data := await self.stream.receive_some(65_536):
                self.raw = (self.raw + data)[:65_536]
                self._parser.feed_data(bytes(data))
                await self.reading.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.was_reset = isinstance(error, trio.BrokenResourceError)
        self.closed.set()

    def on_message_begin(self) -> None:
        self.requests.append(Request(self))

    def on_url(self, url: bytes) -> None:
        self.requests[-1].url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.requests[-1].fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.requests[-1].method = self._parser.get_method()
        self.peer.sender.send_nowait(self.requests[-1])

    def on_body(self, data: bytes) -> None:
        self.requests[-1].body += data

    def on_message_complete(self) -> None:
        self.requests[-1].ended.set()

    def close_nowait(self, *, reset: bool = False) -> None:
        """End the connection: the peer's kernel knows when this returns."""
        stream = self.stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        assert isinstance(stream, trio.SocketStream)
        with suppress(OSError):  # closed already
            if reset:
                stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, _LINGER_RESET)
        stream.socket.close()

    async def send_eof(self) -> None:
        """End our side in order."""
        if isinstance(self.stream, trio.SSLStream):
            with suppress(ssl.SSLWantReadError):  # Trio's own would wait for the client's
                self.stream._ssl_object.unwrap()
            await self.stream.transport_stream.send_all(self.stream._outgoing.read())
        else:
            assert isinstance(self.stream, trio.SocketStream)
            await self.stream.send_eof()


class Peer:
    """Accepts connections; hands the test each request as its head arrives."""

    def __init__(self) -> None:
        self.connections: list[PeerConnection] = []
        self.sender, self._receiver = trio.open_memory_channel[Request](math.inf)
        self.port = 0
        self.secure = False
        self.accepting = trio.CancelScope()

    async def next_request(self) -> Request:
        with trio.fail_after(30):
            return await self._receiver.receive()

    def provider(self, **fields: object) -> Provider:
        scheme = "https" if self.secure else "http"
        row: dict[str, object] = {
            "name": "peer",
            "protocol": "openai",
            "base_url": f"{scheme}://127.0.0.1:{self.port}/v1",
        }
        return Provider(**(row | fields))  # type: ignore[arg-type]

    async def _accept(self, stream: trio.abc.Stream) -> None:
        connection = PeerConnection(self, stream)
        self.connections.append(connection)
        try:
            await connection.serve()
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(
        self, listeners: list[trio.abc.Listener[trio.abc.Stream]], handlers: trio.Nursery
    ) -> None:
        """Accept until `accepting` is cancelled; connections outlive that."""
        with self.accepting:
            await trio.serve_listeners(self._accept, listeners, handler_nursery=handlers)
        for listener in listeners:
            await listener.aclose()


@asynccontextmanager
async def open_peer(tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer()
    async with trio.open_nursery() as nursery:
        tcp = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer.port = tcp[0].socket.getsockname()[1]
        peer.secure = tls is not None
        listeners: list[trio.abc.Listener[trio.abc.Stream]] = [
            listener if tls is None else trio.SSLListener(listener, tls) for listener in tcp
        ]
        nursery.start_soon(peer._serve, listeners, nursery)
        yield peer
        nursery.cancel_scope.cancel()
