"""A small Quart-Trio app and raw clients for the tests of the connection boundary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Protocol

import h2.config
import h2.connection
import h2.events
import trio
from quart import Response, request
from quart_trio import QuartTrio

from frontends.server import Server, ServerSettings, open_server
from frontends.server.settings import ServerKind

served_by: ServerKind = "parshall"
"""Whose HTTP the tests meet; the fixture `each_server` changes it."""


def bounds(**settings: Any) -> ServerSettings:
    """Settings of the server that is tested now."""
    return ServerSettings(**{"server": served_by, **settings})


@dataclass
class Probe:
    """What the app saw, for a test to wait on."""

    app: QuartTrio
    started: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    release: trio.Event = field(default_factory=trio.Event)
    outcome: str = "none"
    sent_bytes: int = 0


def make_probe() -> Probe:
    """Routes: `/` says ok, `/deny` answers early, `/echo` the body, `/stream` until released."""
    app = QuartTrio(__name__)
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    probe = Probe(app)

    @app.route("/", methods=["GET", "POST"])
    async def root() -> str:
        return "ok"

    @app.post("/deny")
    async def deny() -> tuple[str, int]:
        return "no", 401

    @app.post("/echo")
    async def echo() -> str | bytes:
        return await request.get_data()

    @app.get("/fail")
    async def fail() -> str:
        raise RuntimeError("a planted fault")

    @app.get("/stream")
    async def stream() -> Response:
        return Response(_events(probe, b"tick\n"), mimetype="text/event-stream")

    @app.get("/flood")
    async def flood() -> Response:
        probe.release.set()
        return Response(_flood(probe), mimetype="text/event-stream")

    return probe


async def _events(probe: Probe, event: bytes) -> AsyncIterator[bytes]:
    """One event, then silence until released."""
    probe.started.set()
    try:
        yield event
        await probe.release.wait()
        probe.outcome = "completed"
    except BaseException as error:
        probe.outcome = type(error).__name__
        raise
    finally:
        probe.ended.set()


async def _flood(probe: Probe) -> AsyncIterator[bytes]:
    """As much as the client takes."""
    probe.started.set()
    try:
        while True:
            yield b"x" * 16_384
            probe.sent_bytes += 16_384
    finally:
        probe.ended.set()


@asynccontextmanager
async def open_probe(**settings: Any) -> AsyncIterator[tuple[Probe, Server]]:
    """The app served on a free loopback port."""
    probe = make_probe()
    async with open_server(probe.app, ["127.0.0.1:0"], bounds(**settings)) as server:
        yield probe, server


class Addressed(Protocol):
    """Whatever can be dialled."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where, written as binds."""


async def dial(server: Addressed) -> trio.SocketStream:
    """A raw connection to the server's first address."""
    host, _, port = server.addresses[0].rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def read_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    """Bytes up to and including `end`, or all there were before the stream ended."""
    data = bytearray()
    while end not in data and (more := await stream.receive_some(65_536)):
        data += more
    return bytes(data)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Bytes until the server ends the connection, also when it resets it."""
    data = bytearray()
    try:
        while more := await stream.receive_some(65_536):
            data += more
    except trio.BrokenResourceError:
        data += b"<reset>"
    return bytes(data)


async def get(server: Addressed, path: str = "/") -> bytes:
    """The whole answer to one request on a connection of its own."""
    async with await dial(server) as stream:
        request = f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        return await read_all(stream)


class RawHttp2:
    """An HTTP/2 client that sends what it is told, valid or not."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.stream = stream
        self.state = h2.connection.H2Connection(config)
        self.events: list[Any] = []
        self.ended = False

    async def flush(self) -> None:
        await self.stream.send_all(self.state.data_to_send())

    async def request(
        self, stream_id: int, headers: list[tuple[bytes, bytes]], *, ended: bool = True
    ) -> None:
        self.state.send_headers(stream_id, headers, end_stream=ended)
        await self.flush()

    async def wait_for(self, kind: type | UnionType, stream_id: int | None = None) -> Any:
        """The first event of a kind, acknowledging data; None when the connection ends before."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream_id in (
                    None,
                    getattr(event, "stream_id", None),
                ):
                    return event
            try:
                data = await self.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                self.ended = True
                return None
            for event in self.state.receive_data(bytes(data)):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived):
                    size = event.flow_controlled_length or 0
                    self.state.acknowledge_received_data(size, event.stream_id or 0)
            await self.flush()


@asynccontextmanager
async def open_http2(server: Addressed) -> AsyncIterator[RawHttp2]:
    """A connection by prior knowledge."""
    async with await dial(server) as stream:
        client = RawHttp2(stream)
        client.state.initiate_connection()
        await client.flush()
        yield client


def headers(path: bytes = b"/", method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [(b":method", method), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path)]
