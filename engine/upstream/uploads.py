"""The request bodies of one HTTP/2 connection: a frame of each in turn, as the windows allow.

A spooled body is in memory one piece at a time; the next is read, in a thread, when that has gone
out, and the other streams go on meanwhile.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from engine.wire.http2 import Http2Connection

from .streams import NO_BODY, UpstreamStream

logger = logging.getLogger(__name__)

_TURN_BYTES: Final = 16_384
"""What one body sends before the next one's turn: a frame."""


class Uploads:
    """Bodies on their way; the connection's writer asks for what it may send.

    Args:
        changed: called when there is something to send.
        unreadable: called when a stream's spool file cannot be read; it ends the stream.
    """

    def __init__(
        self,
        http2: Http2Connection,
        *,
        changed: Callable[[], None],
        unreadable: Callable[[UpstreamStream], None],
    ) -> None:
        self._http2 = http2
        self._changed = changed
        self._unreadable = unreadable
        self._turns: deque[UpstreamStream] = deque()
        """Streams that have something in memory and may have a window for it."""
        self._nursery: trio.Nursery | None = None

    def run_in(self, nursery: trio.Nursery) -> None:
        """Where files are read; cancelling it stops that."""
        self._nursery = nursery

    def add(self, stream: UpstreamStream) -> None:
        """A stream can go on: it has just been opened, or its window has."""
        if stream.body:
            self._turns.append(stream)
            self._changed()
        elif stream.spooled is not None and not stream.reading:
            assert self._nursery is not None, "streams open on a running connection"
            stream.reading = True
            self._nursery.start_soon(self._read, stream)

    def queue(self, room_bytes: int) -> None:
        """Move about `room_bytes` of bodies into the connection's outgoing bytes."""
        queued = 0
        while self._turns and queued < room_bytes:
            stream = self._turns.popleft()
            if not stream.body:  # it has ended
                continue
            piece = stream.body[:_TURN_BYTES]
            last = len(piece) == len(stream.body) and stream.spooled is None
            taken = self._http2.send_data(stream.stream_id, piece, ended=last)
            stream.body = stream.body[taken:] or NO_BODY  # an empty view would keep all of it alive
            queued += taken
            if taken == len(piece):  # else the window's opening brings it back
                self.add(stream)

    async def _read(self, stream: UpstreamStream) -> None:
        body = stream.spooled
        if body is None:
            return
        try:
            piece = await body.read(stream.offset)
        except OSError as error:
            logger.warning("a request's spool file cannot be read: %s", error)
            if stream.spooled is not None:
                self._unreadable(stream)
            return
        finally:
            stream.reading = False
        if stream.spooled is None:  # it has ended meanwhile
            return
        stream.body = memoryview(piece)
        stream.offset += len(piece)
        if stream.offset >= body.size_bytes:
            stream.spooled = None
        self.add(stream)
