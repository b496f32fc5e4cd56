"""The body of an httpx request as the pool sends it: in memory, or in a file past a megabyte."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import httpx
import trio

from .bodies import Body, SpooledBody

_MEMORY_MAX_BYTES: Final = 1024 * 1024
_BODY_MAX_BYTES: Final = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class CollectedBody:
    """A body that can be sent, and sent again, until it is closed."""

    body: Body
    _file: IO[bytes] | None = None

    def close(self) -> None:
        """Remove the file, if there is one."""
        if self._file is not None:
            self._file.close()


async def collect_body(request: httpx.Request) -> CollectedBody:
    """Read a request's body to its end, whatever kind of iterator it is.

    Raises:
        httpx.LocalProtocolError: it is over 4 GiB.
        Exception: whatever its iterator or the temporary file raises.
    """
    try:
        return CollectedBody(request.content)
    except httpx.RequestNotRead:
        pass
    parts: list[bytes] = []
    held_bytes = size = 0
    file: IO[bytes] | None = None
    try:
        async for part in _parts(request.stream):
            parts.append(part)
            held_bytes += len(part)
            size += len(part)
            if size > _BODY_MAX_BYTES:
                raise httpx.LocalProtocolError("the body is larger than 4 GiB")
            if held_bytes > _MEMORY_MAX_BYTES:
                file = file or tempfile.NamedTemporaryFile(prefix="parshall-")  # noqa: SIM115
                await trio.to_thread.run_sync(_write, file, parts)
                parts, held_bytes = [], 0
        if file is None:
            return CollectedBody(b"".join(parts))
        await trio.to_thread.run_sync(_write, file, parts)
    except BaseException:
        if file is not None:
            file.close()
        raise
    return CollectedBody(SpooledBody(Path(file.name), size), file)


async def _parts(stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> AsyncIterator[bytes]:
    if isinstance(stream, httpx.AsyncByteStream):
        async for part in stream:
            yield part
    else:
        for part in stream:
            yield part


def _write(file: IO[bytes], parts: list[bytes]) -> None:
    file.writelines(parts)
    file.flush()
