"""Listens, tells HTTP/2 from HTTP/1.1, contains each connection, and turns the wheel."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from bench.load.histogram import Histogram
from bench.simulate.behaviour import Behaviour
from bench.simulate.conduit import Conduit, TlsConduit
from bench.simulate.http1 import Http1Connection
from bench.simulate.http2 import PREFACE, ServedHttp2
from bench.simulate.load import SimulatorLoad
from bench.simulate.service import Service
from bench.simulate.settings import SimulatorSettings
from bench.simulate.tokens import load_tokenizer
from bench.simulate.truth import TruthLog
from bench.simulate.wheel import TimerWheel
from engine.nurseries import open_tasks

logger = logging.getLogger(__name__)

LINGER_S: Final = 2.0
"""How long the client may go on sending after our FIN before the socket is closed."""
ACCEPTS_PER_TURN: Final = 64
_BACKLOG: Final = 4_096
_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Connection(Protocol):
    """An HTTP/1.1 or HTTP/2 connection."""

    async def run(self, data: bytes) -> None: ...

    def on_drained(self) -> None: ...

    def lost(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SimulatorStatistics:
    """What is open now, and what went wrong so far."""

    connections: int
    scheduled_replies: int
    crashes: int
    """Exceptions contained to one connection or reply: faults of the simulator's own."""


