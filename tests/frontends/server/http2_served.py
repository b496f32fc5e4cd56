"""Our HTTP/2 alone, on real sockets: no listener, no other protocol."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from frontends.server import ServerSettings
from frontends.server.asgi import AppRunner
from frontends.server.connection import Connection, HttpVersion
from frontends.server.flusher import Flusher
from frontends.server.http2 import Http2Server
from frontends.server.interfaces import Peer, ServerProtocol
from frontends.server.transport import OutputBudget, Transport


@dataclass
class Http2Served:
    """`addresses` as of a `Server`; the connections that were opened, first to last."""

    addresses: tuple[str, ...]
    connections: list[Connection] = field(default_factory=list)
    protocols: list[Http2Server] = field(default_factory=list)
    transports: list[Transport] = field(default_factory=list)

    def stop(self) -> None:
        for connection in self.connections:
            connection.stop_nowait()


@asynccontextmanager
async def serve_http2(
    app: Any, *, send_buffer_bytes: int | None = None, **settings: Any
) -> AsyncIterator[Http2Served]:
    """An ASGI app on a free loopback port, for clients with prior knowledge."""
    bounds = ServerSettings(**settings)
    flusher = Flusher(0.005)
    budget = OutputBudget(bounds.output_max_bytes)
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen()
    host, port = listener.getsockname()
    served = Http2Served((f"{host}:{port}",))
    async with trio.open_nursery() as nursery:
        runner = AppRunner(app, nursery)

        def open_protocol(version: HttpVersion, transport: Transport) -> ServerProtocol:
            assert version == "h2"
            protocol = Http2Server(transport, runner, bounds, flusher)
            served.protocols.append(protocol)
            return protocol

        async def accept() -> None:
            while True:
                accepted, address = await listener.accept()
                sock = socket.socket(fileno=accepted.detach())
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if send_buffer_bytes is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
                peer = Peer(address[0], address[1], "http", local=True)
                transport = Transport(sock, peer, (host, port), bounds, nursery, budget)
                connection = Connection(transport, open_protocol, bounds)
                served.transports.append(transport)
                served.connections.append(connection)
                nursery.start_soon(connection.run)

        async def watch() -> None:
            while True:
                await trio.sleep(1)
                for connection in served.connections:
                    connection.check(trio.current_time())

        for task in (accept, watch, flusher.run):
            nursery.start_soon(task)
        try:
            yield served
        finally:
            for transport in served.transports:
                transport.abort()
            nursery.cancel_scope.cancel()
            listener.close()


async def read_body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def answer(send: Any, body: bytes = b"ok", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, await read_body(receive))
