"""A TCP proxy that spoils what passes through it, on command.

Between a client of ours and any server: nothing here knows what the bytes mean.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import trio

_READ_MAX_BYTES: Final = 65_536
_IN_FLIGHT_MAX: Final = 1_024
"""Pieces on their way; a sender waits then."""


@dataclass
class Faults:
    """What befalls connections, from now on.

    Attributes:
        piece_bytes: everything arrives in pieces of this size; 0: as it comes.
        latency_s: how long each piece takes, in either direction.
        blackhole: connections are accepted, and nothing passes; nobody is told.
        refuse: connections are accepted and reset.
    """

    piece_bytes: int = 0
    latency_s: float = 0.0
    blackhole: bool = False
    refuse: bool = False


class Link:
    """One connection through the proxy."""

    def __init__(self, client: trio.SocketStream, faults: Faults) -> None:
        self.client = client
        self.server: trio.SocketStream | None = None
        self.to_client_bytes = 0
        self.to_server_bytes = 0
        self.closed = trio.Event()
        self._faults = faults
        self._scope = trio.CancelScope()

    async def run(self, target_port: int) -> None:
        """Carry bytes both ways until both ends are done."""
        try:
            with self._scope, suppress(OSError):  # no server behind us
                await self._run(target_port)
        finally:
            for end in (self.client, self.server):
                if end is not None:
                    end.socket.close()
            self.closed.set()

    async def _run(self, target_port: int) -> None:
        if self._faults.refuse:
            self.reset()
        if self._faults.blackhole:
            await trio.sleep_forever()
        self.server = await trio.open_tcp_stream("127.0.0.1", target_port)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, self.client, self.server)
            nursery.start_soon(self._carry, self.server, self.client)

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            await self._carry_delayed(source, sink)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()  # one end broke

    async def _carry_delayed(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        # Many pieces are on their way at once, as on a long line.
        pieces: deque[tuple[float, bytes]] = deque()
        arrived, taken = trio.Event(), trio.Event()

        async def send() -> None:
            nonlocal arrived
            while True:
                while not pieces:
                    await arrived.wait()
                    arrived = trio.Event()
                due, piece = pieces.popleft()
                taken.set()
                await trio.sleep_until(due)
                if self._faults.blackhole:
                    await trio.sleep_forever()
                if not piece:
                    await sink.send_eof()
                    return
                await self._send(sink, piece)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            piece = b"first"
            while piece:
                piece = bytes(await source.receive_some(_READ_MAX_BYTES))
                while len(pieces) >= _IN_FLIGHT_MAX:
                    taken = trio.Event()
                    await taken.wait()
                pieces.append((trio.current_time() + self._faults.latency_s, piece))
                arrived.set()

    async def _send(self, sink: trio.SocketStream, piece: bytes) -> None:
        size = self._faults.piece_bytes or len(piece)
        for at in range(0, len(piece), size):
            part = piece[at : at + size]
            await sink.send_all(part)
            if self._faults.piece_bytes:
                await trio.lowlevel.checkpoint()  # lets the reader take it before the next
            if sink is self.client:
                self.to_client_bytes += len(part)
            else:
                self.to_server_bytes += len(part)

    def close_half(self, end: str) -> None:
        """FIN towards `client` or `server`, also in the middle of a piece; the other direction goes
        on."""
        stream = self.client if end == "client" else self.server
        assert stream is not None
        stream.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST towards both ends."""
        linger = struct.pack("ii", 1, 0)
        for end in (self.client, self.server):
            if end is not None:
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._scope.cancel()


@dataclass
class Proxy:
    """Listens on `port`; `faults` may change at any time."""

    port: int
    target_port: int = 0
    faults: Faults = field(default_factory=Faults)
    links: list[Link] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def latest(self) -> Link:
        return self.links[-1]

    async def handle(self, stream: trio.SocketStream) -> None:
        # Small writes are to leave as such.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(stream, self.faults)
        self.links.append(link)
        await link.run(self.target_port)


@asynccontextmanager
async def open_proxy(target_port: int = 0, **faults: Any) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine; `target_port` may be set later."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = Proxy(listener.socket.getsockname()[1], target_port, Faults(**faults))
        await nursery.start(trio.serve_listeners, proxy.handle, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
