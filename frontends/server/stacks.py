"""What speaks HTTP on accepted connections: ours, or Hypercorn's protocol classes, contained."""

from __future__ import annotations

from typing import Any, Final, Protocol

import trio
from hypercorn.trio.worker_context import WorkerContext

from frontends.server.asgi import AppRunner, State
from frontends.server.connection import Connection, HttpVersion
from frontends.server.flusher import Flusher
from frontends.server.http1 import Http1Server
from frontends.server.http2 import Http2Server
from frontends.server.hypercorn import hypercorn_config
from frontends.server.hypercorn.connection import HypercornConnection
from frontends.server.interfaces import ServerProtocol
from frontends.server.settings import ServerKind, ServerSettings
from frontends.server.transport import Transport


class AnyConnection(Protocol):
    """One client's, of whichever stack."""

    transport: Transport

    async def run(self) -> None:
        """Serve until either side ends it."""

    def stop_nowait(self) -> None:
        """End now if idle, else with what is under way."""

    def check(self, now_s: float) -> None:
        """Called about once a second."""


class Stack(Protocol):
    """Serves one app on connections. Its tasks run in the nursery that it was made with."""

    def connect(self, transport: Transport) -> AnyConnection:
        """A connection that was accepted."""

    async def stop(self) -> None:
        """Connections take no further request; before each is told so."""


class ParshallStack:
    """HTTP/1.1 and HTTP/2 of ours."""

    def __init__(
        self, app: Any, settings: ServerSettings, nursery: trio.Nursery, state: State
    ) -> None:
        self._settings = settings
        self._apps = AppRunner(app, nursery, state, settings.render_error)
        self._flusher = Flusher(settings.coalesce_s, settings.loop_lag_s)
        nursery.start_soon(self._flusher.run)

    def connect(self, transport: Transport) -> AnyConnection:
        """A connection that was accepted."""
        return Connection(transport, self._open_protocol, self._settings)

    async def stop(self) -> None:
        """Connections keep this themselves."""

    def _open_protocol(self, version: HttpVersion, transport: Transport) -> ServerProtocol:
        kind = Http2Server if version == "h2" else Http1Server
        return kind(transport, self._apps, self._settings, self._flusher)


class HypercornStack:
    """Hypercorn's HTTP/1.1 and HTTP/2."""

    def __init__(
        self, app: Any, settings: ServerSettings, nursery: trio.Nursery, state: State
    ) -> None:
        self._app = app
        self._settings = settings
        self._state = state
        self._config = hypercorn_config(settings)
        self._context = WorkerContext(None)

    def connect(self, transport: Transport) -> AnyConnection:
        """A connection that was accepted."""
        return HypercornConnection(
            self._app, transport, self._settings, self._config, self._context, self._state
        )

    async def stop(self) -> None:
        """Its protocols look at their context."""
        await self._context.terminated.set()


STACKS: Final[dict[ServerKind, type[ParshallStack | HypercornStack]]] = {
    "parshall": ParshallStack,
    "hypercorn": HypercornStack,
}
