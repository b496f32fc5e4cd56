"""Body bytes straight from whoever has them to the client's socket, without a switch of tasks.

Offered to apps as the ASGI extension `parshall.sink` on HTTP/1.1. An app that has sent
`http.response.start` without a content-length may call it once, push the body into what it
returns, and end with an empty `http.response.body`. Without the extension it sends as usual.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

EXTENSION = "parshall.sink"


class Socket(Protocol):
    """The connection, as a sink sees it."""

    @property
    def gone(self) -> bool:
        """The client has left, or was cut."""

    def write_nowait(self, data: memoryview) -> int:
        """How many bytes went out at once; 0 while somebody else writes, or nobody can."""

    def write_soon(self, sink: ChunkSink) -> None:
        """Have a task call `flush`."""

    def abort(self) -> None:
        """Cut the client."""


class ChunkSink:
    """Frames data as chunks (RFC 9112 section 7.1) and hands them to one socket in order.

    What the socket does not take waits here, `high_water_bytes` and one call's data at most if
    the caller heeds the answer of `send_nowait`.
    """

    def __init__(self, socket: Socket, high_water_bytes: int) -> None:
        self.delivered_bytes = 0
        """How much of the data has been handed to the kernel."""
        self._socket = socket
        self._high_water_bytes = high_water_bytes
        self._waiting: deque[tuple[memoryview, int]] = deque()
        """Frames, and the data bytes that count as delivered when the frame is out."""
        self._waiting_bytes = 0
        self._flushing = False
        self._drained = trio.Event()
        self._drained.set()

    @property
    def gone(self) -> bool:
        """The client has left."""
        return self._socket.gone

    def send_nowait(self, data: bytes) -> bool:
        """Take bytes; False when past the high-water mark. Never raises."""
        if data and not self.gone:
            frame = memoryview(b"%x\r\n%b\r\n" % (len(data), data))
            written = 0 if self._flushing else self._socket.write_nowait(frame)
            if written == len(frame):
                self.delivered_bytes += len(data)
                return True
            self._waiting.append((frame[written:], len(data)))
            self._waiting_bytes += len(frame) - written
            if not self._flushing:
                self._flushing = True
                self._drained = trio.Event()
                self._socket.write_soon(self)
        return self._waiting_bytes < self._high_water_bytes

    def uncork(self, head: bytes) -> None:
        """The head went out before; there is no cork."""
        assert not head

    def abort(self) -> None:
        """Drop the client at once."""
        self._socket.abort()

    async def wait_drained(self) -> None:
        """Return when everything was handed to the kernel, or the client has left."""
        await self._drained.wait()

    def take(self) -> tuple[memoryview, int] | None:
        """The next frame for the task that flushes; None when there is none."""
        if self._waiting and not self.gone:
            return self._waiting.popleft()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._flushing = False
        self._drained.set()
        return None

    def taken(self, frame_bytes: int, data_bytes: int) -> None:
        """A frame has gone out."""
        self._waiting_bytes -= frame_bytes
        self.delivered_bytes += data_bytes
