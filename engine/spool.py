"""Files for request bodies that are too large to be kept in memory.

They have no name, so nothing is left of them when the process ends, however that happens.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

_PIECE_BYTES: Final = 1024 * 1024
_THREADS_MAX: Final = 8


class SpoolError(Exception):
    """There is no room, the disk does not do it, or the file has been closed."""


class SpoolFile:
    """One body. Closed by whoever it was opened for, at the latest when it is forgotten.

    Attributes:
        size_bytes: written so far.
    """

    __slots__ = ("_closed", "_fd", "_lock", "_spool", "_taken_bytes", "size_bytes")

    def __init__(self, spool: Spool, fd: int) -> None:
        self._spool = spool
        self._fd: int | None = fd
        self._lock = threading.Lock()
        self._closed = False
        self._taken_bytes = 0
        self.size_bytes = 0

    async def append(self, parts: list[bytes]) -> None:
        """Write in a thread, after what is there. Raises SpoolError."""
        self._take(sum(map(len, parts)))
        await trio.to_thread.run_sync(
            self._write, parts, abandon_on_cancel=True, limiter=self._spool.threads
        )

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """At most so much from there, read in a thread; less at the end. Raises SpoolError."""
        return await trio.to_thread.run_sync(
            self.read_here, offset, size_bytes, abandon_on_cancel=True, limiter=self._spool.threads
        )

    def read_here(self, offset: int, size_bytes: int) -> bytes:
        """As `read`, in this thread."""
        with self._using() as fd:
            return os.pread(fd, size_bytes, offset)

    def pieces(self) -> Iterator[bytes]:
        """All of it, read in this thread. Raises SpoolError."""
        for offset in range(0, self.size_bytes, _PIECE_BYTES):
            yield self.read_here(offset, _PIECE_BYTES)

    def passed(self) -> int:
        """The descriptor, to be passed to another process at once. Raises SpoolError: closed."""
        if self._fd is None or self._closed:
            raise SpoolError("closed")
        return self._fd

    def measure(self) -> None:
        """Another process has written it. Raises SpoolError: there is no room for so much."""
        size_bytes = os.fstat(self.passed()).st_size
        self._take(size_bytes - self.size_bytes)
        self.size_bytes = size_bytes

    def close(self) -> None:
        """The file is gone, once no thread reads or writes it. Nothing happens where it was."""
        if not self._closed:
            self._closed = True
            self._spool.used_bytes -= self._taken_bytes
            self._free()

    def __del__(self) -> None:
        self.close()

    def _take(self, size_bytes: int) -> None:
        self._spool.take(size_bytes)
        self._taken_bytes += size_bytes

    def _write(self, parts: list[bytes]) -> None:
        for part in parts:
            view = memoryview(part)
            while view:
                with self._using() as fd:
                    written = os.pwrite(fd, view, self.size_bytes)
                self.size_bytes += written
                view = view[written:]

    @contextmanager
    def _using(self) -> Iterator[int]:
        """Whoever closes it meanwhile does not wait, and the descriptor stays this file's."""
        try:
            with self._lock:
                yield self.passed()
        except OSError as error:
            raise SpoolError from error
        finally:
            if self._closed:
                self._free()

    def _free(self) -> None:
        if self._lock.acquire(blocking=False):
            fd, self._fd = self._fd, None
            self._lock.release()
            if fd is not None:
                os.close(fd)


class Spool:
    """Of one gateway.

    Attributes:
        used_bytes: by all files that are open.
        threads: for what blocks: a disk that hangs uses up no others.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        """`folder`: None means that of the system for temporary files."""
        self._folder = folder
        self._max_bytes = max_bytes
        self.used_bytes = 0
        self.threads = trio.CapacityLimiter(_THREADS_MAX)

    def check(self, size_bytes: int) -> None:
        """Raises SpoolError: there is no room for so much more."""
        if self.used_bytes + size_bytes > self._max_bytes:
            raise SpoolError("full")

    def take(self, size_bytes: int) -> None:
        """Before so much is written to one of its files. Raises SpoolError: there is no room."""
        self.check(size_bytes)
        self.used_bytes += size_bytes

    def open(self) -> SpoolFile:
        """A file that nobody else can open, of mode 0600. Raises SpoolError."""
        try:
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                return SpoolFile(self, os.dup(file.fileno()))
        except OSError as error:
            raise SpoolError from error
