"""Hypercorn's HTTP/2, mended: one stream's trouble stays its own, and buffers have bounds.

Hypercorn ends the connection on DATA after an early answer, on bytes outside ASCII in `:path` or
`:method`, on CONNECT without a path, and on many PRIORITY frames; and it buffers without bound for
a client that does not read. Here malformed requests are stream errors (RFC 9113 section 8.1.1),
PRIORITY is ignored (deprecated by section 5.3.2), an app waits while the client lags, and floods
of frames that cost more to handle than to send end the connection.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import trio
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER, H2Protocol, StreamBuffer
from hypercorn.trio.worker_context import EventWrapper
from hypercorn.typing import Event

from frontends.server.settings import ServerSettings


class EmptyData:
    """DATA with neither a byte nor the end of its stream."""


FLOOD_WINDOW_S = 10.0
FLOOD_LIMITS: dict[type, int] = {
    StreamReset: 100,
    PingReceived: 100,
    RemoteSettingsChanged: 50,
    PriorityUpdated: 1_000,
    RequestReceived: 10_000,
    WindowUpdated: 4_000,
    UnknownFrameReceived: 1_000,
    EmptyData: 100,
}
"""Events of one kind within a window, past which the connection ends (ENHANCE_YOUR_CALM)."""


class StalledError(Exception):
    """The client has taken nothing of a stream for the whole write deadline."""


class BoundedBuffer(StreamBuffer):
    """What one stream has still to send. `push` waits until little of it is left."""

    def __init__(self, stall_s: float) -> None:
        super().__init__(EventWrapper)
        self._stall_s = stall_s

    async def push(self, data: bytes) -> None:
        """Add bytes. Raises StalledError when none left within the deadline."""
        self.buffer.extend(data)
        await self._is_empty.clear()
        while len(self.buffer) >= BUFFER_HIGH_WATER and not self._complete:
            await self._paused.clear()
            await self._wait_progress(self._paused)

    async def drain(self) -> None:
        """Wait until all is sent. Raises StalledError."""
        while not self._is_empty.is_set():
            await self._wait_progress(self._is_empty)

    async def pop(self, max_length: int) -> bytes:
        """Up to `max_length` bytes from the front."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data

    async def _wait_progress(self, event: Event) -> None:
        before = len(self.buffer)
        with trio.move_on_after(self._stall_s) as waiting:
            await event.wait()
        if waiting.cancelled_caught and len(self.buffer) == before:
            raise StalledError


class Http2(H2Protocol):
    """One HTTP/2 connection."""

    def __init__(self, *arguments: Any, settings: ServerSettings) -> None:
        super().__init__(*arguments)
        self._settings = settings
        self._counts: Counter[type] = Counter()
        self._window_ends = 0.0

    async def handle(self, event: ConnectionEvent) -> None:
        """Bytes from the client, or its leaving."""
        await super().handle(event)
        if isinstance(event, RawData) and self._is_frame_too_large():
            self.connection.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
            await self._flush()
            await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """What an app has to say on its stream; a stalled stream is reset."""
        try:
            await super().stream_send(event)
        except StalledError:
            self._reset(event.stream_id, ErrorCodes.CANCEL)
            await self._flush()
            await self._close_stream(event.stream_id)

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            if self._is_flood(event):
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            match event:
                case PriorityUpdated():
                    pass
                case RequestReceived() if not _is_servable(event.headers):
                    self._reset(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
                case DataReceived() if event.stream_id not in self.streams:
                    # The answer is complete, the rest of the request is not wanted (section 8.1).
                    self.connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                    self._reset(event.stream_id, ErrorCodes.NO_ERROR)
                case _:
                    await super()._handle_events([event])
        await self._flush()

    async def _create_stream(self, request: Any) -> None:
        await super()._create_stream(request)
        self.stream_buffers[request.stream_id] = BoundedBuffer(self._settings.write_stall_s)

    def _is_frame_too_large(self) -> bool:
        """h2 would take in all of an overlong frame, up to 16 MiB, before it refuses it."""
        waiting = self.connection.incoming_buffer._data
        length = int.from_bytes(waiting[:3], "big") if len(waiting) >= 3 else 0
        return bool(length > self.connection.max_inbound_frame_size)

    def _is_flood(self, event: object) -> bool:
        kind = type(event)
        if isinstance(event, DataReceived) and not (event.data or event.stream_ended):
            kind = EmptyData
        limit = FLOOD_LIMITS.get(kind)
        if limit is None:
            return False
        now = trio.current_time()
        if now >= self._window_ends:
            self._counts.clear()
            self._window_ends = now + FLOOD_WINDOW_S
        self._counts[kind] += 1
        return self._counts[kind] > limit

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self.connection.reset_stream(stream_id, code)
        except ProtocolError:  # it has ended meanwhile
            return


def _is_servable(headers: list[tuple[bytes, bytes]]) -> bool:
    """A request that HTTP/1.1 could say too: a method of letters, a path of visible ASCII."""
    fields = dict(headers)
    method, path = fields.get(b":method", b""), fields.get(b":path", b"")
    return (
        method.isalpha()
        and method.upper() != b"CONNECT"
        and path.startswith((b"/", b"*"))
        and all(0x21 <= byte <= 0x7E for byte in path)
    )
