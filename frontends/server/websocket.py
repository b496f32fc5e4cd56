"""One WebSocket (RFC 6455) on what was an HTTP/1.1 connection, by Hypercorn's protocol classes.

Hypercorn ends a connection on bytes before the app has accepted it, keeps a message past its bound
growing, and tells the app nothing of the client's close code; here early bytes wait, and one task a
WebSocket carries messages between the two. It may wait, and so may the app: the connection's reader
does not. Compression is not offered: what inflates has no bound there.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import (
    Body,
    Data,
    EndBody,
    EndData,
    Event,
    Request,
    Response,
    StreamClosed,
)
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState as State
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from engine.wire.http1_answer import AnswerWriter
from engine.wire.http1_head import RequestHead
from frontends.server.dates import http_date
from frontends.server.forwarded import PEER, UNIX
from frontends.server.interfaces import Headers, Scope, Wire

log = logging.getLogger("parshall.server")

MESSAGE_MAX_BYTES: Final = 1024 * 1024
"""Of a client's message; a larger one ends the WebSocket with code 1009."""
WAITING_MAX_BYTES: Final = 65_536
"""Of what a client sends before it is looked at, and of messages that the app has not taken."""
PING_INTERVAL_S: Final = 20.0
CLOSING_TIMEOUT_S: Final = 5.0
"""For the app, once the client has left."""
_STREAM_ID: Final = 1
_MESSAGE_BYTES: Final = 256
"""Counted for a message beside its content."""
_are_fields: Final = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*"
).fullmatch


@cache
def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.websocket_max_message_size = MESSAGE_MAX_BYTES
    config.websocket_ping_interval = PING_INTERVAL_S
    return config


def is_websocket(head: RequestHead) -> bool:
    """Whether a request asks for one, in a way that leaves no doubt where it ends."""
    return head.upgrade == b"websocket" and head.method == "GET" and not head.framing


