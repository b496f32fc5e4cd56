"""A receiver of webhooks on a real socket, that answers as it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import h11
import trio


@dataclass(frozen=True, slots=True)
class Message:
    """One request that came."""

    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """Answers each request with the next of `statuses`, then with 204; 0 is no answer at all."""

    statuses: list[int]
    url: str = ""
    messages: list[Message] = field(default_factory=list)
    _came: trio.Event = field(default_factory=trio.Event)

    async def wait(self, condition: Callable[[list[Message]], bool]) -> None:
        """Wait until what has come is as wanted."""
        with trio.fail_after(30):
            while not condition(self.messages):
                await self._came.wait()
                self._came = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection."""
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                message = await self._read(stream, connection)
                if message is None:
                    return
                status = self.statuses.pop(0) if self.statuses else 204
                self.messages.append(message)
                self._came.set()
                if status == 0:
                    await trio.sleep_forever()
                response = h11.Response(status_code=status, headers=[("content-length", "0")])
                for event in (response, h11.EndOfMessage()):
                    await stream.send_all(connection.send(event) or b"")
                connection.start_next_cycle()

    async def _read(self, stream: trio.SocketStream, connection: h11.Connection) -> Message | None:
        request: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            match event:
                case h11.NEED_DATA:
                    try:
                        connection.receive_data(await stream.receive_some(65_536))
                    except trio.BrokenResourceError:
                        return None
                case h11.Request():
                    request = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    assert request is not None
                    headers = {n.decode(): v.decode() for n, v in request.headers}
                    return Message(request.target.decode(), headers, body)
                case _:
                    return None


@asynccontextmanager
async def open_receiver(*statuses: int) -> AsyncIterator[Receiver]:
    """A receiver for the block, on a port of its own."""
    receiver = Receiver(list(statuses))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, receiver.serve, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        receiver.url = f"http://127.0.0.1:{port}/hooks?from=parshall"
        yield receiver
        nursery.cancel_scope.cancel()
