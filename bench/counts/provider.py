"""A provider over HTTP/2 that says the same bytes whenever it is asked, and no more than that.

Its frames are written by hand, so that none of the engine's code runs in it and is counted.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from engine.nurseries import open_tasks

_HEAD: Final = struct.Struct(">BHBBL")
_PREFACE_BYTES: Final = 24
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_STATUS_200: Final = b"\x88"
_CONTENT_TYPE: Final = b"\x0f\x10"  # RFC 7541: a literal, not indexed, of the static name 31

Say = Callable[[bytes, bool], Awaitable[None]]
"""Send data of the answer, the head with the first; True with the last."""
Answer = Callable[[Say], Awaitable[None]]


@asynccontextmanager
async def open_provider(content_type: bytes, answer: Answer) -> AsyncIterator[str]:
    """Its base URL. One answer is given at a time on a connection.

    Raises:
        OSError: there is no address to be had.
    """
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def serve(stream: trio.SocketStream) -> None:
        buffer = bytearray()
        await stream.send_all(_frame(_SETTINGS, 0, 0))
        async for data in stream:
            buffer += data
            for asked in await _read_frames(buffer, stream):
                await _answer(stream, asked, content_type, answer)

    async with open_tasks() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            nursery.cancel_scope.cancel()


async def _answer(
    stream: trio.SocketStream, stream_id: int, content_type: bytes, answer: Answer
) -> None:
    fields = _STATUS_200 + _CONTENT_TYPE + bytes([len(content_type)]) + content_type
    head = _frame(_HEADERS, _END_HEADERS, stream_id, fields)

    async def say(data: bytes, last: bool) -> None:
        nonlocal head
        sent, head = head + _frame(_DATA, _END_STREAM if last else 0, stream_id, data), b""
        await stream.send_all(sent)

    await answer(say)


async def _read_frames(buffer: bytearray, stream: trio.SocketStream) -> list[int]:
    """Take whole frames off the buffer; stream ids of the requests that have ended."""
    if buffer.startswith(b"PRI "):
        if len(buffer) < _PREFACE_BYTES:
            return []
        del buffer[:_PREFACE_BYTES]
    ended = []
    while len(buffer) >= _HEAD.size:
        high, low, kind, flags, stream_id = _HEAD.unpack_from(buffer)
        end = _HEAD.size + (high << 16 | low)
        if len(buffer) < end:
            break
        payload = bytes(buffer[_HEAD.size : end])
        del buffer[:end]
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            echoed = payload if kind == _PING else b""
            await stream.send_all(_frame(kind, _ACK, 0, echoed))
        elif kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            ended.append(stream_id)
    return ended


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload
