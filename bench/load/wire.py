"""One socket of the load, which does not block: bytes out as it takes them, bytes in with times."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Final, Protocol

READ_BYTES: Final = 65_536
SLOW_TICK_S: Final = 0.1
SLOW_BUFFER_BYTES: Final = 4_096
"""Of the receive buffer of a slow reader's socket, which else would hold seconds of its answer."""


class Loop(Protocol):
    """What sockets need of the loop they are in."""

    def watch(self, fd: int, mask: int, on_event: Callable[[int], None]) -> None:
        """Call with the events of this file descriptor."""

    def rewatch(self, fd: int, mask: int) -> None:
        """Wait for other events."""

    def unwatch(self, fd: int) -> None:
        """No more."""

    def call_at(self, at_s: float, call: Callable[[float], None]) -> None:
        """Call with the time, once it has come."""


class Owner(Protocol):
    """Who speaks on a wire."""

    def received(self, data: bytes, now_s: float) -> None:
        """What has come, and when."""

    def lost(self, kind: str, now_s: float) -> None:
        """It is closed: "cut" by the other side, "reset", "refused", or as the system says."""


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


def name_of(error: OSError) -> str:
    """What a failed connect, send or receive counts as."""
    match error:
        case ConnectionRefusedError():
            return "refused"
        case ConnectionError():
            return "reset"
    return os.strerror(error.errno or 0).lower()


class Wire:
    """Owns a socket that is being connected. `bytes_per_s`: 0 reads whatever comes."""

    __slots__ = (
        "_loop",
        "_open",
        "_outgoing",
        "_owner",
        "_sock",
        "_tick_bytes",
        "_watched",
        "closed",
    )

    def __init__(
        self, loop: Loop, sock: socket.socket, owner: Owner, *, bytes_per_s: int = 0
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._owner = owner
        self._outgoing: deque[memoryview] = deque()
        self._open = False
        self._tick_bytes = max(1, round(bytes_per_s * SLOW_TICK_S)) if bytes_per_s else 0
        self._watched = EPOLLIN | EPOLLOUT
        self.closed = False
        loop.watch(sock.fileno(), self._watched, self._on_event)

    def write(self, data: bytes) -> None:
        """Send in order, as the socket takes it. What a lost wire does not take is dropped."""
        if not self.closed:
            self._outgoing.append(memoryview(data))
            if self._open:
                self._flush()

    @property
    def writing(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._outgoing)

    def close(self) -> None:
        """Let the other side know at once, whatever it still sends. Idempotent."""
        if not self.closed:
            self.closed = True
            if self._watched:
                self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._outgoing.clear()

    def _on_event(self, mask: int) -> None:
        if mask & ~EPOLLOUT:
            self._receive(READ_BYTES)
        if mask & EPOLLOUT and not self.closed:
            self._open = True
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing[0])
            except BlockingIOError:
                break
            except OSError as error:
                self._lose(name_of(error), time.monotonic())
                return
            if sent < len(self._outgoing[0]):
                self._outgoing[0] = self._outgoing[0][sent:]
            else:
                self._outgoing.popleft()
        wanted = EPOLLIN | EPOLLOUT if self._outgoing else EPOLLIN
        if wanted != self._watched and self._watched:
            self._watched = wanted
            self._loop.rewatch(self._sock.fileno(), wanted)
        if self._tick_bytes and not self._outgoing and self._watched:
            self._read_slowly()

    def _receive(self, most: int) -> None:
        try:
            data = self._sock.recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(name_of(error), time.monotonic())
            return
        now_s = time.monotonic()
        if data:
            self._owner.received(data, now_s)
        else:
            self._lose("cut", now_s)

    def _lose(self, kind: str, now_s: float) -> None:
        self.close()
        self._owner.lost(kind, now_s)

    def _read_slowly(self) -> None:
        """From now on by the clock: what the socket has to say is not waited for."""
        self._loop.unwatch(self._sock.fileno())
        self._watched = 0
        self._read_at(time.monotonic())

    def _read_at(self, now_s: float) -> None:
        if not self.closed:
            self._receive(self._tick_bytes)
        if not self.closed:
            self._loop.call_at(now_s + SLOW_TICK_S, self._read_at)
