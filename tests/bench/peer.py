"""An HTTP/2 client for tests: one connection over a real socket, every frame's effect kept."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import trio

from engine.wire.http import Delivery, Headers
from engine.wire.http2 import Http2Connection

PATIENCE_S = 30.0
"""A test that waits longer has failed; no test measures time by it."""


@dataclass
class Answer:
    """What has come for one stream."""

    head: dict[bytes, bytes] = field(default_factory=dict)
    reads: list[bytes] = field(default_factory=list)
    ended: bool = False
    reset_code: int | None = None
    unprocessed: bool = False
    cut: bool = False
    """The connection ended under it."""
    unacknowledged: int = 0

    @property
    def status(self) -> int:
        return int(self.head[b":status"])

    @property
    def body(self) -> bytes:
        return b"".join(self.reads)

    @property
    def over(self) -> bool:
        return self.ended or self.reset_code is not None or self.unprocessed or self.cut


class Http2Client:
    """Reads in a task of its own; `wait` sleeps until an answer fulfils a condition."""

    def __init__(self, stream: trio.abc.Stream, *, acknowledge: bool = True) -> None:
        self.h2 = Http2Connection(client_side=True)
        self.answers: dict[int, Answer] = {}
        self.lost = False
        self._acknowledge = acknowledge
        self._stream = stream
        self._news = trio.Event()
        self._sending = trio.Lock()

    async def flush(self) -> None:
        async with self._sending:
            if self.h2.has_outgoing:
                await self._stream.send_all(self.h2.outgoing())

    async def send(self, path: str, body: bytes = b"", headers: Headers | None = None) -> int:
        method = b"POST" if body else b"GET"
        stream_id = self.h2.next_stream(
            [
                (b":method", method),
                (b":scheme", b"http"),
                (b":authority", b"simulated"),
                (b":path", path.encode()),
                *(headers or []),
            ],
            ended=not body,
        )
        self.answers[stream_id] = Answer()
        if body:
            await self._send_body(stream_id, memoryview(body))
        await self.flush()
        return stream_id

    async def _send_body(self, stream_id: int, body: memoryview) -> None:
        """As far as the windows go, then on as they open."""
        with trio.fail_after(PATIENCE_S):
            while (sent := self.h2.send_data(stream_id, body, ended=True)) < len(body):
                body = body[sent:]
                news = self._news
                await self.flush()
                await news.wait()

    async def chat(self, request: dict[str, object], request_id: str = "") -> int:
        headers = [(b"content-type", b"application/json")]
        if request_id:
            headers.append((b"x-request-id", request_id.encode()))
        return await self.send("/v1/chat/completions", orjson.dumps(request), headers)

    async def wait(self, stream_id: int, *, tokens: int | None = None) -> Answer:
        """Until the answer is over, or has so many text events."""
        answer = self.answers[stream_id]
        with trio.fail_after(PATIENCE_S):
            while not answer.over:
                if tokens is not None and answer.body.count(b'"delta":{"content"') >= tokens:
                    break
                await self._news.wait()
        return answer

    async def wait_lost(self) -> None:
        """Until the server has closed the connection."""
        while not self.lost:
            await self._news.wait()

    async def acknowledge_all(self) -> None:
        """Let the server send on, after `acknowledge=False`."""
        self._acknowledge = True
        for stream_id, answer in self.answers.items():
            self.h2.acknowledge(stream_id, answer.unacknowledged)
            answer.unacknowledged = 0
        await self.flush()

    async def read(self) -> None:
        try:
            while data := await self._stream.receive_some(16_384):
                for delivery in self.h2.receive(bytes(data)):
                    self._take(delivery)
                await self.flush()
                self._tell()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.lost = True
        for answer in self.answers.values():
            answer.cut = not answer.over
        self._tell()

    def _take(self, delivery: Delivery) -> None:
        answer = self.answers[delivery.stream_id]
        if delivery.head is not None:
            answer.head = dict(delivery.head)
        if delivery.data:
            answer.reads.append(delivery.data)
        answer.ended = answer.ended or delivery.ended
        answer.reset_code = delivery.reset_code
        answer.unprocessed = delivery.unprocessed
        if self._acknowledge:
            self.h2.acknowledge(delivery.stream_id, delivery.flow_bytes)
        else:
            answer.unacknowledged += delivery.flow_bytes

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def open_http2(
    port: int, *, tls: ssl.SSLContext | None = None, acknowledge: bool = True
) -> AsyncIterator[Http2Client]:
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    if tls is not None:
        secure = trio.SSLStream(stream, tls, server_hostname="localhost", https_compatible=True)
        await secure.do_handshake()
        assert secure.selected_alpn_protocol() == "h2"
        stream = secure
    async with stream, trio.open_nursery() as nursery:
        client = Http2Client(stream, acknowledge=acknowledge)
        client.h2.start()
        await client.flush()
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()


def chat_request(directives: str = "", *, stream: bool = True, **more: object) -> dict[str, object]:
    """A valid request with a `#sim` line."""
    return {
        "model": "sim-openai",
        "messages": [{"role": "user", "content": f"#sim {directives}\nTell me about rivers."}],
        "stream": stream,
        **more,
    }


def events_of(body: bytes) -> list[dict[str, object]]:
    """The JSON events of an SSE body, without `[DONE]`."""
    blocks = body.decode().split("\n\n")
    assert blocks.pop() == "", "an event is incomplete"
    assert all(block.startswith("data: ") for block in blocks)
    return [orjson.loads(block[6:]) for block in blocks if block != "data: [DONE]"]


def text_of(body: bytes, choice: int = 0) -> str:
    """The text of one choice of a streamed answer."""
    pieces: list[str] = []
    for event in events_of(body):
        choices = event.get("choices")
        assert isinstance(choices, list)
        pieces.extend(
            c["delta"]["content"]
            for c in choices
            if c["index"] == choice and c["delta"].get("content")
        )
    return "".join(pieces)