class Simulator:
    """A running simulated provider.

    Attributes:
        port: where it listens.
        base_url: `http://host:port`, or https.
        truth: the truth log, the same `GET /_truth` shows.
        files: what the files APIs keep; `GET /_files` shows it, `DELETE /_files` expires all.
        jobs: what the APIs of videos and music have taken on; `GET /_jobs` shows it.
        kept: conversations, threads and whatever else is kept; `GET /_kept` shows it.
        responses: what is kept of those.
        tokens: of Google's cloud: how long they live, and whether there are any.
    """

    def __init__(self, settings: SimulatorSettings, listener: socket.socket) -> None:
        self.settings = settings
        self.truth = TruthLog(settings.truth_max_records)
        self._listener = listener
        self._wheel = TimerWheel(tick_s=settings.tick_s)
        self._behaviour = Behaviour(settings.defaults, settings.by_model, settings.seed)
        self._service = Service(settings, self._wheel, self.truth, self.load, self._behaviour)
        self.tokens = self._service.tokens
        self.files = self._service.files
        self.jobs = self._service.jobs
        self.kept = self._service.kept
        self.responses = self._service.responses
        self._connections = 0
        self._change = trio.Event()
        self._crashes = 0
        host, port = listener.getsockname()[:2]
        self.port: int = port
        shown = f"[{host}]" if ":" in host else host
        self.base_url = f"{'http' if settings.tls is None else 'https'}://{shown}:{port}"

    def statistics(self) -> SimulatorStatistics:
        """What is open now."""
        return SimulatorStatistics(
            connections=self._connections,
            scheduled_replies=len(self._wheel),
            crashes=self._crashes + self._wheel.crashes,
        )

    def load(self) -> SimulatorLoad:
        """What the process has cost so far and how late it was; the same `GET /_load` shows."""
        late_ms = Histogram()
        late_ms.merge(self._wheel.late_ms)
        return SimulatorLoad(
            cpu_s=time.process_time(),
            clock_s=time.monotonic(),
            late_ms=late_ms,
            requests=self.truth.opened,
            running=self.truth.running,
            lost=self.truth.lost,
            connections=self._connections,
            crashes=self._crashes + self._wheel.crashes,
        )

    def behave(self, model: str | None, directives: str = "") -> None:
        """Start requests for a model, or for all, from these words; the same `POST /_behave` does.

        `status=500`, say, for an outage; no words: as it was started. Requests that are under way
        go on as they began.

        Raises:
            DirectiveError: they are not understood.
        """
        self._behaviour.set(model, directives)

    async def wait_idle(self) -> None:
        """Until no connection is open. The caller bounds the wait."""
        while self._connections:
            await self._change.wait()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wheel.run)
            room = trio.Semaphore(self.settings.connections_max)
            while True:
                async with room:  # wait while there is none
                    await trio.lowlevel.wait_readable(self._listener)
                # As many as are there: a busy loop comes round too seldom for one at a time.
                for _ in range(ACCEPTS_PER_TURN):
                    try:
                        room.acquire_nowait()
                    except trio.WouldBlock:
                        break
                    sock = await self._accept()
                    if sock is None:
                        room.release()
                        break
                    nursery.start_soon(self._handle, sock, room)

    async def _accept(self) -> socket.socket | None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            # Otherwise there is none, or the client left before it was accepted.
            shortage = error.errno in _NO_RESOURCES
            if shortage:
                logger.error("cannot accept: %s", error)
            await trio.sleep(0.1 if shortage else 0)
            return None
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # the client has reset it already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    async def _handle(self, sock: socket.socket, room: trio.Semaphore) -> None:
        """One connection. Whatever it does wrong, or we do, ends here."""
        settings = self.settings
        conduit: Conduit
        if settings.tls is None:
            conduit = Conduit(
                sock,
                high_water_bytes=settings.high_water_bytes,
                write_stall_s=settings.write_stall_s,
            )
        else:
            conduit = TlsConduit(
                sock,
                settings.tls,
                high_water_bytes=settings.high_water_bytes,
                write_stall_s=settings.write_stall_s,
            )
        self._connections += 1
        try:
            await self._converse(conduit)
        except Exception:
            self._crashes += 1
            logger.exception("a simulated connection failed")
        finally:
            self._connections -= 1
            self._change.set()
            self._change = trio.Event()
            conduit.close()
            room.release()

    async def _converse(self, conduit: Conduit) -> None:
        """Find out the protocol, then read and write until the connection is over."""
        opening = await self._open(conduit)
        if opening is None:
            return
        http2, data = opening
        kind = ServedHttp2 if http2 else Http1Connection
        connection: Connection = kind(conduit, self._service, self._wheel, self.settings)

        async def write() -> None:
            await conduit.run_flusher(connection.on_drained)
            if conduit.closing and not (conduit.closed or conduit.broken):
                # Reading on keeps the kernel from answering late bytes with a reset.
                await trio.sleep(LINGER_S)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                await connection.run(data)
                nursery.cancel_scope.cancel()
        finally:
            connection.lost()

    async def _open(self, conduit: Conduit) -> tuple[bool, bytes] | None:
        """The protocol and what was read to find it out; None when the client left first."""
        deadline_s = trio.current_time() + self.settings.head_timeout_s
        alpn: str | None = None
        if isinstance(conduit, TlsConduit):
            try:
                alpn = await conduit.handshake(deadline_s)
            except ConnectionError as error:
                logger.info("no TLS: %s", error)
                return None
        data = b""
        with trio.CancelScope(deadline=deadline_s):
            while len(data) < len(PREFACE) and PREFACE.startswith(data[: len(PREFACE)]):
                more = await conduit.receive()
                if not more:
                    return None
                data += more
        http2 = alpn == "h2" or (alpn is None and data.startswith(PREFACE))
        return (http2, data) if data else None


@asynccontextmanager
async def open_simulator(settings: SimulatorSettings | None = None) -> AsyncIterator[Simulator]:
    """Listen and serve until the block is left; then every connection is closed.

    Raises:
        OSError: the address is not to be had.
    """
    settings = settings or SimulatorSettings()
    if settings.tls is not None:
        settings.tls.set_alpn_protocols(["h2", "http/1.1"])
    with _listen(settings.host, settings.port) as listener:
        simulator = Simulator(settings, listener)
        # Warm before the first request, which would otherwise hold up all streams.
        await trio.to_thread.run_sync(load_tokenizer, abandon_on_cancel=True)
        async with open_tasks() as nursery:
            nursery.start_soon(simulator._serve)
            try:
                yield simulator
            finally:
                nursery.cancel_scope.cancel()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
