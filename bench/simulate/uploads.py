"""Bodies as they come in: in memory, but a long form in a file, however many there are at once.

So a hundred uploads of 25 MB at a time cost a simulator next to no memory of its own.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO, Final

SPOOLED_BYTES: Final = 1 << 20
"""A form that is longer goes into a file without a name."""


class IncomingBody:
    """What has come of one body."""

    __slots__ = ("_file", "_form", "_pieces", "size")

    def __init__(self, content_type: bytes = b"") -> None:
        self._form = content_type.lower().startswith(b"multipart/")
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def add(self, data: bytes) -> None:
        """More of it.

        Raises:
            OSError: the file cannot be written.
        """
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._pieces.append(data)
        if self._form and self.size > SPOOLED_BYTES:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._file.writelines(self._pieces)
            self._pieces.clear()

    def discard(self) -> None:
        """The rest will not come."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def take(self) -> tuple[bytes, mmap.mmap | None]:
        """All of it: bytes, or the file as a map, which is gone once nobody looks at it."""
        if self._file is None:
            body = b"".join(self._pieces)
            self._pieces.clear()
            return body, None
        with self._file as file:
            file.flush()
            return b"", mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
