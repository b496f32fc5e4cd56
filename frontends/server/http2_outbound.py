"""The answering half of an HTTP/2 connection: frames of many streams, in turns, in one write.

The app's bytes wait in their streams. `_flush`, called once for all that was touched, makes frames
of them as the windows allow, and only while the socket takes what it is given: a byte waits in one
place.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import chain
from typing import Final, cast

import trio

from engine.wire.http2 import ErrorCodes, Http2Connection, Http2StreamClosed
from frontends.server.http2_stalls import Stalls
from frontends.server.http2_stream import Http2Stream
from frontends.server.interfaces import Flusher, Wire
from frontends.server.settings import ServerSettings

log = logging.getLogger("parshall.server")

HELD_MAX_BYTES: Final = 1024 * 1024
"""Of all answers on one connection; beyond it streams may hold `_FEW_BYTES` each."""
UNREAD_MAX_BYTES: Final = 1024 * 1024
"""Of a request that was answered before it ended; more is refused by a reset."""
_FEW_BYTES: Final = 4_096
_UNSAID_MAX_BYTES: Final = 16_384
"""What is held is told the wire in steps: most tokens wait for nobody."""
_PIECE_BYTES: Final = 16_384
"""Of one stream, before it is another's turn."""
_ROUND_BYTES: Final = 65_536
"""Of all streams, in one write."""
_PING: Final = b"lagging?"
_FRAME_BYTES: Final = 64
"""Counted for a frame beside its data."""


