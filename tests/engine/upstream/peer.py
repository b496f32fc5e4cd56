"""A provider that speaks real HTTP/2 over a real socket, and does what the test says."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from engine.errors import UpstreamError
from engine.upstream.providers import Provider
from engine.wire.http import Delivery, Headers
from engine.wire.http2 import ErrorCodes, Http2Connection, Http2Error, Http2Limits

OK: Headers = [(b":status", b"200"), (b"content-type", b"text/event-stream")]
LENIENT = Http2Limits(streams_max=1_000, resets_max=100_000, empty_data_max=100_000)


@dataclass
class Request:
    """One request as the peer sees it."""

    connection: PeerConnection
    stream_id: int
    head: Headers
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset_code: int | None = None
    _changed: trio.Event = field(default_factory=trio.Event)

    def answer(self, data: bytes = b"", *, ended: bool = False) -> int:
        """Send the head, and as much of the data as the window lets through."""
        self.connection.http2.send_headers(self.stream_id, OK)
        return self.send(data, ended=ended)

    def send(self, data: bytes, *, ended: bool = False) -> int:
        taken = self.connection.http2.send_data(self.stream_id, data, ended=ended)
        self.connection.flush()
        return taken

    async def send_all(self, data: bytes, *, ended: bool = False) -> None:
        """Send everything, as the client's windows open."""
        while True:
            data = data[self.send(data, ended=ended) :]
            if not data:
                return
            await self.wait(lambda: self.connection.http2.send_window(self.stream_id) > 0)

    def reset(self, code: int = ErrorCodes.INTERNAL_ERROR) -> None:
        self.connection.http2.reset(self.stream_id, code)
        self.connection.flush()

    def changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, condition: object) -> None:
        assert callable(condition)
        while not condition():
            await self._changed.wait()

    async def wait_ended(self) -> bytes:
        await self.wait(lambda: self.ended)
        return bytes(self.body)

    async def wait_reset(self) -> int:
        await self.wait(lambda: self.reset_code is not None)
        assert self.reset_code is not None
        return self.reset_code


class PeerConnection:
    """A connection the peer has accepted."""

    def __init__(self, peer: Peer, stream: trio.abc.Stream) -> None:
        self.peer = peer
        self.stream = stream
        self.requests: dict[int, Request] = {}
        self.order: list[int] = []
        """Stream ids of the request DATA, as it came."""
        self.http2 = Http2Connection(client_side=False, limits=peer.limits)
        self.http2.start()
        self.closed = trio.Event()
        self.reading = trio.Event()
        self.reading.set()
        self._wake = trio.Event()

    def flush(self) -> None:
        self._wake.set()

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError, Http2Error):
                await self._read()
            self.closed.set()
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            await self.reading.wait()
            data = await self.stream.receive_some(16_384)
            if not data:
                return
            if self.peer.deaf:
                continue
            for delivery in self.http2.receive(bytes(data)):
                self._take(delivery)
            for request in self.requests.values():
                request.changed()
            self.flush()

    def _take(self, delivery: Delivery) -> None:
        request = self.requests.get(delivery.stream_id)
        if request is None:
            assert delivery.head is not None
            request = Request(self, delivery.stream_id, delivery.head)
            self.requests[delivery.stream_id] = request
            self.peer.sender.send_nowait(request)
        if delivery.data:
            self.order.append(delivery.stream_id)
        request.body += delivery.data
        request.ended |= delivery.ended
        request.reset_code = delivery.reset_code
        if self.peer.acknowledges:
            self.http2.acknowledge(delivery.stream_id, delivery.flow_bytes)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if data := self.http2.outgoing():
                try:
                    await self.stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    def drop(self) -> None:
        """Cut the connection without a word."""
        assert isinstance(self.stream, trio.SocketStream)
        with suppress(OSError):  # closed already
            self.stream.socket.shutdown(trio.socket.SHUT_RDWR)


class Peer:
    """Accepts connections; hands the test each request as its head arrives."""

    def __init__(self, limits: Http2Limits) -> None:
        self.limits = limits
        self.acknowledges = True
        self.deaf = False
        self.connections: list[PeerConnection] = []
        self.sender, self._receiver = trio.open_memory_channel[Request](math.inf)
        self.port = 0
        self.accepting = trio.CancelScope()
        self.secure = False

    async def next_request(self) -> Request:
        return await self._receiver.receive()

    def provider(self, **fields: object) -> Provider:
        scheme = "https" if self.secure else "http"
        http2 = "alpn" if self.secure else "prior-knowledge"
        row: dict[str, object] = {
            "name": "peer",
            "protocol": "openai",
            "base_url": f"{scheme}://127.0.0.1:{self.port}/v1",
            "http2": http2,
        }
        return Provider(**(row | fields))  # type: ignore[arg-type]

    async def _serve(
        self, listeners: list[trio.abc.Listener[trio.abc.Stream]], handlers: trio.Nursery
    ) -> None:
        """Accept until `accepting` is cancelled; connections outlive that."""
        with self.accepting:
            await trio.serve_listeners(self._accept, listeners, handler_nursery=handlers)
        for listener in listeners:
            await listener.aclose()

    async def _accept(self, stream: trio.abc.Stream) -> None:
        async with stream:
            connection = PeerConnection(self, stream)
            self.connections.append(connection)
            connection.flush()
            await connection.serve()


@asynccontextmanager
async def open_peer(
    limits: Http2Limits = LENIENT,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Peer]:
    peer = Peer(limits)
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(port, host=host)
        peer.port = listeners[0].socket.getsockname()[1]
        peer.secure = tls is not None
        serving: list[trio.abc.Listener[trio.abc.Stream]] = [
            listener if tls is None else trio.SSLListener(listener, tls, https_compatible=True)
            for listener in listeners
        ]
        nursery.start_soon(peer._serve, serving, nursery)
        yield peer
        nursery.cancel_scope.cancel()


class Collector:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.head: Headers | None = None
        self.data = b""
        self.flow_bytes = 0
        self.ended = False
        self.reset_code: int | None = None
        self.unprocessed = False
        self.error: UpstreamError | None = None
        self._changed = trio.Event()

    def deliver(self, delivery: Delivery) -> None:
        assert not self.over, "nothing comes after the end"
        self.head = delivery.head or self.head
        self.data += delivery.data
        self.flow_bytes += delivery.flow_bytes
        self.ended = delivery.ended
        self.reset_code = delivery.reset_code
        self.unprocessed = delivery.unprocessed
        self._note()

    def lost(self, error: UpstreamError) -> None:
        assert not self.over, "nothing comes after the end"
        self.error = error
        self._note()

    @property
    def over(self) -> bool:
        return self.ended or self.error is not None or self.reset_code is not None

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_bytes(self, count: int) -> bytes:
        while len(self.data) < count and not self.over:
            await self._changed.wait()
        return self.data

    async def wait_over(self) -> Collector:
        while not self.over:
            await self._changed.wait()
        return self


def request_head(provider: Provider, *, method: bytes = b"POST") -> Headers:
    return [
        (b":method", method),
        (b":scheme", provider.origin.scheme.encode()),
        (b":authority", provider.origin.authority.encode()),
        (b":path", provider.path("/chat/completions").encode()),
    ]
