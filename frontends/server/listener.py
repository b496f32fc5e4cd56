"""Accepts connections, bounds their number, and stops gracefully."""

from __future__ import annotations

import errno
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, Final, Literal

import trio

from engine.nurseries import open_tasks
from frontends.server.asgi import run_lifespan
from frontends.server.binds import SocketHolder, address_of, listening
from frontends.server.descriptors import make_room
from frontends.server.forwarded import UNIX, parse_address
from frontends.server.interfaces import Peer
from frontends.server.peers import PeerBounds
from frontends.server.proxy_protocol import ProxyError, parse_proxy
from frontends.server.settings import ServerSettings
from frontends.server.stacks import STACKS, AnyConnection, Stack
from frontends.server.tls_transport import CleartextError, TlsTransport
from frontends.server.transport import OutputBudget, Transport, hear_leaving

log = logging.getLogger("parshall.server")

FLUSH_S = 2.0
"""So long the last bytes of an answer that is ended by a stop may take to leave."""
CHECK_S = 1.0
"""Between two looks at all connections: who does not read, whose deadline has moved."""
ACCEPTS_PER_TURN: Final = 64
SHORTAGE_S: Final = 0.1
"""Between attempts to accept while the system is out of descriptors or memory."""
LEAVING_MAX: Final = 100
"""Clients turned away that are heard out at once; a crowd at the door must cost little."""
UNSENT_MAX_BYTES: Final = 16_384
"""What the kernel takes of an answer ahead of what it can send. It would take megabytes for every
client that does not read, and count as delivered what never is."""
_NO_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n"
    b"content-length: 29\r\n\r\nThis port speaks HTTPS only.\n"
)
_SHORTAGES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server:
    """A running server. `addresses` are the bound ones, written as binds."""

    def __init__(
        self,
        stack: Stack,
        addresses: tuple[str, ...],
        settings: ServerSettings,
        nursery: trio.Nursery,
    ) -> None:
        self.addresses = addresses
        self.stopping = False
        """No new connection and no further request is taken."""
        self._stack = stack
        self._settings = settings
        self._nursery = nursery
        self._budget = OutputBudget(settings.output_max_bytes)
        self._peers = PeerBounds(settings.connections_per_ip_max, settings.trusted)
        self._connections: set[AnyConnection] = set()
        self._arriving: set[AnyConnection] = set()
        """Those of them whose PROXY header or TLS handshake is not complete."""
        self._quiet = trio.Event()
        self._accepting = trio.CancelScope()
        self._refused = 0
        self._leaving = 0

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def refused_connections(self) -> int:
        """Connections turned away at a bound, since the start."""
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
        self.stopping = True
        await self._stack.stop()
        for connection in tuple(self._connections):
            if connection in self._arriving:
                connection.transport.close()
            else:
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
            self.abort()

    def abort(self) -> None:
        """Cut every connection."""
        for connection in tuple(self._connections):
            connection.transport.abort()

    async def accept(self, listeners: Sequence[socket.socket]) -> None:
        """Take connections until the server stops; then the listeners are closed."""
        with self._accepting:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(self._accept, listener)

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            listener.setblocking(False)
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    # Some at once: a busy loop comes round too seldom for one at a time.
                    for _ in range(ACCEPTS_PER_TURN):
                        self._begin(*listener.accept())
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno in _SHORTAGES:
                        log.error("cannot accept connections: %s", error.strerror)
                        await trio.sleep(SHORTAGE_S)

    async def watch(self) -> None:
        """Look at all connections from time to time."""
        while True:
            await trio.sleep(CHECK_S)
            now_s = trio.current_time()
            for connection in tuple(self._connections):
                connection.check(now_s)
            hear_leaving([connection.transport for connection in self._connections])

    def _begin(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # a Unix socket; or the client has reset it already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX_BYTES)
        try:
            transport = self._open_transport(sock, address)
        except OSError:  # the client has left
            sock.close()
            return
        if self.stopping or len(self._connections) >= self._settings.connections_max:
            self._nursery.start_soon(self._refuse, transport)
            return
        connection = self._stack.connect(transport)
        self._connections.add(connection)
        self._arriving.add(connection)
        self._nursery.start_soon(self._handle, connection)

    def _open_transport(self, sock: socket.socket, address: Any) -> Transport:
        own = sock.getsockname()
        shared = (self._settings, self._nursery, self._budget)
        if sock.family == socket.AF_UNIX:
            peer = Peer(UNIX, 0, "http", local=True)
            return Transport(sock, peer, (str(own), None), *shared)
        parsed = parse_address(address[0])
        local = parsed is not None and parsed.is_loopback
        store = self._settings.tls
        scheme: Literal["http", "https"] = "http" if store is None else "https"
        peer = Peer(str(parsed or address[0]), address[1], scheme, local=local)
        if store is None:
            return Transport(sock, peer, own[:2], *shared)
        return TlsTransport(sock, peer, own[:2], *shared, store.context)

    async def _handle(self, connection: AnyConnection) -> None:
        """One connection. Whatever goes wrong with it ends here."""
        transport = connection.transport
        try:
            with trio.move_on_after(self._settings.header_timeout_s) as waiting:
                await self._identify(transport)
            if not waiting.cancelled_caught:
                await self._serve(connection)
        except ProxyError as error:
            log.warning("%s, a trusted proxy, is cut: %s", transport.peer.address, error)
        except Exception:
            log.exception("a connection failed")
        finally:
            transport.abort()
            self._connections.discard(connection)
            self._arriving.discard(connection)
            if self.stopping and not self._connections:
                self._quiet.set()

    async def _serve(self, connection: AnyConnection) -> None:
        transport = connection.transport
        key = self._peers.enter(transport.peer.address)
        if key is None:
            await self._refuse(transport)
            return
        try:
            if not isinstance(transport, TlsTransport) or await self._agree_on_keys(transport):
                self._arriving.discard(connection)
                await connection.run()
        finally:
            self._peers.leave(key)

    async def _agree_on_keys(self, transport: TlsTransport) -> bool:
        with trio.move_on_after(self._settings.header_timeout_s):
            try:
                return await transport.handshake()
            except CleartextError:
                transport.refuse_cleartext(_NO_TLS)
                await self._hear_out(transport)
        return False

    async def _identify(self, transport: Transport) -> None:
        """Have a trusted proxy say whom it stands for.

        Raises:
            ProxyError: it does not say so.
        """
        peer = transport.peer
        if not self._settings.proxy_protocol or peer.address not in self._settings.trusted:
            return
        data = b""
        while (header := parse_proxy(data)) is None:
            more = await transport.receive_raw()
            if not more:
                return
            data += more
        transport.push_back(data[header.size :])
        if header.client is not None and header.server is not None:
            transport.peer = Peer(*header.client, peer.scheme, local=False)
            transport.server = header.server

    async def _refuse(self, transport: Transport) -> None:
        """Say why at once. Over TLS that would cost a handshake: there it is only closed."""
        self._refused += 1
        if not isinstance(transport, TlsTransport):
            transport.write(self._refusal())
            transport.end()
            await self._hear_out(transport)
        transport.close()

    async def _hear_out(self, transport: Transport) -> None:
        """Read on for a little, or a reset could overtake what we said last."""
        if self._leaving < LEAVING_MAX:
            self._leaving += 1
            try:
                with trio.move_on_after(self._settings.linger_s):
                    while await transport.receive_raw():
                        pass
            finally:
                self._leaving -= 1

    def _refusal(self) -> bytes:
        error = self._settings.render_error(HTTPStatus.SERVICE_UNAVAILABLE)
        lines = [b"HTTP/1.1 503 Service Unavailable", b"connection: close"]
        lines += [b"%s: %s" % header for header in error.headers]
        if not any(name == b"retry-after" for name, _ in error.headers):
            lines.append(b"retry-after: 1")
        lines += [b"content-length: %d" % len(error.body), b"", error.body]
        return b"\r\n".join(lines)


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
        StartupError: the app says that it cannot start.
    """
    settings = settings or ServerSettings()
    make_room(settings.connections_max)
    with listening(binds, holder) as listeners:
        addresses = tuple(address_of(listener) for listener in listeners)
        async with run_lifespan(app) as state, open_tasks() as nursery:
            stack = STACKS[settings.server](app, settings, nursery, state)
            server = Server(stack, addresses, settings, nursery)
            nursery.start_soon(server.watch)
            if settings.tls is not None:
                nursery.start_soon(settings.tls.watch)
            sockets = [socket.socket(fileno=one.socket.detach()) for one in listeners]
            nursery.start_soon(server.accept, sockets)
            try:
                yield server
            finally:
                server.abort()
                nursery.cancel_scope.cancel()
