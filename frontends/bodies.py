"""Request bodies: taken from the client only when a handler asks, and within bounds."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import trio
from quart_trio.wrappers.request import TrioBody, TrioRequest

from engine.errors import BodyTooLargeError, ClientError, UnavailableError

GRACE_S = 30.0
RATE_MIN_BYTES_PER_S = 1_024
"""A body may take `GRACE_S` and one second more for every KiB of it that has arrived."""


class BodyTimeoutError(ClientError):
    """The client is too slow in sending its body (408)."""

    status = 408
    code = "request_timeout"


class LazyBody(TrioBody):
    """A body that stays with the client until `wanted`, and is dropped once `refused`."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self.wanted = trio.Event()
        self._refused = False

    def refuse(self) -> None:
        """Drop what is left: it is read so that the client can be heard leaving."""
        self._refused = True
        self._data.clear()
        self.wanted.set()

    def append(self, data: bytes) -> None:
        """Called by the connection for what arrives."""
        if not self._refused:
            super().append(data)

    async def __anext__(self) -> bytes:
        self.wanted.set()
        return await super().__anext__()

    def __await__(self) -> Generator[Any, None, Any]:
        self.wanted.set()
        return super().__await__()


class LazyRequest(TrioRequest):
    """A request with a `LazyBody`."""

    body_class = LazyBody
    body: LazyBody


class BodyRoom:
    """How many bytes of bodies may be arriving in the whole process."""

    def __init__(self, max_bytes: int) -> None:
        self._free_bytes = max_bytes

    @contextmanager
    def taking(self) -> Iterator[Taking]:
        """Room for one body, given back when the block is left."""
        taking = Taking(self)
        try:
            yield taking
        finally:
            self._free_bytes += taking.taken_bytes

    def take(self, size_bytes: int) -> None:
        """Raises UnavailableError when there is no room."""
        if size_bytes > self._free_bytes:
            raise UnavailableError("Too many large requests at once.", retry_after_s=1)
        self._free_bytes -= size_bytes


class Taking:
    """The room that one body takes."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self.taken_bytes = 0

    def more(self, size_bytes: int) -> None:
        """Raises UnavailableError when there is no room."""
        self._room.take(size_bytes)
        self.taken_bytes += size_bytes


async def read_body(request: LazyRequest, room: BodyRoom, *, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLargeError: it is longer than `max_bytes`; known before all of it is read.
        BodyTimeoutError: it arrives too slowly.
        UnavailableError: too much is arriving in the whole process.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    started = trio.current_time()
    with room.taking() as taking:
        while True:
            allowed_s = GRACE_S + taking.taken_bytes / RATE_MIN_BYTES_PER_S
            with trio.move_on_at(started + allowed_s) as waiting:
                part = await anext(request.body, None)
            if waiting.cancelled_caught:
                raise BodyTimeoutError("The request body arrived too slowly.")
            if part is None:
                return b"".join(parts)
            if taking.taken_bytes + len(part) > max_bytes:
                raise _too_large(max_bytes)
            taking.more(len(part))
            parts.append(part)


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The request body is larger than {max_bytes} bytes.")
