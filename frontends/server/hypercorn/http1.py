"""Hypercorn's HTTP/1.1, mended: it goes on reading while it answers, and asks for bodies late.

Left out on purpose: `Upgrade` (RFC 9110 section 7.8 lets a server ignore it), which Hypercorn
would take to WebSocket or, deprecated by RFC 9113, to h2c. HTTP/2 by prior knowledge is served.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import h11
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from frontends.server.asgi import SINK
from frontends.server.hypercorn.conversation import ConversationGroup
from frontends.server.hypercorn.sink import ChunkSink
from frontends.server.interfaces import Wire
from frontends.server.settings import ServerSettings


class Http2PrefaceError(Exception):
    """The client opened with HTTP/2's preface (RFC 9113 section 3.4); `data` is all it has sent."""

    def __init__(self, data: bytes) -> None:
        super().__init__("the client speaks HTTP/2")
        self.data = data


class Http1(H11Protocol):
    """One HTTP/1.1 connection."""

    connection: h11.Connection
    task_group: ConversationGroup

    def __init__(self, *arguments: Any, settings: ServerSettings, wire: Wire) -> None:
        super().__init__(*arguments)
        self._settings = settings
        self._wire = wire
        self._paused = False
        """The next request has begun to arrive before this one was answered."""
        self._stepping = trio.Lock()
        self._head = b""
        """Of an answer whose length is known: its body follows at once, in the same write."""

    async def handle(self, event: Event) -> None:
        """Bytes from the client, or its leaving."""
        match event:
            case RawData():
                self.connection.receive_data(event.data)
                if not self._paused:
                    await self._handle_events()
                ahead_bytes = len(self.connection.trailing_data[0]) if self._paused else 0
                if ahead_bytes > self._settings.pipelined_max_bytes:
                    await self.send(Closed())
            case Closed():
                await self._close_stream()

    async def _handle_events(self) -> None:
        async with self._stepping:
            while not self._paused:
                try:
                    event = self.connection.next_event()
                except h11.RemoteProtocolError as error:
                    if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                        await self._send_error_response(error.error_status_hint)
                    await self.send(Closed())
                    return
                match event:
                    case h11.Request():
                        await self._begin(event)
                    case h11.Data() if self.stream is not None:
                        await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
                    case h11.EndOfMessage() if self.stream is not None:
                        await self.stream.handle(EndBody(stream_id=STREAM_ID))
                    case h11.PAUSED:
                        self._paused = True
                    case _:
                        return

    async def _begin(self, request: h11.Request) -> None:
        if request.method == b"PRI" and request.target == b"*" and request.http_version == b"2.0":
            raise Http2PrefaceError(b"PRI * HTTP/2.0\r\n\r\n" + self.connection.trailing_data[0])
        await self.send(Updated(idle=False))
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        if request.http_version == b"1.1" and request.method != b"HEAD":
            extensions: dict[str, Any] = self.stream.scope["extensions"]
            extensions[SINK] = self._open_sink
        if self.connection.they_are_waiting_for_100_continue and self.task_group.latest:
            self.task_group.latest.before_body = self._send_continue

    def _open_sink(self) -> ChunkSink:
        """The app's way around us, for the body it sends now."""
        assert self.connection.our_state is h11.SEND_BODY
        return ChunkSink(self._wire)

    async def _send_continue(self) -> None:
        if self.connection.they_are_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def _maybe_recycle(self) -> None:
        """After an answer: on to the next request, which may be here already, or the end."""
        await self._close_stream()
        done = self.connection.our_state is self.connection.their_state is h11.DONE
        if not done or self.context.terminated.is_set():
            await self.send(Closed())
            return
        self.connection.start_next_cycle()
        await self.send(Updated(idle=True))
        if self._paused:
            self._paused = False
            self.task_group.spawn(self._handle_events)

    async def _send_h11_event(self, event: Any) -> None:
        if isinstance(event, h11.Response) and self.connection.their_state is h11.SEND_BODY:
            event = _last(event)
        try:
            data = self._head + self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        self._head = b""
        if isinstance(event, h11.Response) and _has_length(event):
            self._head = data
        elif data:
            await self.send(RawData(data=data))

    async def _send_error_response(self, status_code: int) -> None:
        """Answers what is not HTTP."""
        error = self._settings.render_error(status_code)
        length = (b"content-length", b"%d" % len(error.body))
        headers = [*error.headers, length, (b"connection", b"close")]
        reason = HTTPStatus(status_code).phrase.encode()
        await self._send_h11_event(
            h11.Response(status_code=status_code, headers=headers, reason=reason)
        )
        if error.body:
            await self._send_h11_event(h11.Data(data=error.body))
        await self._send_h11_event(h11.EndOfMessage())


def _last(response: h11.Response) -> h11.Response:
    """Says that it is the connection's last: the client is still sending what nobody reads.

    Unsaid, the client's next request could meet the close that follows.
    """
    headers = [*response.headers.raw_items(), (b"connection", b"close")]
    return h11.Response(status_code=response.status_code, headers=headers, reason=response.reason)


def _has_length(response: h11.Response) -> bool:
    return any(name == b"content-length" for name, _ in response.headers)
