"""An HTTP proxy that tunnels, or does what the test says instead."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import h11
import trio


class TunnelProxy:
    """Keeps the requests it got.

    Attributes:
        credentials: `user:password` it insists on.
        answer: written in place of a tunnel, if set.
        early: bytes sent right behind the answer that opens a tunnel.
    """

    def __init__(self) -> None:
        self.credentials: str | None = None
        self.answer: bytes | None = None
        self.early = b""
        self.requests: list[h11.Request] = []
        self.port = 0

    def url(self, user: str = "") -> str:
        return f"http://{user}{'@' if user else ''}127.0.0.1:{self.port}"

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(4_096))
        if not isinstance(event, h11.Request):
            return
        self.requests.append(event)
        if self.answer is not None:
            await stream.send_all(self.answer)
            return
        if not self._authorized(event):
            await stream.send_all(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b"proxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
            )
            return
        host, _, port = event.target.decode().rpartition(":")
        async with await trio.open_tcp_stream(host.strip("[]"), int(port)) as target:
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n" + self.early)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, stream, target, nursery.cancel_scope)
                nursery.start_soon(_pump, target, stream, nursery.cancel_scope)

    def _authorized(self, request: h11.Request) -> bool:
        if self.credentials is None:
            return True
        wanted = b"Basic " + base64.b64encode(self.credentials.encode())
        return (b"proxy-authorization", wanted) in list(request.headers)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    """Pass bytes on; the end of either direction is the end of both."""
    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(65_536):
            await sink.send_all(data)
    both.cancel()


@asynccontextmanager
async def open_server(
    handler: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serves on 127.0.0.1; its port."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_proxy() -> AsyncIterator[TunnelProxy]:
    proxy = TunnelProxy()
    async with open_server(proxy.serve) as proxy.port:
        yield proxy
