"""One connection of the load on HTTP/1.1: a socket that does not block, one exchange at a time."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Final, Protocol

from bench.load.exchange import Exchange
from bench.load.http1 import Http1Reader

READ_BYTES: Final = 65_536
UNREADABLE: Final = "unreadable"
"""What an answer counts as that is not HTTP, or has a line without an end."""
SLOW_TICK_S: Final = 0.1
SLOW_BUFFER_BYTES: Final = 4_096
"""Of the receive buffer of a slow reader's socket, which else would hold seconds of its answer."""


class Loop(Protocol):
    """What connections need of the loop they are in."""

    def watch(self, fd: int, mask: int, on_event: Callable[[int], None]) -> None:
        """Call with the events of this file descriptor."""

    def rewatch(self, fd: int, mask: int) -> None:
        """Wait for other events."""

    def unwatch(self, fd: int) -> None:
        """No more."""

    def call_at(self, at_s: float, call: Callable[[float], None]) -> None:
        """Call with the time, once it has come."""


def connect(address: tuple[str, int], *, slow: bool = False) -> socket.socket:
    """A socket that is being connected.

    Raises:
        OSError: it was refused at once, or there is no room for it.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except OSError:
        sock.close()
        raise
    return sock


class Http1Connection:
    """`on_idle` is called when it may take another exchange.

    `on_stale` is called with an exchange and its request that were lost before anything of an
    answer came, since the server had closed a kept connection meanwhile.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_idle: Callable[[Http1Connection], None],
        on_stale: Callable[[Exchange, bytes], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_idle = on_idle
        self._on_stale = on_stale
        self._reader = Http1Reader()
        self._request = b""
        self._outgoing = memoryview(b"")
        self._exchange: Exchange | None = None
        self._uses = 0
        self._watched = EPOLLIN | EPOLLOUT
        self._slow_bytes = 0
        self._now_s = 0.0
        self.closed = False
        loop.watch(sock.fileno(), self._watched, self._on_event)

    def send(self, exchange: Exchange, request: bytes) -> None:
        """Ask; the connection is idle."""
        self._exchange = exchange
        self._uses += 1
        exchange.on_leave = self.close
        self._reader.begin(exchange.head, self._on_body)
        self._request = request
        self._outgoing = memoryview(request)
        if rate := exchange.planned.reads_bytes_per_s:
            self._slow_bytes = max(1, round(rate * SLOW_TICK_S))
        if self._uses > 1:
            self._flush()

    def _on_body(self, data: bytes) -> None:
        assert self._exchange is not None
        self._exchange.take(data, self._now_s)

    def _on_event(self, mask: int) -> None:
        if mask & ~EPOLLOUT:
            self._receive(READ_BYTES)
        if mask & EPOLLOUT and not self.closed:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except BlockingIOError:
                break
            except OSError as error:
                self._lose(name_of(error), time.monotonic())
                return
            self._outgoing = self._outgoing[sent:]
        self._wait_for(EPOLLIN | EPOLLOUT if self._outgoing else EPOLLIN)
        if self._slow_bytes and not self._outgoing and self._watched:
            self._read_slowly()

    def _wait_for(self, mask: int) -> None:
        if mask != self._watched:
            self._watched = mask
            self._loop.rewatch(self._sock.fileno(), mask)

    # -- what is received -----------------------------------------------------------------------

    def _receive(self, most: int) -> None:
        try:
            data = self._sock.recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(name_of(error), time.monotonic())
            return
        self._now_s = now_s = time.monotonic()
        if not data:
            self._ended(now_s)
            return
        try:
            over = self._reader.feed(data)
        except ValueError:
            self._lose(UNREADABLE, now_s)
            return
        if over and not self.closed:
            self._answered(now_s)

    def _answered(self, now_s: float) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        reusable = self._reader.keeps and not self._outgoing and not self._slow_bytes
        if not reusable:
            self.close()
        exchange.on_leave = None
        if reusable:
            self._on_idle(self)
        exchange.end(now_s)

    def _ended(self, now_s: float) -> None:
        if self._reader.eof() and self._exchange is not None:
            self._answered(now_s)
        else:
            self._lose("cut", now_s)

    def _lose(self, kind: str, now_s: float) -> None:
        exchange, self._exchange = self._exchange, None
        self.close()
        if exchange is None:
            return
        if self._uses > 1 and not exchange.begun and kind in ("cut", "reset"):
            self._on_stale(exchange, self._request)
        else:
            exchange.fail(kind, now_s)

    def close(self) -> None:
        """Let the server know at once, whatever it still sends. Idempotent."""
        if not self.closed:
            self.closed = True
            if self._watched:
                self._loop.unwatch(self._sock.fileno())
            self._sock.close()

    # -- slow readers ---------------------------------------------------------------------------

    def _read_slowly(self) -> None:
        """From now on by the clock: what the socket has to say is not waited for."""
        self._loop.unwatch(self._sock.fileno())
        self._watched = 0
        self._read_slowly_at(time.monotonic())

    def _read_slowly_at(self, now_s: float) -> None:
        if not self.closed:
            self._receive(self._slow_bytes)
        if not self.closed:
            self._loop.call_at(now_s + SLOW_TICK_S, self._read_slowly_at)


def name_of(error: OSError) -> str:
    """What a failed connect, send or receive counts as."""
    match error:
        case ConnectionRefusedError():
            return "refused"
        case ConnectionError():
            return "reset"
    return os.strerror(error.errno or 0).lower()
