"""A gateway served over HTTP on a real socket, and a bare HTTP/1.1 client that may leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio

from engine.events import Protocol
from frontends.app import create_app
from frontends.server import ServerSettings, open_server
from tests.gateways import MODELS, Setup, chat_body, open_setup


@dataclass(frozen=True, slots=True)
class Served:
    """A setup and where its gateway listens."""

    setup: Setup
    port: int

    @property
    def origin(self) -> str:
        """What Anthropic's and Google's SDKs call their base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What OpenAI's SDK calls its base URL."""
        return f"{self.origin}/v1"

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client with the account's key."""
        headers = {"authorization": f"Bearer {self.setup.key}"}
        # Nothing here is TLS: not loading the authorities saves most of a client's cost.
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, verify=False)
        async with client:
            yield client

    async def receipt(self, request_id: str) -> dict[str, Any]:
        """A receipt once its exchange has ended, as the client gets it."""
        async with self.http() as client:
            with trio.fail_after(30):
                while True:
                    answer = await client.get(f"/receipts/{request_id}")
                    receipt: dict[str, Any] = answer.json()
                    if answer.status_code == 200 and receipt["state"] == "settled":
                        return receipt
                    await trio.sleep(0.005)


@asynccontextmanager
async def open_served(
    folder: Path, *, settings: ServerSettings | None = None, **options: Any
) -> AsyncIterator[Served]:
    """Serve a gateway; on leaving, the invariants are checked."""
    async with (
        open_setup(folder, **options) as setup,
        open_server(create_app(setup.gateway), ["127.0.0.1:0"], settings) as server,
    ):
        yield Served(setup, int(server.addresses[0].rpartition(":")[2]))


class RawStream:
    """A streamed request on a socket of its own: events are read one by one, or not at all."""

    def __init__(self, stream: trio.SocketStream, event_mark: bytes = b"\n\n") -> None:
        self._stream = stream
        self._event_mark = event_mark
        self._buffer = b""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def read_head(self) -> None:
        """Read status and headers."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }

    async def read_events(self, count: int) -> int:
        """Read until `count` events have come or the answer ends; how many there were."""
        seen = self._buffer.count(self._event_mark)
        while seen < count and not self._buffer.endswith(b"0\r\n\r\n"):
            self._buffer += await self._receive()
            seen = self._buffer.count(self._event_mark)
        return seen

    async def send_eof(self) -> None:
        """Close the sending half: nothing more will be asked."""
        await self._stream.send_eof()

    async def _receive(self) -> bytes:
        data = await self._stream.receive_some(65_536)
        if not data:
            raise EOFError("the gateway closed the connection")
        return bytes(data)


@asynccontextmanager
async def open_raw(served: Served, directives: str, **changes: Any) -> AsyncIterator[RawStream]:
    """Send a streamed call; leaving the block closes the socket, whatever has come."""
    body = chat_body(directives, **changes)
    async with await _asked(served, "/v1/chat/completions", body) as stream:
        yield RawStream(stream)


PATHS: dict[str, str] = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
}


@asynccontextmanager
async def open_raw_of(
    served: Served, client: Protocol, provider: str, directives: str
) -> AsyncIterator[RawStream]:
    """The same in a client's protocol, for the provider of another or of the same."""
    call = served.setup.call_of(client, provider, directives)
    path = PATHS[client].format(model=MODELS[provider])
    async with await _asked(served, path, call.body) as stream:
        yield RawStream(stream, b"data: " if client == "gemini" else b"\n\n")


async def _asked(served: Served, path: str, body: bytes) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    await stream.send_all(raw_request(served, path, body))
    return stream


def raw_request(served: Served, path: str, body: bytes) -> bytes:
    """A request over HTTP/1.1, with the account's key."""
    return (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\n"
        b"authorization: Bearer %s\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s"
        % (path.encode(), served.setup.key.encode(), len(body), body)
    )
