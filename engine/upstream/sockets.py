"""What Trio's streams do not offer of the socket beneath them."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

_LINGER_RESET: Final = struct.pack("ii", 1, 0)
_QUICKACK: Final[int | None] = getattr(trio.socket, "TCP_QUICKACK", None)


def receiver_of(stream: trio.abc.ReceiveStream) -> Callable[[int], Awaitable[bytes | bytearray]]:
    """What reads from a stream, by its only reader.

    Trio's own tries the socket before it waits for it, which nearly always finds nothing where
    small pieces come at a pace; of a bare socket that try is left out.
    """
    if type(stream) is not trio.SocketStream:
        return stream.receive_some
    socket = stream.socket

    async def receive_some(size: int) -> bytes:
        while True:
            if socket.fileno() < 0:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(socket)
            with suppress(BlockingIOError):
                return os.read(socket.fileno(), size)

    return receive_some


def abort_nowait(stream: trio.abc.Stream) -> None:
    """Close the socket under a stream at once: the peer gets a reset, tasks that use it an error.

    A reset, and not an orderly end, because to many servers that only means that no further
    request follows.
    """
    if (socket := _socket_under(stream)) is not None:
        with suppress(OSError):  # closed already
            socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, _LINGER_RESET)
        socket.close()


def acknowledge_quickly(stream: trio.abc.Stream) -> None:
    """Until something is sent again, let the kernel acknowledge what is read at once.

    A server that writes small pieces without TCP_NODELAY (asyncio's, on a socket that was handed to
    them, which is how vLLM runs) sends the second only when the first is acknowledged, and on a
    connection that has carried requests and answers Linux waits 40 ms with that.
    """
    if _QUICKACK is not None and (socket := _socket_under(stream)) is not None:
        with suppress(OSError):  # closed already
            socket.setsockopt(trio.socket.IPPROTO_TCP, _QUICKACK, 1)


def is_readable(stream: trio.abc.Stream) -> bool:
    """Whether the kernel has bytes, an end or an error that nobody has read yet."""
    socket = _socket_under(stream)
    if socket is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _socket_under(stream: trio.abc.AsyncResource) -> trio.socket.SocketType | None:
    while True:
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        elif isinstance(stream, trio.StapledStream):
            stream = stream.send_stream
        else:
            break
    return stream.socket if isinstance(stream, trio.SocketStream) else None
