"""Body bytes straight from whoever has them to the client's socket, without a switch of tasks.

Offered to apps as the ASGI extension `parshall.sink` on HTTP/1.1. An app that has sent
`http.response.start` without a content-length may call it once, push the body into what it
returns, and end with an empty `http.response.body`. Without the extension it sends as usual.
"""

from __future__ import annotations

from collections import deque

import trio

from frontends.server.interfaces import Wire


class ChunkSink:
    """Frames data as chunks (RFC 9112 section 7.1) and hands them to the connection's wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sent_bytes = 0
        self._delivered_bytes = 0
        self._marks: deque[tuple[int, int]] = deque()
        """What the wire has to have written, for so much of the data to be delivered."""

    @property
    def gone(self) -> bool:
        """The client has left."""
        return self._wire.gone

    @property
    def delivered_bytes(self) -> int:
        """How much of the data has been handed to the kernel."""
        while self._marks and self._marks[0][0] <= self._wire.written_bytes:
            _, self._delivered_bytes = self._marks.popleft()
        return self._delivered_bytes

    def send_nowait(self, data: bytes) -> bool:
        """Take bytes; False when past the high-water mark. Never raises."""
        if not data or self.gone:
            return True
        below = self._wire.write(b"%x\r\n%b\r\n" % (len(data), data))
        self._sent_bytes += len(data)
        if self._wire.written_bytes == self._wire.accepted_bytes:
            self._marks.clear()
            self._delivered_bytes = self._sent_bytes
        else:
            self._marks.append((self._wire.accepted_bytes, self._sent_bytes))
        return below

    def uncork(self, head: bytes) -> None:
        """The head went out before; there is no cork."""
        assert not head

    def abort(self) -> None:
        """Drop the client at once."""
        self._wire.abort()

    async def wait_drained(self) -> None:
        """Return when everything was handed to the kernel, or the client has left."""
        drained = trio.Event()
        self._wire.on_drained(drained.set)
        await drained.wait()
