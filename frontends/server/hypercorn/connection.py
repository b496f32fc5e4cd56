"""One client connection: its socket, its deadlines, and containment of whatever goes wrong on it.

One task reads for as long as the connection lives, also while an answer is under way, because a
client's FIN counts as leaving. Every write has a deadline. Idle and header timeouts are the
reader's own deadline, moved as requests come and go.
"""

from __future__ import annotations

import logging
import math
import os
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from frontends.server.hypercorn.conversation import ConversationGroup
from frontends.server.hypercorn.http1 import Http1, Http2PrefaceError
from frontends.server.hypercorn.http2 import Http2
from frontends.server.hypercorn.sink import ChunkSink
from frontends.server.settings import ServerSettings

log = logging.getLogger("parshall.server")

READ_MAX_BYTES = 65_536
WRITE_MAX_BYTES = 65_536
"""One deadline covers so much: a slow reader makes progress, a stalled one does not."""


class Connection:
    """Serves one client until either side ends it. `run` raises nothing but cancellation."""

    def __init__(
        self,
        app: Any,
        stream: trio.SocketStream,
        settings: ServerSettings,
        config: Config,
        context: WorkerContext,
    ) -> None:
        self._app = app
        self._stream = stream
        self._settings = settings
        self._config = config
        self._context = context
        self._protocol: Http1 | Http2
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()
        self._write_lock = trio.Lock()
        self._idle = True
        self._lingering = False
        self.gone = False
        """The client has left, or was cut."""

    async def run(self) -> None:
        """Serve. Whatever a connection raises is logged and ends this connection only."""
        try:
            await self._serve()
        except* (OSError, trio.BrokenResourceError):
            log.debug("a client has left")
        except* Exception as errors:
            log.error("a connection failed", exc_info=errors)
        finally:
            self.abort()

    def stop_nowait(self) -> None:
        """The server is stopping: end now if idle, else with the answer under way."""
        if self._idle:
            self._reading.cancel()

    def abort(self) -> None:
        """Close the socket at once; tasks that read or write on it wake."""
        self.gone = True
        self._writing.cancel()
        self._stream.socket.close()

    async def _serve(self) -> None:
        socket = self._stream.socket
        client = parse_socket_addr(socket.family, socket.getpeername())
        server = parse_socket_addr(socket.family, socket.getsockname())
        async with ConversationGroup() as group:
            arguments = (
                self._app,
                self._config,
                self._context,
                group,
                ConnectionState({}),
                False,
                client,
                server,
                self._send,
            )
            self._protocol = Http1(*arguments, settings=self._settings, socket=self)
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
            self.abort()  # whoever writes from here on hears that the client has left
            await self._protocol.handle(Closed())

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive_some(READ_MAX_BYTES)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            if not data:
                return
            if not self._lingering:
                await self._protocol.handle(RawData(bytes(data)))

    async def _send(self, event: Event) -> None:
        """What the protocol has to say: bytes, that it is done, or whether it awaits a request."""
        match event:
            case RawData():
                await self._write(event.data)
            case Closed():
                await self._end()
            case Updated():
                self._set_idle(event.idle)

    async def _write(self, data: bytes) -> None:
        """Raises BrokenResourceError once the client has left, or takes nothing any more.

        What the socket takes at once costs no switch of tasks. The rest is written shielded, since
        bytes left out would corrupt the HTTP/2 connection that others share.
        """
        if self.gone:
            raise trio.BrokenResourceError("the client has left")
        rest = memoryview(data)
        rest = rest[self.write_nowait(rest) :]
        if not rest:
            return
        with trio.CancelScope(shield=True):  # the deadline of each piece, or `abort`, ends the wait
            async with self._write_lock:
                await self._write_pieces(rest)

    def write_nowait(self, data: memoryview) -> int:
        """How many bytes the socket took; none while somebody else writes, or when it is gone."""
        if self._write_lock.locked() or self.gone:
            return 0
        try:
            return os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError:
            self.abort()
            return 0

    def write_soon(self, sink: ChunkSink) -> None:
        """Flush a sink in a task of this connection."""
        self._protocol.task_group.spawn(self._flush, sink)

    async def _flush(self, sink: ChunkSink) -> None:
        async with self._write_lock:
            while (waiting := sink.take()) is not None:
                frame, data_bytes = waiting
                try:
                    await self._write_pieces(frame)
                except trio.BrokenResourceError:
                    continue  # the sink has seen it
                sink.taken(len(frame), data_bytes)

    async def _write_pieces(self, data: memoryview) -> None:
        for start in range(0, len(data), WRITE_MAX_BYTES):
            if not self.gone:
                await self._write_piece(data[start : start + WRITE_MAX_BYTES])
            if self.gone:
                raise trio.BrokenResourceError("the client has left")

    async def _write_piece(self, piece: memoryview) -> None:
        """One deadline's worth of bytes."""
        deadline = trio.current_time() + self._settings.write_stall_s
        self._writing = trio.CancelScope(deadline=deadline)
        try:
            with self._writing:
                await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()
        if self._writing.cancelled_caught and not self.gone:
            log.info("a client took nothing for %s s: cut", self._settings.write_stall_s)
            self.abort()

    async def _end(self) -> None:
        """End our side, then read on for a little.

        Closing on unread data resets the connection, and a reset can overtake the answer that the
        client has not read yet (RFC 9112 section 9.6).
        """
        if self.gone:
            return
        self._lingering = True
        self._reading.deadline = trio.current_time() + self._settings.linger_s
        try:
            async with self._write_lock:
                await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()

    def _set_idle(self, idle: bool) -> None:
        self._idle = idle
        if self._lingering:
            return
        if not idle:
            self._reading.deadline = math.inf
            return
        stopping = self._context.terminated.is_set()
        wait_s = self._settings.linger_s if stopping else self._settings.keep_alive_s
        self._reading.deadline = trio.current_time() + wait_s
