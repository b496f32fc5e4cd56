"""Clients of one server, in a process of their own: they read what it sends them, and count.

    python -m bench.front_load '{"port": 8787, "key": "…", "clients": 200, …}'

The fields are those of `Load`. For each line on standard input it prints how many clients have got
something and how many events, or answers, all have got; it ends with its standard input. No HTTP
library and no event loop: what reads must cost little beside what is measured.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Final, Literal

import orjson
from hpack import Encoder, NeverIndexedHeaderTuple

_READ_MAX_BYTES: Final = 65_536
_FRAME_HEAD: Final = struct.Struct(">BHBBL")
_SETTINGS: Final = struct.Struct(">HL")
_WINDOW: Final = 2**31 - 1
_PATH: Final = "/v1/chat/completions"

Front = Literal["http1", "http2"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server.

    Attributes:
        clients: so many at once.
        directives: of the simulated provider, for each request.
        kind: `streams`, one a client; `unary`, one request after the other.
        protocol: HTTP/2 is by prior knowledge, or by ALPN over TLS.
        authority: certificates to trust (a file); "": no TLS.
        streams_per_connection: of HTTP/2.
        spread_ms: first tokens come evenly over so long. Streams that began together bring their
            tokens together, many in one read, which flatters whoever joins them.
        path, body: of unary requests that are no chats.
    """

    port: int
    key: str
    clients: int
    directives: str
    kind: Literal["streams", "unary"] = "streams"
    protocol: Front = "http1"
    authority: str = ""
    streams_per_connection: int = 100
    spread_ms: float = 0.0
    path: str = _PATH
    body: str = ""


# -- where it is started ----------------------------------------------------------------------


class Running:
    """Clients in their process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def counts(self) -> tuple[int, int]:
        """Clients that have got something, and events or answers of all, so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        begun, events = self._process.stdout.readline().split()
        return int(begun), int(events)


@contextmanager
def running_load(load: Load) -> Iterator[Running]:
    """Clients that have all sent their first requests."""
    command = [sys.executable, "-m", "bench.front_load", json.dumps(asdict(load))]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            running = Running(process)
            running.counts()
            yield running
        finally:
            process.kill()


# -- the clients ------------------------------------------------------------------------------


def connect(port: int, authority: str, protocol: str = "http1") -> socket.socket:
    """A connection, blocking."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not authority:
        return sock
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2" if protocol == "http2" else "http/1.1"])
    return context.wrap_socket(sock, server_hostname="localhost")


def body_of(directives: str, *, stream: bool) -> bytes:
    """A chat request."""
    content = f"#sim {directives}\nTell me more."
    message = {"role": "user", "content": content}
    return orjson.dumps({"model": "sim-openai", "stream": stream, "messages": [message]})


def request_of(key: str, body: bytes, *more: bytes, path: str = _PATH) -> bytes:
    """It on HTTP/1.1; `more` are further lines of the head."""
    lines = [
        b"POST %s HTTP/1.1" % path.encode(),
        b"host: localhost",
        b"authorization: Bearer %s" % key.encode(),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Reader:
    """A connection that reads; `events` are of all its streams."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.events = 0

    def receive(self) -> None:
        """Take what is there."""
        with suppress(BlockingIOError, ssl.SSLWantReadError, ConnectionError):
            while data := self.sock.recv(_READ_MAX_BYTES):
                self.take(data)
                if len(data) < _READ_MAX_BYTES and not isinstance(self.sock, ssl.SSLSocket):
                    return

    def take(self, data: bytes) -> None:
        """Count the events in it. One that two reads share is not seen, and there are few."""
        self.events += data.count(b"data: {")


class UnaryReader(Reader):
    """Sends its request again for each answer; `events` are answers."""

    def __init__(self, sock: socket.socket, request: bytes) -> None:
        super().__init__(sock)
        self._request = request
        self._gathered = b""

    def take(self, data: bytes) -> None:
        """Gather an answer of known length."""
        self._gathered += data
        head, blank, body = self._gathered.partition(b"\r\n\r\n")
        if not blank:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"refused: {self._gathered[:300]!r}")
        if len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
            self._gathered = b""
            self.events += 1
            self.sock.sendall(self._request)


def open_readers(load: Load) -> Iterator[Reader]:
    """Connections with their requests sent."""
    stream = load.kind == "streams"
    bodies = [body_of(_spread(load, number), stream=stream) for number in range(load.clients)]
    while bodies:
        count = load.streams_per_connection if load.protocol == "http2" else 1
        mine, bodies = bodies[:count], bodies[count:]
        request = request_of(load.key, load.body.encode() or mine[0], path=load.path)
        sock = connect(load.port, load.authority, load.protocol)
        sock.sendall(_http2_requests(load, mine) if load.protocol == "http2" else request)
        sock.setblocking(False)
        yield Reader(sock) if stream else UnaryReader(sock, request)


def _spread(load: Load, number: int) -> str:
    """The directives of one client; of one length for all."""
    if not load.spread_ms:
        return load.directives
    first_ms = load.spread_ms * number / load.clients
    return f"{load.directives} first_token_ms={first_ms:010.3f}"


def _http2_requests(load: Load, bodies: list[bytes]) -> bytes:
    """A connection's opening and its requests; its windows need no update."""
    settings = _SETTINGS.pack(4, _WINDOW)
    out = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        _FRAME_HEAD.pack(0, len(settings), 4, 0, 0) + settings,
        _FRAME_HEAD.pack(0, 4, 8, 0, 0) + struct.pack(">L", _WINDOW - 65_535),
    ]
    fields = [
        (":method", "POST"),
        (":scheme", "https" if load.authority else "http"),
        (":authority", "localhost"),
        (":path", _PATH),
        ("authorization", f"Bearer {load.key}"),
        ("content-type", "application/json"),
        ("content-length", str(len(bodies[0]))),
    ]
    # Never indexed: the block means the same each time.
    block = bytes(Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields]))
    for number, body in enumerate(bodies):
        stream_id = 2 * number + 1
        out.append(_FRAME_HEAD.pack(0, len(block), 1, 0x4, stream_id) + block)
        out.append(_FRAME_HEAD.pack(0, len(body), 0, 0x1, stream_id) + body)
    return b"".join(out)


def main() -> None:
    """Read until standard input ends."""
    load = Load(**json.loads(sys.argv[1]))
    selector = selectors.DefaultSelector()
    readers: list[Reader] = []
    for reader in open_readers(load):
        readers.append(reader)
        selector.register(reader.sock, selectors.EVENT_READ, reader)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                if not sys.stdin.readline():
                    return
                begun = sum(reader.events > 0 for reader in readers)
                print(begun, sum(reader.events for reader in readers), flush=True)  # noqa: T201
            else:
                key.data.receive()


if __name__ == "__main__":
    main()
