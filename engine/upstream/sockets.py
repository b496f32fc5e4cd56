"""What Trio's streams do not offer of the socket beneath them."""

from __future__ import annotations

import select
import struct
from contextlib import suppress
from typing import Final

import trio

_LINGER_RESET: Final = struct.pack("ii", 1, 0)


def abort_nowait(stream: trio.abc.Stream) -> None:
    """Close the socket under a stream at once: the peer gets a reset, tasks that use it an error.

    A reset, and not an orderly end, because to many servers that only means that no further
    request follows.
    """
    if (socket := _socket_under(stream)) is not None:
        with suppress(OSError):  # closed already
            socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, _LINGER_RESET)
        socket.close()


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
