"""A client's side of a relay over a real socket, as a server would drive it."""

from __future__ import annotations

import trio


class SocketSink:
    """Sends at once what the socket takes; a task flushes the rest. Starts corked."""

    def __init__(self, stream: trio.SocketStream, high_water_bytes: int = 65_536) -> None:
        self.delivered_bytes = 0
        self.gone = False
        self._stream = stream
        self._high_water_bytes = high_water_bytes
        self._waiting = bytearray()
        self._head_bytes = 0
        self._corked = True
        self._work = trio.Event()
        self._drained = trio.Event()
        self._drained.set()

    def send_nowait(self, data: bytes) -> bool:
        if data and not self.gone:
            self._waiting += data
            if self._drained.is_set():
                self._drained = trio.Event()
            self._work.set()
        return len(self._waiting) < self._high_water_bytes

    def uncork(self, head: bytes) -> None:
        self._waiting[:0] = head
        self._head_bytes = len(head)
        self._corked = False
        self._work.set()

    def abort(self) -> None:
        self.gone = True
        self._waiting.clear()
        self._drained.set()

    async def wait_drained(self) -> None:
        await self._drained.wait()

    async def flush(self) -> None:
        """Move bytes to the socket until cancelled or the client has left."""
        while not self.gone:
            await self._work.wait()
            self._work = trio.Event()
            while self._waiting and not self._corked:
                piece = bytes(self._waiting[:16_384])
                try:
                    await self._stream.send_all(piece)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.abort()
                    return
                del self._waiting[: len(piece)]
                head = min(self._head_bytes, len(piece))
                self._head_bytes -= head
                self.delivered_bytes += len(piece) - head
            if not self._waiting:
                self._drained.set()
