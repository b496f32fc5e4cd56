"""One request's ASGI messages, between the connection that carries it and the app that answers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent

from frontends.server.forwarded import PEER, UNIX, TrustedPeers, client_of
from frontends.server.interfaces import Peer

log = logging.getLogger("parshall.server")

CLOSING_TIMEOUT_S = 5.0

Send = Callable[[Any], Awaitable[None]]


class Conversation:
    """A bounded queue towards the app, which the client's leaving overtakes.

    Once the app has answered, `receive` waits for its cancellation instead of reporting a
    disconnect: the connection says one after every answer, and an app that takes it for the
    client's would be cancelled while it finishes (and keep-alive and `Connection: close` with it).
    """

    def __init__(self, send: Send, *, messages_max: int) -> None:
        self._send = send
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._messages_max = messages_max
        self._left = False
        self._answered = False
        self._changed = trio.Event()
        self.before_body: Callable[[], Awaitable[None]] | None = None
        """Called once when the app first asks for the body: `100 Continue` goes out then."""

    async def put(self, message: ASGIReceiveEvent) -> None:
        """A message from the client. Waits while the app lags; what it will not read is dropped."""
        if message["type"] == "http.disconnect":
            self._left = True
            self._notify()
            return
        while len(self._messages) >= self._messages_max and not (self._left or self._answered):
            await self._changed.wait()
        if not (self._left or self._answered):
            self._messages.append(message)
            self._notify()

    async def receive(self) -> ASGIReceiveEvent:
        """ASGI's receive callable."""
        if self.before_body is not None:
            before_body, self.before_body = self.before_body, None
            await before_body()
        while True:
            if self._answered:
                await trio.sleep_forever()
            if self._left:
                return {"type": "http.disconnect"}
            if self._messages:
                message = self._messages.popleft()
                self._notify()
                return message
            await self._changed.wait()

    async def send(self, message: ASGISendEvent) -> None:
        """ASGI's send callable."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.finish()
        await self._send(message)

    def finish(self) -> None:
        """The app needs nothing more from the client."""
        self._answered = True
        self._messages.clear()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class ConversationGroup(TaskGroup):
    """The tasks of one connection. An app's exception is logged and ends its request only."""

    def __init__(self, peer: Peer, trusted: TrustedPeers) -> None:
        super().__init__()
        self._peer = peer
        self._trusted = trusted
        self.latest: Conversation | None = None
        """The conversation that was opened last."""

    async def spawn_app(
        self, app: Any, config: Any, scope: Any, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Hypercorn's hook: start `app` on a request; returns where its messages go."""
        peer = client_of(self._peer, scope["headers"], self._trusted)
        scope["client"] = None if peer.address == UNIX else (peer.address, peer.port)
        scope["scheme"] = peer.scheme
        scope["extensions"][PEER] = peer
        conversation = Conversation(send, messages_max=config.max_app_queue_size)
        self.latest = conversation
        self.spawn(self._converse, app, scope, conversation, send)
        return conversation.put

    @staticmethod
    async def _converse(app: Any, scope: Any, conversation: Conversation, send: Send) -> None:
        try:
            await app(scope, conversation.receive, conversation.send)
        except* trio.BrokenResourceError:
            log.debug("a client left during an answer")
        except* Exception as errors:
            log.error("the app failed on a request", exc_info=errors)
        finally:
            conversation.finish()
            with (
                trio.move_on_after(CLOSING_TIMEOUT_S, shield=True),
                suppress(trio.BrokenResourceError),
            ):
                await send(None)  # an answer that was not finished is cut, never completed
