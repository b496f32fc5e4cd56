"""The ASGI application: a task for each request, and the messages between it and the protocol.

What the client sends waits here until the app asks for it; the protocol bounds it by what was
`consumed`. What the app sends goes to the protocol in plain calls; only an app that runs ahead of
its client waits.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from engine.nurseries import open_tasks
from engine.sink import Sink
from engine.wire.http1_head import RequestHead, decode_path
from frontends.server.forwarded import PEER, UNIX
from frontends.server.interfaces import Exchange, Headers, Responder, Scope, Wire
from frontends.server.settings import ErrorBody, plain_error

log = logging.getLogger("parshall.server")

SINK: Final = "parshall.sink"
"""Extension: a callable that returns the answer's `Sink`, to push the body into. An app that has
sent `http.response.start` may call it once, and ends with an empty `http.response.body`."""
CANCEL_ON_LEAVE: Final = "parshall.cancel_on_leave"
"""Extension: a callable by which an app asks to be cancelled when the client leaves, so that it
needs no task that listens for `http.disconnect`."""

LIFESPAN_TIMEOUT_S: Final = 60.0
"""For an app's start, and again for its end."""
_TURN_BYTES: Final = 65_536
_MESSAGE_BYTES: Final = 1_024
"""An app that never waits gives way to others after a turn; a message costs that much at least."""

App = Callable[..., Any]
State = dict[str, Any]
Message = dict[str, Any]


class StartupError(Exception):
    """The application could not start; the message says why."""


def scope_of(head: RequestHead, wire: Wire, open_sink: Callable[[], Sink]) -> Scope:
    """The ASGI scope of a request, whichever version of HTTP it came in."""
    peer = wire.asker(head.headers)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": head.version,
        "method": head.method,
        "scheme": peer.scheme,
        "path": decode_path(head.path),
        "raw_path": head.path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.headers,
        "client": None if peer.address == UNIX else (peer.address, peer.port),
        "server": wire.server,
        "extensions": {SINK: open_sink, PEER: peer},
    }


class AppRunner:
    """Runs an app on requests. Whatever it raises is logged and ends its request only.

    Args:
        app: an ASGI 3 application.
        nursery: where its tasks run; must outlive the connections.
        state: what the app keeps for its requests (ASGI's lifespan state).
        render_error: words the answer of an app that failed before it answered.
    """

    def __init__(
        self,
        app: App,
        nursery: trio.Nursery,
        state: State | None = None,
        render_error: Callable[[int], ErrorBody] = plain_error,
    ) -> None:
        self._app = app
        self._nursery = nursery
        self._state = state if state is not None else {}
        self._render_error = render_error

    def begin(self, scope: Scope, responder: Responder) -> Exchange:
        """Start the app on a request whose head has come."""
        conversation = Conversation(responder)
        scope["state"] = self._state.copy()
        scope["extensions"][CANCEL_ON_LEAVE] = conversation.cancel_on_leave
        self._nursery.start_soon(self._run, scope, conversation, name="request")
        return conversation

    def begin_websocket(self, serve: Callable[[App, State], Awaitable[None]]) -> None:
        """Start a task that serves the app on a WebSocket, and raises nothing."""
        self._nursery.start_soon(serve, self._app, self._state.copy(), name="websocket")

    async def _run(self, scope: Scope, conversation: Conversation) -> None:
        try:
            with conversation.cancel_scope:
                await self._app(scope, conversation.receive, conversation.send)
                if conversation.owes_an_answer:
                    log.error("the app returned from a request without a whole answer")
        except* trio.BrokenResourceError as errors:
            if not conversation.left:
                log.error("the app failed on a request", exc_info=errors)
        except* Exception as errors:
            log.error("the app failed on a request", exc_info=errors)
        finally:
            conversation.close(self._render_error)


