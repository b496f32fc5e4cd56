"""A provider in a process of its own; two clients of it: our pool, and the least there can be."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import orjson
import trio
from hpack import Encoder, NeverIndexedHeaderTuple

from engine.errors import UpstreamError
from engine.upstream.pool import Pool, PoolSettings, UpstreamStream, open_pool
from engine.upstream.providers import Provider
from engine.wire.http import Delivery, Headers

_FRAME_HEAD = struct.Struct(">BHBBL")
_PROVIDER = """
import trio
from bench.simulate import SimulatorSettings, open_simulator
from engine.wire.http2 import Http2Limits

async def main():
    limits = Http2Limits(resets_max=1_000_000)
    async with open_simulator(SimulatorSettings(http2=limits)) as simulator:
        print(simulator.base_url, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@contextmanager
def running_provider() -> Iterator[str]:
    """A simulated provider; its base URL."""
    command = [sys.executable, "-c", _PROVIDER]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and program
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def ask(directives: str, *, stream: bool) -> bytes:
    """The body of a chat request, the size of a short conversation."""
    content = f"#sim {directives}\n" + "Tell me more about rivers. " * 12
    message = {"role": "user", "content": content}
    return orjson.dumps({"model": "sim-openai", "stream": stream, "messages": [message]})


class Answer:
    """A receiver that counts, acknowledges, and keeps nothing."""

    __slots__ = ("changed", "events", "first", "first_at", "over", "stream")

    def __init__(self) -> None:
        self.stream: UpstreamStream | None = None
        self.events = 0
        self.first_at = 0.0
        self.first = trio.Event()
        self.over = trio.Event()

    def deliver(self, delivery: Delivery) -> None:
        """Take what one read brought."""
        if delivery.data:
            if not self.events:
                self.first_at = time.perf_counter()
                self.first.set()
            self.events += delivery.data.count(b"\n\n") or 1
        if delivery.ended or delivery.reset_code is not None:
            self.over.set()
        elif delivery.flow_bytes and self.stream is not None:
            self.stream.acknowledge(delivery.flow_bytes)

    def lost(self, error: UpstreamError) -> None:
        """Lost streams are part of the end of a measurement only."""
        self.over.set()


class Upstream:
    """A pool and what it asks of one provider."""

    def __init__(self, pool: Pool, base_url: str, **fields: object) -> None:
        row = {"name": "sim", "protocol": "openai", "http2": "prior-knowledge"} | fields
        self.pool = pool
        self.provider = Provider(base_url=f"{base_url}/v1", **row)  # type: ignore[arg-type]
        origin = self.provider.origin
        self._constant: Headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", origin.authority.encode()),
            (b":path", b"/v1/chat/completions"),
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall/0.1"),
            (b"authorization", b"Bearer sk-" + b"x" * 40),
        ]
        self._number = 0

    async def open(self, body: bytes, request_id: str | None = None) -> Answer:
        """Send a request; a new id each, as a gateway does."""
        self._number += 1
        answer = Answer()
        headers = self.headers(body, request_id or f"{self._number:032x}")
        answer.stream = await self.pool.open_stream(self.provider, headers, body, answer)
        return answer

    def headers(self, body: bytes, request_id: str) -> Headers:
        """What a gateway sends: constant but for the length and the id."""
        fields = [(b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode())]
        return [*self._constant, *fields]

    async def request(self, body: bytes) -> None:
        """A request and its whole answer."""
        await (await self.open(body)).over.wait()


@asynccontextmanager
async def open_upstream(base_url: str, **fields: object) -> AsyncIterator[Upstream]:
    """A pool of its own."""
    async with open_pool(PoolSettings(waiters_max=10_000)) as pool:
        yield Upstream(pool, base_url, **fields)


def constant_block(headers: Headers) -> bytes:
    """A header block that means the same on any connection."""
    return bytes(Encoder().encode([NeverIndexedHeaderTuple(*field) for field in headers]))


class RawClient:
    """The least a client can do: a blocking socket, frames made beforehand, one at a time."""

    def __init__(self, base_url: str, headers: Headers, body: bytes) -> None:
        host, _, port = base_url.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        window = _FRAME_HEAD.pack(0, 4, 8, 0, 0) + (1 << 30).to_bytes(4, "big")
        settings = _FRAME_HEAD.pack(0, 0, 4, 0, 0)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window)
        self._headers, self._body = headers, body
        self._block = constant_block(headers)
        self._stream_id = -1
        self._buffer = b""

    def first_byte_ms(self) -> float:
        """From before the request to the first byte of the answer's body."""
        started_s = time.perf_counter()
        self._send(self._block)
        first_s = 0.0
        while True:
            self._buffer += self._socket.recv(16_384)
            arrived_s = time.perf_counter()
            while len(self._buffer) >= 9:
                high, low, kind, flags, stream_id = _FRAME_HEAD.unpack_from(self._buffer)
                size = (high << 16) | low
                if len(self._buffer) < 9 + size:
                    break
                self._buffer = self._buffer[9 + size :]
                if kind == 0 and stream_id == self._stream_id:
                    first_s = first_s or arrived_s
                    if flags & 0x1:
                        return (first_s - started_s) * 1e3

    def begin(self, request_id: str) -> int:
        """Send a request whose answer will not be read; its stream id."""
        self._send(constant_block([*self._headers[:-1], (b"x-request-id", request_id.encode())]))
        return self._stream_id

    def reset(self, stream_id: int) -> None:
        """RST_STREAM with CANCEL."""
        self._socket.sendall(_FRAME_HEAD.pack(0, 4, 3, 0, stream_id) + (8).to_bytes(4, "big"))

    def _send(self, block: bytes) -> None:
        self._stream_id += 2
        head = _FRAME_HEAD.pack(0, len(block), 1, 0x4, self._stream_id)
        data = _FRAME_HEAD.pack(0, len(self._body), 0, 0x1, self._stream_id)
        self._socket.sendall(head + block + data + self._body)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
