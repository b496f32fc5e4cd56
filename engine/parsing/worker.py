"""The helper process: parses one large body at a time, as told over its standard input, a socket.

    python -m engine.parsing.worker PARENT_PID MEMORY_MAX_BYTES ENCODING...

It has no secrets, opens nothing, and ends with its parent. Its memory is bounded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from engine.errors import InvalidRequestError, NotFoundError
from engine.events import Call
from engine.metering.tokens import counter_for
from engine.parsing import frames
from engine.parsing.jobs import Count, Encode, Parsed
from engine.parsing.prompts import Counted
from engine.protocols.fields import write_json
from engine.protocols.uploads import has_form

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
_MARKS: Final = (b"{", b"[", b",")
_PARTS_MAX: Final = 8_000_000
"""So many values take 1 to 2 GB. Where there is no memory orjson takes a minute, or the process
ends; to count them before, also those within strings, takes a millisecond a megabyte."""


class Helper:
    """Answers one frame after another; pure but for the log."""

    def __init__(self) -> None:
        self._parsed: Parsed | None = None

    @property
    def idle(self) -> bool:
        """Nothing is kept."""
        return self._parsed is None

    def answer(self, head: Any, body: bytes, fd: int | None) -> tuple[Any, bytes]:
        """What to say to a frame. After what was asked of a request it is forgotten."""
        parsed, self._parsed = self._parsed, None
        try:
            return self._answer(parsed, head, body, fd)
        except (InvalidRequestError, NotFoundError) as error:
            return frames.IsRefused(error.message, error.code, error.param), b""
        except MemoryError:
            return frames.HasFailed("memory"), b""
        except OSError as error:
            logger.error("a spool file fails: %s", error)
            return frames.HasFailed("disk"), b""
        except Exception as error:  # noqa: BLE001
            # The trace only: the message may quote the prompt.
            trace = "".join(traceback.format_tb(error.__traceback__))
            logger.error("parsing failed with %s\n%s", type(error).__name__, trace)
            return frames.HasFailed("fault"), b""

    def _answer(
        self, parsed: Parsed | None, head: Any, body: bytes, fd: int | None
    ) -> tuple[Any, bytes]:
        match head:
            case frames.Parse(call, wanted, file_bytes):
                if file_bytes:
                    call, body = _with_files(call, body, file_bytes)
                body = body if fd is None else _read(fd)
                if not has_form(call) and sum(map(body.count, _MARKS)) > _PARTS_MAX:
                    return frames.HasFailed("memory"), b""
                self._parsed = Parsed(replace(call, body=body))
                return frames.IsParsed(self._parsed.asked(call.session_id, wanted)), b""
            case Encode():
                assert parsed is not None, "it was parsed before"
                encoded, body = _encode(parsed, head)
                return encoded, body if fd is None else _write(fd, body)
            case Count(encoding, capabilities):
                assert parsed is not None, "it was parsed before"
                return frames.IsCounted(parsed.count_for(encoding, capabilities)), b""
            case _:
                assert isinstance(head, frames.Forget)
                return frames.Ready(), b""


def _with_files(call: Call, body: bytes, file_bytes: Sequence[int]) -> tuple[Call, bytes]:
    """The call with its files, which stand behind its body; and that."""
    at = end = len(body) - sum(file_bytes)
    files = {}
    for (written, file), size_bytes in zip(call.files.items(), file_bytes, strict=True):
        files[written] = replace(file, data=body[at : at + size_bytes])
        at += size_bytes
    return replace(call, files=files), body[:end]


def _encode(parsed: Parsed, asked: Encode) -> tuple[frames.IsEncoded, bytes]:
    prepared = parsed.prepare(asked, lambda encoding: Counted(parsed.count(encoding)))
    assert isinstance(prepared.body, bytes), "it was encoded here"
    document = write_json(prepared.request.document)
    request = replace(prepared.request, document={})
    return frames.IsEncoded(prepared._replace(request=request, body=b""), document), prepared.body


def _read(fd: int) -> bytes:
    """All of a file, whose offset is shared with other processes."""
    size_bytes = os.fstat(fd).st_size
    parts: list[bytes] = []
    while left_bytes := size_bytes - sum(map(len, parts)):
        part = os.pread(fd, left_bytes, size_bytes - left_bytes)
        if not part:
            raise EOFError
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write(fd: int, body: bytes) -> bytes:
    view, offset = memoryview(body), 0
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
    return b""


def main(parent_pid: int, memory_max_bytes: int, encodings: list[str]) -> None:
    """Serve until the other end of the socket is closed; prompts are counted with `encodings`."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the gateway says when this ends
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        return
    with contextlib.suppress(OSError, ValueError):  # what the system does not let us bound
        resource.setrlimit(resource.RLIMIT_AS, (memory_max_bytes, memory_max_bytes))
    for encoding in encodings:
        counter_for(encoding)
    # To look for cycles in millions of objects while they are made takes longer than to parse them.
    gc.freeze()
    gc.disable()
    helper = Helper()
    with socket.socket(fileno=0) as connection:
        _send(connection, frames.Ready(), b"")
        while (frame := _receive_frame(connection)) is not None:
            head, body, fd = frame
            try:
                answer = helper.answer(head, body, fd)
            finally:
                if fd is not None:
                    os.close(fd)
            _send(connection, *answer)
            del frame, head, body, answer
            if helper.idle:
                gc.collect()


def _receive_frame(connection: socket.socket) -> tuple[Any, bytes, int | None] | None:
    """Head, body and descriptor; None where the connection ends before."""
    prefix, fds, _, _ = socket.recv_fds(connection, frames.PREFIX.size, 1)
    rest = _receive(connection, frames.PREFIX.size - len(prefix)) if prefix else None
    if rest is None:
        return None
    head_bytes, body_bytes = frames.sizes(prefix + rest)
    packed = _receive(connection, head_bytes)
    body = _receive(connection, body_bytes)
    if packed is None or body is None:
        return None
    return frames.unpack(packed), bytes(body), fds[0] if fds else None


def _send(connection: socket.socket, head: Any, body: bytes) -> None:
    connection.sendall(frames.pack(head, len(body)))
    connection.sendall(body)


def _receive(connection: socket.socket, size_bytes: int) -> bytearray | None:
    """So many bytes; None where the connection ends before."""
    data = bytearray(size_bytes)
    view = memoryview(data)
    while view:
        received = connection.recv_into(view)
        if not received:
            return None
        view = view[received:]
    return data


if __name__ == "__main__":
    with contextlib.suppress(OSError):  # the parent has gone
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
