"""A peer's httpx client over the pool, for tests of the transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio

from engine.upstream.pool import PoolSettings
from engine.upstream.transport import open_multiplex_transport
from engine.wire.http import Headers

from .peer import Peer, Request


@asynccontextmanager
async def open_client(peer: Peer, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    """An httpx client of the peer; nothing is left open on the peer's side after it."""
    settings = options.pop("settings", PoolSettings())
    assert isinstance(settings, PoolSettings)
    async with (
        open_multiplex_transport(settings, http2="prior-knowledge") as transport,
        httpx.AsyncClient(
            transport=transport,
            base_url=f"http://127.0.0.1:{peer.port}",
            **options,  # type: ignore[arg-type]
        ) as client,
    ):
        yield client


def respond(request: Request, status: int, *fields: tuple[bytes, bytes], body: bytes = b"") -> None:
    head: Headers = [(b":status", b"%d" % status), *fields]
    request.connection.http2.send_headers(request.stream_id, head)
    request.send(body, ended=True)


async def pieces(count: int) -> AsyncIterator[bytes]:
    """A body of `count` times 1,000 bytes."""
    for n in range(count):
        await trio.lowlevel.checkpoint()
        yield b"%d" % (n % 10) * 1_000