class WebSocket:
    """A connection from its upgrade on. `run` is its task; the reader calls the rest.

    Args:
        wire: the client's socket.
        head: the request to upgrade; `is_websocket`.
    """

    def __init__(self, wire: Wire, head: RequestHead) -> None:
        self._wire = wire
        self._head = head
        self._peer = wire.asker(head.headers)
        self._stream: _Stream | None = None
        self._inbound = bytearray()
        self._paused = False
        self._left = False
        self._closed = False
        """Our side has said its last."""
        self._rejection: AnswerWriter | None = None
        self._messages: deque[dict[str, Any]] = deque()
        self._messages_bytes = 0
        self._disconnect: dict[str, Any] | None = None
        self._app_ended = True
        self._changed = trio.Event()

    # -- the connection -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._closed:
            return
        self._inbound += data
        if len(self._inbound) > WAITING_MAX_BYTES and not self._paused:
            self._paused = True
            self._wire.pause()
        self._notify()

    def receive_eof(self) -> None:
        """The client has left."""
        self._left = True
        self._notify()

    def stop(self) -> None:
        """Tell the client that we go away; it ends when the client has said so too."""
        stream = self._stream
        if stream is None or not stream.handshake.accepted:
            return
        try:
            self._wire.write(stream.connection.send(CloseConnection(code=CloseReason.GOING_AWAY)))
        except LocalProtocolError:  # it is ending
            return

    async def run(self, app: Callable[..., Any], state: dict[str, Any]) -> None:
        """Serve until both sides have ended. What the WebSocket or the app raises is logged."""
        try:
            async with trio.open_nursery() as nursery:
                stream = self._stream = self._open_stream(app, nursery)
                await stream.handle(self._request(state))
                await self._listen(stream)
                with trio.move_on_after(CLOSING_TIMEOUT_S):
                    await self._wait_until(lambda: self._app_ended)
                nursery.cancel_scope.cancel()
        except* Exception as errors:
            log.error("a WebSocket failed", exc_info=errors)
        finally:
            self._close()

    def _open_stream(self, app: Callable[..., Any], nursery: trio.Nursery) -> _Stream:
        return _Stream(
            app,
            _config(),
            WorkerContext(None),
            _Tasks(self, nursery),  # type: ignore[arg-type]  # it is never entered
            self._peer.scheme == "https",
            None if self._peer.address == UNIX else (self._peer.address, self._peer.port),
            self._wire.server,  # type: ignore[arg-type]  # of a Unix socket there is no port
            self._say,
            _STREAM_ID,
        )

    def _request(self, state: dict[str, Any]) -> Request:
        headers = [field for field in self._head.headers if field[0] != b"sec-websocket-extensions"]
        return Request(
            stream_id=_STREAM_ID,
            headers=headers,
            http_version="1.1",
            method="GET",
            raw_path=self._head.path + (b"?" + self._head.query if self._head.query else b""),
            state=State(state),
        )

    async def _listen(self, stream: _Stream) -> None:
        """Hand the client's bytes on until either side has ended."""
        while not self._closed:
            if self._inbound and stream.handshake.accepted:
                data = bytes(self._inbound)
                self._inbound.clear()
                if self._paused:
                    self._paused = False
                    self._wire.resume()
                await stream.handle(Data(stream_id=_STREAM_ID, data=data))
            elif self._left:
                break
            else:
                await self._changed.wait()
        await stream.handle(StreamClosed(stream_id=_STREAM_ID))

    # -- what is said to the client ---------------------------------------------------------------

    async def _say(self, event: Event) -> None:
        match event:
            case Response(status_code=101):
                await self._write(self._switching(event.headers))
            case Response():
                self._rejection = AnswerWriter("GET", "1.1", persistent=False)
                head = self._rejection.head(event.status_code, event.headers, http_date())
                await self._write(head)
            case Body() if event.data and self._rejection is not None:
                await self._write(self._rejection.frame(event.data))
            case EndBody() if self._rejection is not None:
                await self._write(self._rejection.end())
                self._close()
            case Data():
                await self._write(event.data)
            case EndData() | StreamClosed():
                self._close()
        self._notify()

    def _switching(self, headers: Headers) -> bytes:
        """The head of `101 Switching Protocols`. Raises ValueError: the app's fields are none."""
        lines = [b"%b: %b\r\n" % field for field in headers]
        fields = b"".join(lines)
        if fields.count(b"\n") != len(lines) or not _are_fields(fields):
            assert self._stream is not None
            self._stream.state = ASGIWebsocketState.HANDSHAKE  # nothing was said yet
            self._stream.handshake.accepted = False
            raise ValueError("a header field has characters that would break the answer apart")
        return b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % fields

    async def _write(self, data: bytes) -> None:
        if not self._wire.write(data):
            drained = trio.Event()
            self._wire.on_drained(drained.set)
            await drained.wait()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._inbound.clear()
        if self._rejection is not None and not self._rejection.whole:
            self._wire.abort()
        self._wire.end()
        self._notify()

    # -- what is said to the app ------------------------------------------------------------------

    async def put(self, message: dict[str, Any]) -> None:
        """A message for the app. Waits while it lags; a disconnect overtakes the others if the
        client vanished."""
        if message["type"] == "websocket.disconnect":
            code = self._stream.code if self._stream is not None else None
            self._disconnect = message if code is None else {**message, "code": int(code)}
            if self._left:
                self._messages.clear()
        else:
            await self._wait_until(
                lambda: self._messages_bytes < WAITING_MAX_BYTES or self._left or self._app_ended
            )
            self._messages.append(message)
            self._messages_bytes += _size(message)
        self._notify()

    async def receive_message(self) -> dict[str, Any]:
        """ASGI's receive callable."""
        await self._wait_until(lambda: bool(self._messages) or self._disconnect is not None)
        if not self._messages:
            assert self._disconnect is not None
            return self._disconnect
        message = self._messages.popleft()
        self._messages_bytes -= _size(message)
        self._notify()
        return message

    async def serve(
        self, app: Callable[..., Any], scope: Scope, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Run the app. What it raises ends this WebSocket only."""
        scope["extensions"][PEER] = self._peer
        self._app_ended = False
        try:
            await app(scope, self.receive_message, send)
        except* trio.BrokenResourceError:
            log.debug("a client left during a WebSocket")
        except* Exception as errors:
            log.error("the app failed on a WebSocket", exc_info=errors)
        finally:
            self._app_ended = True
            with trio.move_on_after(CLOSING_TIMEOUT_S, shield=True):
                await send(None)
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._changed.wait()


class _Tasks:
    """Hypercorn's task group, of one WebSocket."""

    def __init__(self, websocket: WebSocket, nursery: trio.Nursery) -> None:
        self._websocket = websocket
        self._nursery = nursery

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Start the app; returns where its messages go."""
        del config
        self._nursery.start_soon(self._websocket.serve, app, scope, send)
        return self._websocket.put

    def spawn(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Start one of Hypercorn's own."""
        self._nursery.start_soon(task, *arguments)


class _Stream(WSStream):
    """Hypercorn's, with ends that are said to both sides."""

    code: CloseReason | int | None = None
    """The client's, or ours to it when it broke the protocol."""

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case Message():
                    try:
                        self.buffer.extend(event)
                    except FrameTooLargeError:
                        await self._end(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG))
                        return
                    if event.message_finished:
                        assert self.app_put is not None
                        await self.app_put(self.buffer.to_message())
                        self.buffer.clear()
                case Ping():
                    await self._send_wsproto_event(event.response())
                case CloseConnection():
                    theirs = self.connection.state is not ConnectionState.OPEN
                    await self._end(event.response() if theirs else event)
                    return

    async def _send_pings(self) -> None:
        while not self.closed:
            await trio.sleep(PING_INTERVAL_S)
            await self._send_wsproto_event(Ping())

    async def _end(self, event: CloseConnection) -> None:
        self.code = event.code
        await self._send_wsproto_event(event)
        await self.send(StreamClosed(stream_id=self.stream_id))


def _size(message: dict[str, Any]) -> int:
    return _MESSAGE_BYTES + len(message.get("bytes") or message.get("text") or b"")