class Conversation:
    """One request's messages. Implements `Exchange`.

    Once the app has answered, `receive` waits for its cancellation instead of reporting a
    disconnect: an app that takes the end of a connection for the client's leaving would be
    cancelled while it finishes.
    """

    def __init__(self, responder: Responder) -> None:
        self.cancel_scope = trio.CancelScope()
        self.left = False
        """The client has left before the end of the answer."""
        self._responder = responder
        self._parts: list[bytes] = []
        self._ended = False
        self._body_asked = False
        self._body_given = False
        self._begun = False
        self._answered = False
        self._cancel_on_leave = False
        self._turn_bytes = 0
        self._waiting: trio.Event | None = None

    @property
    def owes_an_answer(self) -> bool:
        """The client waits for something that nobody has said yet."""
        return not (self._answered or self.left or self._responder.gone)

    def cancel_on_leave(self) -> None:
        """The app asks to be cancelled when the client leaves."""
        self._cancel_on_leave = True
        if self.left:
            self.cancel_scope.cancel()

    def body(self, data: bytes, *, ended: bool) -> None:
        """Bytes of the request's body; what the app will not read is let go."""
        self._ended = ended
        if self._answered:
            self._responder.consumed(len(data))
            return
        if data:
            self._parts.append(data)
        self._wake()

    def leave(self) -> None:
        """The client has left: that overtakes what it sent before."""
        if self._answered:
            return
        self.left = True
        if self._cancel_on_leave:
            self.cancel_scope.cancel()
        self._wake()

    def close(self, render_error: Callable[[int], ErrorBody]) -> None:
        """The app has ended. An answer that is not whole must not look as if it were."""
        if self.owes_an_answer:
            if self._begun:
                self._responder.abort()
            else:
                error = render_error(500)
                length = (b"content-length", b"%d" % len(error.body))
                self._responder.start(500, [*error.headers, length])
                self._responder.send_nowait(error.body)
                self._responder.finish()
        self._finish()

    async def receive(self) -> Message:
        """ASGI's receive callable."""
        if not self._body_asked:
            self._body_asked = True
            self._responder.send_continue()
        while True:
            if self._answered:
                await trio.sleep_forever()
            if self.left:
                return {"type": "http.disconnect"}
            if self._parts or (self._ended and not self._body_given):
                return self._take_body()
            self._waiting = trio.Event()
            await self._waiting.wait()

    async def send(self, message: Message) -> None:
        """ASGI's send callable.

        Raises:
            trio.BrokenResourceError: the client has left.
            ValueError: the answer cannot be said in HTTP.
            RuntimeError: ASGI has no such message here.
        """
        if self.left or self._responder.gone:
            raise trio.BrokenResourceError("the client has left")
        kind = message["type"]
        if kind == "http.response.start" and not self._begun:
            self._responder.start(message["status"], _headers(message))
            self._begun = True
        elif kind == "http.response.body" and self._begun and not self._answered:
            await self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"the app sent {kind!r} where ASGI has no place for it")

    async def _send_body(self, data: bytes, more: bool) -> None:
        writable = self._responder.send_nowait(data)
        if not more:
            self._responder.finish()
            self._finish()
        elif not writable:
            self._turn_bytes = 0
            await self._responder.wait_writable()
        else:
            self._turn_bytes += max(len(data), _MESSAGE_BYTES)
            if self._turn_bytes >= _TURN_BYTES:
                self._turn_bytes = 0
                await trio.lowlevel.checkpoint()

    def _take_body(self) -> Message:
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._body_given = self._ended
        if data:
            self._responder.consumed(len(data))
        return {"type": "http.request", "body": data, "more_body": not self._ended}

    def _finish(self) -> None:
        """The app needs nothing more from the client."""
        self._answered = True
        if unread_bytes := sum(map(len, self._parts)):
            self._parts.clear()
            self._responder.consumed(unread_bytes)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None


def _headers(message: Message) -> Headers:
    return [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]


@asynccontextmanager
async def run_lifespan(app: App) -> AsyncIterator[State]:
    """Tell an app that it starts, and at the end that it ends; gives the state it keeps.

    An app that does not speak ASGI's lifespan is fine.

    Raises:
        StartupError: it says that it cannot start, or does not say that it has.
    """
    lifespan = Lifespan(app)
    async with open_tasks() as nursery:
        nursery.start_soon(lifespan.run)
        await lifespan.start()
        try:
            yield lifespan.state
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LIFESPAN_TIMEOUT_S):
                await lifespan.stop()
            nursery.cancel_scope.cancel()


class Lifespan:
    """An app's conversation about its own start and end."""

    def __init__(self, app: App) -> None:
        self.state: State = {}
        self._app = app
        self._told_start = False
        self._started = trio.Event()
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._problem: str | None = None

    async def run(self) -> None:
        """Call the app; it may return or raise when it does not speak lifespan."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except Exception:
            if self._started.is_set():
                log.exception("the app failed outside of any request")
            else:
                log.debug("the app does not speak lifespan", exc_info=True)
        finally:
            self._started.set()
            self._stopped.set()

    async def start(self) -> None:
        """Wait until the app has started. Raises StartupError."""
        with trio.move_on_after(LIFESPAN_TIMEOUT_S) as waiting:
            await self._started.wait()
        if waiting.cancelled_caught:
            self._problem = f"it has not started within {LIFESPAN_TIMEOUT_S:g} s"
        if self._problem is not None:
            raise StartupError(f"the application cannot start: {self._problem}")

    async def stop(self) -> None:
        """Wait until the app has ended."""
        self._stopping.set()
        await self._stopped.wait()

    async def _receive(self) -> Message:
        if not self._told_start:
            self._told_start = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.startup.failed":
                self._problem = message.get("message") or "it does not say why"
                self._started.set()
            case "lifespan.shutdown.failed":
                log.error("the app failed at its end: %s", message.get("message", ""))
                self._stopped.set()
            case "lifespan.shutdown.complete":
                self._stopped.set()
