"""One client connection: which protocol it speaks, its deadlines, and containment of its faults.

One task reads for as long as the connection lives, also while an answer is under way, because a
client's FIN counts as leaving.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import trio

from frontends.server.interfaces import ServerProtocol
from frontends.server.settings import ServerSettings
from frontends.server.transport import Transport

log = logging.getLogger("parshall.server")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How an HTTP/2 client opens (RFC 9113 section 3.4)."""

HttpVersion = Literal["http/1.1", "h2"]
ProtocolFactory = Callable[[HttpVersion, Transport], ServerProtocol]


class Connection:
    """Serves one client until either side ends it. `run` raises nothing but cancellation.

    `check` is to be called about once a second: deadlines move while the reader waits.
    """

    def __init__(
        self, transport: Transport, open_protocol: ProtocolFactory, settings: ServerSettings
    ) -> None:
        self.transport = transport
        self._open_protocol = open_protocol
        self._protocol: ServerProtocol | None = None
        self._waiting = trio.CancelScope()
        self._opening_until_s = trio.current_time() + settings.header_timeout_s

    async def run(self) -> None:
        """Serve. Whatever a connection raises is logged and ends this connection only."""
        try:
            if (protocol := await self._open()) is not None:
                await self._read(protocol)
            self.transport.close()
        except Exception:
            log.exception("a connection failed")
        finally:
            self.transport.abort()
            self._leave()

    def stop_nowait(self) -> None:
        """The server is stopping: end now if idle, else with what is under way."""
        if self._protocol is None:
            self.transport.end()
            return
        try:
            self._protocol.stop()
        except Exception:
            log.exception("a connection failed to stop")
            self.transport.abort()

    def check(self, now_s: float) -> None:
        """Follow the protocol's deadline; cut a client that does not read."""
        self._waiting.deadline = self._deadline_s()
        self.transport.check(now_s)

    async def _open(self) -> ServerProtocol | None:
        """Find out the protocol; None when the client left or was late before it was known."""
        data = b""
        while self.transport.alpn is None and self._is_undecided(data):
            more = await self._receive()
            if not more:
                return None
            if not self.transport.ending:
                data += more
        http2 = self.transport.alpn == "h2" or data.startswith(PREFACE)
        self._protocol = self._open_protocol("h2" if http2 else "http/1.1", self.transport)
        if data:
            self._protocol.receive(data)
        return self._protocol

    @staticmethod
    def _is_undecided(data: bytes) -> bool:
        return len(data) < len(PREFACE) and PREFACE.startswith(data)

    async def _read(self, protocol: ServerProtocol) -> None:
        """Until the client has left, or our end has come."""
        while not (self.transport.ending and self._is_late()):
            if await self._read_in_time(protocol):
                return
            if self._is_late() and not self.transport.ending:
                protocol.timed_out()
                if self._is_late():
                    self.transport.end()

    async def _read_in_time(self, protocol: ServerProtocol) -> bool:
        """Read on as long as the client is in time; True once it has left."""
        with trio.CancelScope(deadline=self._deadline_s()) as self._waiting:
            while data := await self.transport.receive():
                if not self.transport.ending:
                    protocol.receive(data)
                del data  # a long stream would keep its request while nothing more comes
                self._waiting.deadline = self._deadline_s()
            return True
        return False

    async def _receive(self) -> bytes | None:
        """What came first; None when the deadline has passed before."""
        with trio.CancelScope(deadline=self._deadline_s()) as self._waiting:
            return await self.transport.receive()
        return None

    def _deadline_s(self) -> float:
        if self.transport.ending:
            return self.transport.linger_until_s
        return self._opening_until_s if self._protocol is None else self._protocol.deadline_s

    def _is_late(self) -> bool:
        return trio.current_time() >= self._deadline_s()

    def _leave(self) -> None:
        if self._protocol is None:
            return
        try:
            self._protocol.receive_eof()
        except Exception:
            log.exception("a connection failed at its end")
