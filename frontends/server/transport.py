"""A client's socket: one output buffer, one task that empties it, and a reader that can be held.

Writing is synchronous: what the socket takes at once costs no switch of tasks, and only a client
that lags costs a task. Nothing here waits for a client for ever: `check`, called about once a
second, cuts one that takes nothing for `write_stall_s`, or hardly anything over a minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterable

import trio

from frontends.server.forwarded import client_of
from frontends.server.interfaces import Headers, Peer
from frontends.server.settings import ServerSettings

log = logging.getLogger("parshall.server")

READ_MAX_BYTES = 65_536
RATE_WINDOW_S = 60.0
RATE_MIN_BYTES_S = 1_024
"""A client that lags for a whole window and takes less than this is cut, however steadily."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing sends RST."""
_LEFT = getattr(select, "POLLRDHUP", 0)
"""Elsewhere than on Linux only a reset is heard so: poll reports those always."""


class OutputBudget:
    """Bounds what all connections of a server hold for clients that lag: the largest is cut."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lagging: set[Transport] = set()
        self.used_bytes = 0

    def enter(self, transport: Transport) -> None:
        """Bytes begin to wait on a connection."""
        self._lagging.add(transport)

    def leave(self, transport: Transport) -> None:
        """None wait any more."""
        self._lagging.discard(transport)

    def change(self, size: int) -> None:
        """So many more, or fewer, wait."""
        self.used_bytes += size
        if size > 0 and self.used_bytes > self._max_bytes:
            largest = max(self._lagging, key=lambda transport: transport.waiting_bytes)
            log.warning("too much waits for clients that lag; the largest connection is cut")
            largest.abort()


def hear_leaving(transports: Iterable[Transport]) -> None:
    """Look which clients have left behind a pause: their FIN is not read while bytes are before it.

    Only Linux can tell; elsewhere it is heard when reading goes on.
    """
    paused = {transport.fileno(): transport for transport in transports if transport.paused}
    if not paused or not hasattr(select, "POLLRDHUP"):
        return
    poll = select.poll()
    for descriptor in paused:
        poll.register(descriptor, select.POLLRDHUP)
    for descriptor, _ in poll.poll(0):
        paused[descriptor].hear_leaving()


class Transport:
    """Cleartext. Implements `Wire`; one task awaits `receive`.

    Args:
        sock: connected and non-blocking; owned from here on.
        peer: who is at the other end.
        server: the address the client came to, as in `Wire`.
        settings: marks and deadlines.
        nursery: where the flusher runs while the client lags.
        budget: what this connection shares with the others.
    """

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        server: tuple[str, int | None],
        settings: ServerSettings,
        nursery: trio.Nursery,
        budget: OutputBudget,
    ) -> None:
        self.peer = peer
        self.server = server
        self.gone = False
        self.ending = False
        """`end` was called; what is read from here on means nothing."""
        self.linger_until_s = math.inf
        """Trio's time at which the socket is closed; inf until our side has ended."""
        self._socket = sock
        self._settings = settings
        self._nursery = nursery
        self._budget = budget
        self.accepted_bytes = 0
        """What `write` has been given, in all."""
        self.written_bytes = 0
        """How much of that the kernel has taken."""
        self._taken_bytes = 0
        """What the kernel was given, in all; over TLS ciphertext."""
        self._buffer = bytearray()
        self._held_bytes = 0
        self._flushing = False
        self._drained: list[Callable[[], None]] = []
        self._paused: trio.Event | None = None
        self._left = False
        self._early = b""
        self._progress = (0.0, 0)
        self._window = (0.0, 0)

    @property
    def buffered_bytes(self) -> int:
        """What waits for the client to read."""
        return len(self._buffer)

    @property
    def waiting_bytes(self) -> int:
        """The same, with what is held back for it elsewhere."""
        return self.buffered_bytes + self._held_bytes

    @property
    def paused(self) -> bool:
        """The reader is held; that the client has left is heard by `check`."""
        return self._paused is not None

    @property
    def alpn(self) -> str | None:
        """The protocol that TLS chose; None where nothing was chosen."""
        return None

    def asker(self, headers: Headers) -> Peer:
        """Who asks by a request: the peer, or whom trusted proxies name in its headers."""
        return client_of(self.peer, headers, self._settings.trusted)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._socket.fileno()

    def write(self, data: bytes | memoryview) -> bool:
        """Send now what the socket takes, keep the rest. False past the high-water mark."""
        if self.gone or self.ending:
            return True
        self.accepted_bytes += len(data)
        rest: bytes | memoryview | None = data
        if not self._flushing:
            rest = self._write_through(data)
            if rest is None or self.gone:
                return True
            self._begin_flushing()
        if rest:
            self._buffer += rest
            self._budget.change(len(rest))
        return self.buffered_bytes < self._settings.sink_high_water_bytes

    def hold(self, size: int) -> None:
        """So many more bytes, or fewer, wait for this client elsewhere, under the same bound."""
        if self.gone:
            return
        self._held_bytes += size
        if self._held_bytes:
            self._budget.enter(self)
        else:
            self._leave_budget()
        self._budget.change(size)

    def on_drained(self, call: Callable[[], None]) -> None:
        """Call once: when nothing waits any more, or the wire is gone; at once if that is so."""
        if self.gone or not self._flushing:
            call()
        else:
            self._drained.append(call)

    def end(self) -> None:
        """Send what waits, then FIN; the reader drops what comes for `linger_s` more."""
        if self.ending or self.gone:
            return
        self.ending = True
        self.resume()
        if not self._flushing:
            self._finish()

    def abort(self) -> None:
        """Reset the connection now."""
        if not self.gone:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def close(self) -> None:
        """Close the socket; what waits is dropped. Whoever reads or waits on it wakes."""
        if self.gone:
            return
        self.gone = True
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        self._budget.leave(self)
        self._budget.change(-len(self._buffer) - self._held_bytes)
        self._buffer, self._held_bytes = bytearray(), 0
        self.resume()
        self._call_drained()

    def pause(self) -> None:
        """Read no more until `resume`. Not while ending: unread bytes would make it a reset."""
        if self._paused is None and not (self.ending or self.gone):
            self._paused = trio.Event()

    def resume(self) -> None:
        """Read on."""
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    def hear_leaving(self) -> None:
        """The client has left, though bytes it sent before wait unread behind a pause."""
        self._left = True
        self.resume()

    def push_back(self, data: bytes) -> None:
        """Bytes that were read too far; `receive` gives them again."""
        self._early = data + self._early

    async def receive(self) -> bytes:
        """What the client sent next; empty once it has left, or was cut. Waits while paused."""
        return await self.receive_raw()

    async def receive_raw(self) -> bytes:
        """As `receive`, before anything was made of the bytes."""
        while True:
            if self._paused is not None:
                await self._paused.wait()
                continue
            if self.gone or self._left:
                await trio.lowlevel.checkpoint()
                return b""
            if self._early:
                data, self._early = self._early, b""
                return data
            try:
                await trio.lowlevel.wait_readable(self._socket)
                if self._paused is None:
                    return self._socket.recv(READ_MAX_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, trio.ClosedResourceError):
                self.abort()

    def check(self, now_s: float) -> None:
        """Cut a client that lags and takes nothing, or too little; hear one that has left while
        the reader is held. Call about once a second."""
        if self._paused is not None and _has_left(self._socket):
            self.hear_leaving()
        if not self._flushing or self.gone:
            return
        acknowledged = self._taken_bytes - self._unacknowledged()
        if acknowledged != self._progress[1]:
            self._progress = (now_s, acknowledged)
        elif now_s - self._progress[0] >= self._settings.write_stall_s:
            log.info("a client took nothing for %g s: cut", self._settings.write_stall_s)
            self.abort()
            return
        start_s, start_bytes = self._window
        if now_s - start_s >= RATE_WINDOW_S:
            if acknowledged - start_bytes < RATE_MIN_BYTES_S * (now_s - start_s):
                log.info("a client took less than %d bytes/s: cut", RATE_MIN_BYTES_S)
                self.abort()
            self._window = (now_s, acknowledged)

    def _write_through(self, data: bytes | memoryview) -> bytes | memoryview | None:
        """Nothing waits: try the socket. Returns what it did not take; None: all is with it."""
        sent = self._send(data)
        self.written_bytes += sent
        return None if sent == len(data) else memoryview(data)[sent:]

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """How much the kernel took; on a broken connection nothing, and it is gone."""
        try:
            sent = os.write(self._socket.fileno(), data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.abort()
            return 0
        self._taken_bytes += sent
        return sent

    def _begin_flushing(self) -> None:
        now_s = trio.current_time()
        self._flushing = True
        self._budget.enter(self)
        self._progress = self._window = (now_s, self._taken_bytes - self._unacknowledged())
        self._nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        """Empty the buffer as the socket takes it."""
        try:
            while not self.gone:
                await trio.lowlevel.wait_writable(self._socket)
                if self._push():
                    break
        except trio.ClosedResourceError:  # it was cut
            return
        except OSError:
            self.abort()
            return
        self._flushing = False
        self._leave_budget()
        self._call_drained()
        if self.ending and not (self.gone or self._flushing):
            self._finish()

    def _leave_budget(self) -> None:
        if not (self._flushing or self._held_bytes):
            self._budget.leave(self)

    def _push(self) -> bool:
        """Hand over what the socket takes of what waits; True when nothing is left."""
        sent = self._send(self._buffer)
        if not self.gone:
            del self._buffer[:sent]
            self.written_bytes += sent
            self._budget.change(-sent)
        return not self._buffer

    def _finish(self) -> None:
        """Everything is out: end our side."""
        self.linger_until_s = trio.current_time() + self._settings.linger_s
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()

    def _call_drained(self) -> None:
        calls, self._drained = self._drained, []
        for call in calls:
            call()

    def _unacknowledged(self) -> int:
        """Bytes that wait in the kernel. It frees space in large steps, and a client that reads
        slowly must not look like one that does not read."""
        with contextlib.suppress(OSError):
            waiting = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
            return int.from_bytes(waiting, sys.byteorder)
        return 0


def _has_left(sock: socket.socket) -> bool:
    """Whether the other side has sent FIN or RST, also where unread bytes stand before it."""
    poll = select.poll()
    poll.register(sock, _LEFT)
    return bool(poll.poll(0))
