"""Accepts connections, bounds their number, and stops gracefully."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import trio
from hypercorn.trio.worker_context import WorkerContext

from engine.nurseries import open_tasks
from frontends.server.binds import SocketHolder, address_of, listening
from frontends.server.hypercorn.connection import READ_MAX_BYTES, Connection
from frontends.server.settings import ServerSettings

log = logging.getLogger("parshall.server")

FLUSH_S = 2.0
"""So long the last bytes of an answer that is ended by a stop may take to leave."""


class Server:
    """A running server. `addresses` are the bound ones, written as binds."""

    def __init__(self, app: Any, addresses: tuple[str, ...], settings: ServerSettings) -> None:
        self.addresses = addresses
        self._app = app
        self._settings = settings
        self._config = settings.hypercorn_config()
        self._context = WorkerContext(None)
        self._connections: set[Connection] = set()
        self._quiet = trio.Event()
        self._accepting = trio.CancelScope()
        self._refused = 0

    @property
    def stopping(self) -> bool:
        """No new connection and no further request is taken."""
        return self._context.terminated.is_set()

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def refused_connections(self) -> int:
        """Connections turned away at the bound, since the start."""
        return self._refused

    async def stop(
        self,
        grace_s: float = math.inf,
        before_cut: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        """Stop accepting, let open requests end for up to `grace_s`, then cut what is left.

        `before_cut` has the app end its answers; what they say last gets `FLUSH_S` to leave. May
        be called again, also while it runs, with a shorter grace.
        """
        self._accepting.cancel()
        await self._context.terminated.set()
        for connection in tuple(self._connections):
            connection.stop_nowait()
        if not self._connections:
            self._quiet.set()
        with trio.move_on_after(grace_s) as waiting:
            await self._quiet.wait()
        if waiting.cancelled_caught and self._connections:
            log.warning("%d connections did not end in time", len(self._connections))
            await before_cut()
            with trio.move_on_after(FLUSH_S):
                await self._quiet.wait()
            self._abort()

    async def _accept(self, listeners: list[trio.SocketListener], nursery: trio.Nursery) -> None:
        with self._accepting:
            await trio.serve_listeners(self._handle, listeners, handler_nursery=nursery)

    async def _handle(self, stream: trio.SocketStream) -> None:
        if self.stopping or len(self._connections) >= self._settings.connections_max:
            self._refused += 1
            self._refuse(stream)
            return
        connection = Connection(self._app, stream, self._settings, self._config, self._context)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self.stopping and not self._connections:
            self._quiet.set()

    def _refuse(self, stream: trio.SocketStream) -> None:
        """Say so at once, without waiting: a crowd at the door must cost little."""
        error = self._settings.render_error(HTTPStatus.SERVICE_UNAVAILABLE)
        lines = [b"HTTP/1.1 503 Service Unavailable", b"connection: close"]
        lines += [b"%s: %s" % header for header in error.headers]
        lines += [b"content-length: %d" % len(error.body), b"", error.body]
        descriptor = stream.socket.fileno()
        with suppress(OSError):  # would block, or the client has gone: then there is no answer
            os.read(descriptor, READ_MAX_BYTES)  # closing on unread data would reset the answer
        with suppress(OSError):
            os.write(descriptor, b"\r\n".join(lines))

    def _abort(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()


@asynccontextmanager
async def open_server(
    app: Any,
    binds: Sequence[str],
    settings: ServerSettings | None = None,
    holder: SocketHolder | None = None,
) -> AsyncIterator[Server]:
    """Serve an ASGI app on `binds` until the block is left, which cuts what is still open.
    `holder` has, or gets, listening sockets that outlive this process.

    Raises:
        BindError: an address cannot be listened on.
    """
    with listening(binds, holder) as listeners:
        addresses = tuple(address_of(listener) for listener in listeners)
        server = Server(app, addresses, settings or ServerSettings())
        async with open_tasks() as nursery:
            nursery.start_soon(server._accept, listeners, nursery)
            try:
                yield server
            finally:
                server._abort()
                nursery.cancel_scope.cancel()
