"""Our HTTP/1.1 alone, on real sockets: no listener, no other protocol."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from frontends.server import ServerSettings
from frontends.server.asgi import AppRunner
from frontends.server.connection import Connection, HttpVersion
from frontends.server.flusher import Flusher
from frontends.server.http1 import Http1Server
from frontends.server.interfaces import Peer, ServerProtocol
from frontends.server.transport import OutputBudget, Transport

App = Callable[[Any, Any, Any], Awaitable[None]]


class CountedTransport(Transport):
    """Counts what is handed to it."""

    writes: int = 0
    was_paused: bool = False

    def write(self, data: bytes | memoryview) -> bool:
        self.writes += 1
        return super().write(data)

    def pause(self) -> None:
        self.was_paused = True
        super().pause()


@dataclass
class Served:
    """One server without a listener; `connect` opens connections to it."""

    settings: ServerSettings
    nursery: trio.Nursery
    runner: AppRunner
    flusher: Flusher
    budget: OutputBudget
    transports: list[CountedTransport] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def connect(self, *, buffer_bytes: int | None = None) -> trio.SocketStream:
        """A client's end; with `buffer_bytes` little is held by the kernel."""
        ours, theirs = _tcp_pair(buffer_bytes)
        peer = Peer("127.0.0.1", 1, "http", local=True)
        transport = CountedTransport(
            ours, peer, ("127.0.0.1", 80), self.settings, self.nursery, self.budget
        )
        connection = Connection(transport, self._open_protocol, self.settings)
        self.transports.append(transport)
        self.connections.append(connection)
        self.nursery.start_soon(connection.run)
        return trio.SocketStream(trio.socket.from_stdlib_socket(theirs))

    def stop(self) -> None:
        """As a server does that stops gracefully."""
        for connection in self.connections:
            connection.stop_nowait()

    def _open_protocol(self, version: HttpVersion, transport: Transport) -> ServerProtocol:
        assert version == "http/1.1"
        return Http1Server(transport, self.runner, self.settings, self.flusher)


def _tcp_pair(buffer_bytes: int | None) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.socket()
        if buffer_bytes is not None:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    if buffer_bytes is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    for sock in (ours, theirs):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    return ours, theirs


@asynccontextmanager
async def serve_http1(app: App, **settings: Any) -> AsyncIterator[Served]:
    """An ASGI app for clients of HTTP/1.1."""
    bounds = ServerSettings(**settings)
    flusher = Flusher(0.005)
    async with trio.open_nursery() as nursery:
        served = Served(
            bounds,
            nursery,
            AppRunner(app, nursery, None, bounds.render_error),
            flusher,
            OutputBudget(bounds.output_max_bytes),
        )

        async def watch() -> None:
            while True:
                await trio.sleep(1)
                for connection in served.connections:
                    connection.check(trio.current_time())

        nursery.start_soon(flusher.run)
        nursery.start_soon(watch)
        try:
            yield served
        finally:
            for transport in served.transports:
                transport.abort()
            nursery.cancel_scope.cancel()
