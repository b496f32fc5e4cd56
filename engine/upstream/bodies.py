"""What a request carries: bytes, or a file too large to keep in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from engine.spool import SpoolError, SpoolFile

SPOOL_PIECE_BYTES: Final = 128 * 1024
"""Read at a time, and the most that one upload keeps in memory."""
_READERS_MAX: Final = 8

_limiter = trio.lowlevel.RunVar[trio.CapacityLimiter]("parshall_spool_readers")


@dataclass(frozen=True, slots=True)
class SpooledBody:
    """A request's body in a file, read piece by piece as it goes out.

    The file must stay as it is until the request has been answered. One with a name is opened for
    each piece, so nothing is left open whatever becomes of the request. Several attempts may read
    at once.

    Attributes:
        size_bytes: what is sent; a file that turns out shorter ends its request.
        start: where in the file that begins.
    """

    file: Path | SpoolFile
    size_bytes: int
    start: int = 0

    def __len__(self) -> int:
        return self.size_bytes

    async def read(self, offset: int) -> bytes:
        """The piece at `offset`, read in a thread; `b""` at the end.

        Raises:
            OSError: the file cannot be read, or is shorter than `size_bytes`.
        """
        wanted = min(SPOOL_PIECE_BYTES, self.size_bytes - offset)
        if wanted <= 0:
            return b""
        piece = await trio.to_thread.run_sync(
            self._read, self.start + offset, wanted, abandon_on_cancel=True, limiter=_readers()
        )
        if len(piece) < wanted:
            raise OSError(f"the spool file is shorter than {self.size_bytes} bytes")
        return piece

    def close(self) -> None:
        """Nobody reads it any more: a file without a name is gone."""
        if isinstance(self.file, SpoolFile):
            self.file.close()

    def _read(self, offset: int, wanted: int) -> bytes:
        if isinstance(self.file, SpoolFile):
            try:
                return self.file.read_here(offset, wanted)
            except SpoolError as error:
                raise OSError("the spool file cannot be read") from error
        with self.file.open("rb") as file:
            file.seek(offset)
            return file.read(wanted)


def _readers() -> trio.CapacityLimiter:
    """Ours alone: name lookups that hang use up Trio's own."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_READERS_MAX)
        _limiter.set(limiter)
        return limiter


Body = bytes | SpooledBody


def part_of(body: Body, start: int, end: int) -> Body:
    """What of it stands between; of a file, which is closed for all of its parts at once."""
    if isinstance(body, bytes):
        return body[start:end]
    return SpooledBody(body.file, end - start, body.start + start)


def close_body(body: Body) -> None:
    """Nobody sends it any more: a file without a name is gone."""
    if isinstance(body, SpooledBody):
        body.close()
