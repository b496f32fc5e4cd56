"""One client connection of Hypercorn's: its reader, its deadlines, and containment of its faults.

One task reads for as long as the connection lives, also while an answer is under way, because a
client's FIN counts as leaving. Idle and header timeouts are the reader's own deadline, moved as
requests come and go.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from frontends.server.hypercorn.conversation import ConversationGroup
from frontends.server.hypercorn.http1 import Http1, Http2PrefaceError
from frontends.server.hypercorn.http2 import Http2
from frontends.server.settings import ServerSettings
from frontends.server.transport import Transport

log = logging.getLogger("parshall.server")


class HypercornConnection:
    """Serves one client until either side ends it. `run` raises nothing but cancellation."""

    def __init__(
        self,
        app: Any,
        transport: Transport,
        settings: ServerSettings,
        config: Config,
        context: WorkerContext,
        state: dict[str, Any],
    ) -> None:
        self.transport = transport
        self._app = app
        self._settings = settings
        self._config = config
        self._context = context
        self._state = state
        self._protocol: Http1 | Http2
        self._reading = trio.CancelScope()
        self._idle = True

    async def run(self) -> None:
        """Serve. Whatever a connection raises is logged and ends this connection only."""
        try:
            await self._serve()
        except* trio.BrokenResourceError:
            log.debug("a client has left")
        except* Exception as errors:
            log.error("a connection failed", exc_info=errors)
        finally:
            self.transport.abort()

    def stop_nowait(self) -> None:
        """The server is stopping: end now if idle, else with the answer under way."""
        if self._idle:
            self._reading.cancel()
            self.transport.close()

    def check(self, now_s: float) -> None:
        """Cut a client that does not read; end one that has had time to hear our end."""
        self.transport.check(now_s)
        if self.transport.ending:
            self._reading.deadline = self.transport.linger_until_s

    async def _serve(self) -> None:
        peer = self.transport.peer
        host, port = self.transport.server
        async with ConversationGroup(peer, self._settings.trusted) as group:
            arguments = (
                self._app,
                self._config,
                self._context,
                group,
                ConnectionState(self._state),
                peer.scheme == "https",
                None,
                (host, port),
                self._send,
            )
            if self.transport.alpn == "h2":
                self._protocol = Http2(*arguments, settings=self._settings)
            else:
                self._protocol = Http1(*arguments, settings=self._settings, wire=self.transport)
            await self._protocol.initiate()
            self._reading.deadline = trio.current_time() + self._settings.header_timeout_s
            with self._reading:
                try:
                    await self._read()
                except Http2PrefaceError as preface:
                    self._protocol = Http2(*arguments, settings=self._settings)
                    await self._protocol.initiate()
                    await self._protocol.handle(RawData(preface.data))
                    await self._read()
            self.transport.close()  # whoever writes from here on hears that the client has left
            await self._protocol.handle(Closed())

    async def _read(self) -> None:
        while data := await self.transport.receive():
            if not self.transport.ending:
                await self._protocol.handle(RawData(data))

    async def _send(self, event: Event) -> None:
        """What the protocol has to say: bytes, that it is done, or whether it awaits a request."""
        match event:
            case RawData():
                await self._write(event.data)
            case Closed():
                self.transport.end()
                self._reading.deadline = self.transport.linger_until_s
            case Updated():
                self._set_idle(event.idle)

    async def _write(self, data: bytes) -> None:
        """Raises BrokenResourceError once the client has left, or takes nothing any more."""
        if not self.transport.write(data):
            drained = trio.Event()
            self.transport.on_drained(drained.set)
            await drained.wait()
        if self.transport.gone:
            raise trio.BrokenResourceError("the client has left")

    def _set_idle(self, idle: bool) -> None:
        self._idle = idle
        if self.transport.ending:
            return
        if not idle:
            self._reading.deadline = math.inf
            return
        stopping = self._context.terminated.is_set()
        wait_s = self._settings.linger_s if stopping else self._settings.keep_alive_s
        self._reading.deadline = trio.current_time() + wait_s