class Http2Outbound:
    """Implements `Streams`; `Http2Server` adds what is received."""

    def __init__(
        self, wire: Wire, h2: Http2Connection, settings: ServerSettings, flusher: Flusher
    ) -> None:
        self.wire = wire
        self._h2 = h2
        self._settings = settings
        self._flusher = flusher
        self._streams: dict[int, Http2Stream] = {}
        self._ready: deque[Http2Stream] = deque()
        self._unread: dict[int, tuple[float, int]] = {}
        """Streams that are answered but not ended: until when, and how much more, is dropped."""
        self._held_bytes = 0
        self._said_bytes = 0
        """How much of that the wire knows of."""
        self._touched = False
        self._backed_up = False
        """The wire is past its high-water mark: no frame is made."""
        self._stopping = False
        self._over = False
        self._idle_until_s = trio.current_time() + settings.header_timeout_s
        self._stalls = Stalls(settings.write_stall_s)

    # -- answers: what their streams ask for ------------------------------------------------------

    @property
    def high_water_bytes(self) -> int:
        """What one stream may hold before its app is to wait."""
        full = self._held_bytes >= HELD_MAX_BYTES
        return _FEW_BYTES if full else self._settings.sink_high_water_bytes

    def held(self, size: int) -> None:
        """So many more bytes wait in a stream, or fewer."""
        self._held_bytes += size
        unsaid_bytes = self._held_bytes - self._said_bytes
        if not -_UNSAID_MAX_BYTES < unsaid_bytes < _UNSAID_MAX_BYTES:
            self._said_bytes = self._held_bytes
            self.wire.hold(unsaid_bytes)

    def make_soon(self, stream: Http2Stream) -> None:
        """Give a stream its turn."""
        stream.queued = True
        self._ready.append(stream)
        if not self._backed_up:
            self._touch()

    def continue_soon(self, stream: Http2Stream) -> None:
        """Send `100 Continue`."""
        self._h2.send_headers(stream.stream_id, [(b":status", b"100")])
        self._touch()

    def consumed(self, stream: Http2Stream, size: int) -> None:
        """The app took bytes of a body."""
        if self._h2.acknowledge(stream.stream_id, size):
            self._touch()

    def fail(self, stream: Http2Stream) -> None:
        """The app could not go on."""
        self._reset(stream, ErrorCodes.INTERNAL_ERROR)

    # -- answers: frames --------------------------------------------------------------------------

    def _touch(self) -> None:
        if not self._touched:
            self._touched = True
            self._flusher.touch(self._flush)

    def _flush(self) -> None:
        self._touched = False
        if self._over:
            return
        while not self.wire.gone:
            made = self._make_round() if not self._backed_up else []
            if not self._h2.has_outgoing:
                break
            self._write(made)
        if self._ending and not self._streams:
            self._h2.goaway()
            self._end()

    def _write(self, made: list[Http2Stream]) -> None:
        wire = self.wire
        accepted_bytes = wire.accepted_bytes
        has_room = wire.write(self._h2.outgoing())
        position = wire.accepted_bytes
        if position == accepted_bytes:
            return  # it is gone
        whole = wire.written_bytes == position
        for stream in made:
            stream.handed_over(position, whole=whole)
        if not (has_room or self._backed_up):
            self._backed_up = True
            wire.on_drained(self._on_drained)

    def _on_drained(self) -> None:
        self._backed_up = False
        if not self.wire.gone:
            self._touch()

    def _make_round(self) -> list[Http2Stream]:
        """Frames of the streams that are ready, in turns, enough for one write."""
        made = []
        ready, left_bytes = self._ready, _ROUND_BYTES
        while ready and left_bytes > 0:
            stream = ready.popleft()
            stream.queued = False
            try:
                left_bytes -= _FRAME_BYTES + self._make(stream)
            except Http2StreamClosed:  # it was reset meanwhile
                continue
            made.append(stream)
        return made

    def _make(self, stream: Http2Stream) -> int:
        """One turn of a stream: its head, a piece of its body. How much that is, in bytes."""
        h2, stream_id, buffer = self._h2, stream.stream_id, stream.buffer
        head_bytes = 0
        if stream.fields is not None:
            head_bytes = sum(map(len, chain.from_iterable(stream.fields)))
            h2.send_checked(stream_id, stream.fields)
            stream.fields = None
        wanted_bytes = min(len(buffer), _PIECE_BYTES)
        if not wanted_bytes and not stream.finished:
            return head_bytes
        last = wanted_bytes == len(buffer)
        piece = buffer if last else buffer[:wanted_bytes]
        size = h2.send_data(stream_id, piece, ended=stream.finished and last)
        if size:
            stream.taken(size)
        if size < wanted_bytes:
            stream.blocked = True
            self._stalls.shut(stream, trio.current_time())
        elif not last:
            stream.queued = True
            self._ready.append(stream)
        elif stream.finished:
            self._finish(stream)
        else:
            self._stalls.clear(stream)
        return head_bytes + size

    def _finish(self, stream: Http2Stream) -> None:
        """The answer is complete. What is left of the request is dropped, for a while: there are
        clients that see no reset while they send."""
        if self._h2.is_open(stream.stream_id):
            linger_s = self._settings.linger_s
            self._unread[stream.stream_id] = (trio.current_time() + linger_s, UNREAD_MAX_BYTES)
            self._h2.acknowledge(stream.stream_id, UNREAD_MAX_BYTES)  # whatever waits
        self._forget(stream)

    # -- ends ------------------------------------------------------------------------------------

    def _forget(self, stream: Http2Stream) -> None:
        self._stalls.clear(stream)
        if self._streams.pop(stream.stream_id, None) is not None and not self._streams:
            self._idle_until_s = trio.current_time() + self._settings.keep_alive_s
            if self._ending:
                self._touch()

    def _reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        self._h2.reset(stream.stream_id, code)
        self._forget(stream)
        stream.leave()
        self._touch()

    @property
    def _ending(self) -> bool:
        """One side has said that it takes, or asks, nothing more."""
        return self._stopping or self._h2.draining

    def _end(self) -> None:
        """Say what is left to be said of the connection itself, and end it."""
        self._leave_all()
        if not self._over:
            self._over = True
            self.wire.write(self._h2.outgoing())
            self.wire.end()

    def _leave_all(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.leave()
        self._ready.clear()

    # -- windows that stay shut -------------------------------------------------------------------

    def _unblock(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.queued:
            stream.blocked = False
            self.make_soon(stream)

    def _cut_stalled(self, now_s: float) -> None:
        """Reset the streams whose clients let nothing through."""
        stalled, ask = self._stalls.look(now_s)
        for stream in stalled:
            log.info("a client let next to nothing of an answer through: reset")
            self._reset(cast(Http2Stream, stream), ErrorCodes.CANCEL)
        if ask:
            self._h2.ping(_PING)
            self._touch()
