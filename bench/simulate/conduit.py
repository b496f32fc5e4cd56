"""One accepted socket: a reader, one output buffer and one who empties it.

Writing is synchronous: `send` tries the socket at once and keeps what it does not take, so the
timer wheel can write to thousands of connections without a task switch. TLS is an `ssl.SSLObject`
between two memory buffers, because Trio's `SSLStream` has no synchronous write.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from bench.simulate.truth import Ending

READ_BYTES = 65_536
RECORD_BYTES = 16_384
_LINGER_RESET = struct.pack("ii", 1, 0)


class Writer(Protocol):
    """Told how far its bytes got."""

    def on_written(self, tokens: int, ending: Ending | None) -> None:
        """Everything up to this mark was taken by the operating system."""

    def on_lost(self) -> None:
        """The connection ended before that."""


Mark = tuple[int, Writer, int, Ending | None]
"""After how many bytes, who wrote, its tokens up to here, how its response ends here if it does."""


class Conduit:
    """Owns the socket, which is non-blocking. One task reads, one runs `run_flusher`.

    `buffered_bytes` is not bounded here: whoever sends looks at `congested` first.
    """

    def __init__(
        self, sock: socket.socket, *, high_water_bytes: int = 65_536, write_stall_s: float = 60.0
    ) -> None:
        self._socket = sock
        self._high_water_bytes = high_water_bytes
        self._write_stall_s = write_stall_s
        self._buffer = bytearray()
        self._queued_total = 0
        self._marks: deque[Mark] = deque()
        self._wake = trio.Event()
        self.closing = False
        """No more is read for its meaning; what is buffered still goes out."""
        self.broken = False
        self.closed = False

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer)

    @property
    def congested(self) -> bool:
        """Past the high-water mark: hold on until the flusher reports that it drained."""
        return len(self._buffer) >= self._high_water_bytes

    async def receive(self) -> bytes:
        """What the peer sent next; empty when it has ended or lost the connection."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self.closed:
                return b""
            try:
                await trio.lowlevel.wait_readable(self._socket)
                return self._socket.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, trio.ClosedResourceError):
                return b""

    def send(self, data: bytes, marks: Sequence[Mark] = ()) -> None:
        """Write now what the socket takes and buffer the rest. Never raises.

        Marks count bytes from the start of `data`.
        """
        if self.broken or self.closed:
            for _, writer, _, _ in marks:
                writer.on_lost()
            return
        self._queue(data, marks)

    def _queue(self, data: bytes, marks: Sequence[Mark]) -> None:
        start = self._queued_total
        self._queued_total += len(data)
        sent = self._try_send(data) if data and not self._buffer else 0
        if sent == self._queued_total - start and not self._buffer:
            for _, writer, tokens, ending in marks:
                writer.on_written(tokens, ending)
            return
        self._marks.extend((start + at, who, tokens, end) for at, who, tokens, end in marks)
        if self.broken:
            self._lose_marks()
            return
        if not self._buffer:
            self._wake.set()
        self._buffer += data[sent:] if sent else data
        self._pass_marks()

    def _try_send(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.broken = True
            self._wake.set()
            return 0

    def _pass_marks(self) -> None:
        if self.broken:
            self._lose_marks()
            return
        written = self._queued_total - len(self._buffer)
        while self._marks and self._marks[0][0] <= written:
            _, writer, tokens, ending = self._marks.popleft()
            writer.on_written(tokens, ending)

    def _lose_marks(self) -> None:
        while self._marks:
            self._marks.popleft()[1].on_lost()

    async def run_flusher(self, on_drained: Callable[[], None]) -> None:
        """Empty the buffer whenever the socket blocks; return once the connection is to end."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._buffer and not self.broken and not self.closed:
                await self._flush_some()
            if self.broken or self.closed:
                return
            if not self.closing:
                on_drained()
            elif not self._buffer:
                self._half_close()
                return

    async def _flush_some(self) -> None:
        with trio.move_on_after(self._write_stall_s) as scope:
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except trio.ClosedResourceError:
                return
        if scope.cancelled_caught:
            self.abort()
            return
        del self._buffer[: self._try_send(self._buffer)]
        self._pass_marks()

    def close_when_drained(self, *, abrupt: bool = False) -> None:
        """Send what is buffered, then FIN; over TLS with a close_notify unless `abrupt`."""
        self.closing = True
        self._wake.set()

    def _half_close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """End the connection with a TCP RST."""
        if not self.closed:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            self.close()

    def close(self) -> None:
        """Close the socket. Idempotent; the reader and the flusher return."""
        if self.closed:
            return
        self.closed = True
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        self._lose_marks()
        self._buffer.clear()
        self._wake.set()


class TlsConduit(Conduit):
    """The same over TLS. `handshake` comes first."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        high_water_bytes: int = 65_536,
        write_stall_s: float = 60.0,
    ) -> None:
        super().__init__(sock, high_water_bytes=high_water_bytes, write_stall_s=write_stall_s)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self, deadline_s: float = math.inf) -> str | None:
        """Negotiate; returns the protocol ALPN chose.

        Raises:
            ConnectionError: the handshake failed or took past the deadline.
        """
        with trio.CancelScope(deadline=deadline_s):
            while not self._shake_hands():
                if not await self._feed():
                    raise ConnectionError("the client left the TLS handshake")
            return self._tls.selected_alpn_protocol()
        raise ConnectionError("the TLS handshake took too long")

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise ConnectionError(f"TLS handshake failed: {error.reason}") from error
        else:
            return True
        finally:
            self._send_sealed(())

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while (data := self._read()) is None:
            if not await self._feed():
                return b""
        return data

    def _read(self) -> bytes | None:
        """What has been deciphered; None when more has to come first."""
        try:
            return self._tls.read(READ_BYTES)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:  # close_notify, a truncated stream, a broken record
            return b""
        finally:
            self._send_sealed(())

    async def _feed(self) -> bool:
        data = await super().receive()
        if data:
            self._incoming.write(data)
        return bool(data)

    def send(self, data: bytes, marks: Sequence[Mark] = ()) -> None:
        """As for cleartext; a mark is reached with the TLS record its last byte is in."""
        waiting = deque(marks)
        for start in range(0, len(data), RECORD_BYTES):
            if self.broken or self.closed:
                break
            end = min(start + RECORD_BYTES, len(data))
            self._tls.write(data[start:end])
            here: list[Mark] = []
            while waiting and waiting[0][0] <= end:
                here.append(waiting.popleft())
            self._send_sealed(here)
        if waiting:
            self._send_sealed(list(waiting))

    def close_when_drained(self, *, abrupt: bool = False) -> None:
        if not (abrupt or self.closing):
            with contextlib.suppress(ssl.SSLError):  # it wants the peer's close_notify in turn
                self._tls.unwrap()
            self._send_sealed(())
        super().close_when_drained(abrupt=abrupt)

    def _send_sealed(self, marks: Sequence[Mark]) -> None:
        sealed = self._outgoing.read()
        if sealed or marks:
            super().send(sealed, [(len(sealed), *mark[1:]) for mark in marks])
