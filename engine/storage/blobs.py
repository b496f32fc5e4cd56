"""Where the bytes of files are: what a store of them does, and the one that is a folder.

A blob is there whole, under its key, or not at all; it never changes. What is being written waits
under no key until it is committed: that is all that a killed process leaves, and the next removes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

import trio

T = TypeVar("T")

PIECE_BYTES: Final = 256 * 1024
"""What is read at once."""
WRITTEN_BYTES: Final = 512 * 1024
"""What gathers before it is written."""
THREADS_MAX: Final = 8
MARKER: Final = "parshall-store"
"""The name of what says whose files these are."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISCARD_S: Final = 5.0
_PARTIAL: Final = re.compile(r"[0-9a-f]{32}")
_KEY: Final = re.compile(r"[a-z2-7]{26}")


class StoreError(Exception):
    """The store does not do it: unreachable, too slow, an error of the disk."""


class StoreFullError(StoreError):
    """There is no room left."""


class BlobMissingError(StoreError):
    """There is no blob of this key."""


class BlobWriter(Protocol):
    """One that is being written. Whoever opened it discards it at the end; what was committed
    stays.

    Attributes:
        size_bytes: of what was appended.
    """

    size_bytes: int

    async def append(self, data: bytes) -> None:
        """Add bytes. Raises StoreError."""

    async def finish(self) -> str:
        """Everything has been appended: its digest, SHA-256 in hexadecimal. Raises StoreError."""

    async def commit(self, key: str) -> None:
        """Make it durable under its key. Cancelled or failed, nothing comes to be there, at the
        latest a moment later. Raises StoreError."""

    async def discard(self) -> None:
        """Remove what was not committed. Shielded, and bounded in time; again does nothing."""


class BlobReader(Protocol):
    """One that is being read; it may go meanwhile."""

    async def read(self, offset: int, size_bytes: int, digest: Digest | None = None) -> bytes:
        """So much from there, less at the end; taken into the digest too. Raises StoreError."""

    def close(self) -> None:
        """Nothing is read any more."""


class Digest(Protocol):
    """As `hashlib` has them."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class Blobs(Protocol):
    """A store. Keys are bare ids of files (`engine.file_ids`)."""

    async def read_marker(self) -> str | None:
        """What says whose files these are; None: there is no such thing. Raises StoreError."""

    async def mark(self, store_id: str) -> None:
        """Write it. Raises StoreError."""

    async def clean(self) -> None:
        """Remove what was left half-written; at the start only. Raises StoreError."""

    async def open_writer(self) -> BlobWriter:
        """A new blob. Raises StoreError."""

    async def open_reader(self, key: str) -> BlobReader:
        """Raises StoreError, BlobMissingError."""

    async def delete(self, key: str) -> None:
        """It is gone; also where there was none. Raises StoreError."""

    async def sizes(self, prefix: str) -> Mapping[str, int]:
        """The sizes of all blobs whose keys begin so, by key. Raises StoreError."""


class DirectoryBlobs:
    """A folder: blobs in folders named by the first two characters of their keys, what is being
    written in `tmp`. All of it is its owner's alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tmp = folder / "tmp"
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    async def read_marker(self) -> str | None:
        """See `Blobs`."""

        def read() -> str | None:
            try:
                return (self._folder / MARKER).read_text().strip()
            except FileNotFoundError:
                return None

        return await self._do(read)

    async def mark(self, store_id: str) -> None:
        """See `Blobs`."""
        await self._do(lambda: self._mark(store_id))

    def _mark(self, store_id: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tmp.mkdir(mode=0o700, exist_ok=True)
        partial = self._tmp / MARKER
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{store_id}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(self._folder / MARKER)
        sync_folder(self._folder)
        sync_folder(self._folder.absolute().parent)

    async def clean(self) -> None:
        """See `Blobs`. Nothing else is removed that may lie there."""

        def clean() -> None:
            for path in self._tmp.iterdir():
                if path.name == MARKER or _PARTIAL.fullmatch(path.name):
                    path.unlink()

        await self._do(clean)

    async def open_writer(self) -> DirectoryWriter:
        """See `Blobs`."""
        return await self._do(lambda: DirectoryWriter(self._folder, self._tmp, self._threads))

    async def open_reader(self, key: str) -> DirectoryReader:
        """See `Blobs`."""
        return await self._do(lambda: DirectoryReader(self._path(key), self._threads))

    async def delete(self, key: str) -> None:
        """See `Blobs`."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._path(key).unlink()

        await self._do(remove)

    async def sizes(self, prefix: str) -> Mapping[str, int]:
        """See `Blobs`."""
        return await self._do(lambda: self._sizes(prefix))

    def _sizes(self, prefix: str) -> dict[str, int]:
        found = {}
        for name in os.listdir(self._folder):
            if len(name) == 2 and name.startswith(prefix[:2]) and (self._folder / name).is_dir():
                with os.scandir(self._folder / name) as entries:
                    for entry in entries:
                        ours = _KEY.fullmatch(entry.name) and entry.name.startswith(name)
                        if ours and entry.name.startswith(prefix):
                            about = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(about.st_mode):
                                found[entry.name] = about.st_size
        return found

    def _path(self, key: str) -> Path:
        return path_of(self._folder, key)

    async def _do(self, work: Callable[[], T]) -> T:
        return await in_thread(work, self._threads)


class GatheringWriter:
    """What appends to a file of this machine. Bytes gather, threads write them and take the digest.

    Attributes:
        size_bytes: of what was appended.
        discarded: nobody waits for it any more.
        lock: held by the thread that uses the file.
    """

    _fd: int | None = None

    def __init__(self, fd: int, threads: trio.CapacityLimiter) -> None:
        self.size_bytes = 0
        self.discarded = False
        self.lock = threading.Lock()
        self._fd = fd
        self._threads = threads
        self._digest = hashlib.sha256()
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    async def append(self, data: bytes) -> None:
        """See `BlobWriter`."""
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        self.size_bytes += len(data)
        if self._gathered_bytes >= WRITTEN_BYTES:
            await self._write()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def finish(self) -> str:
        """See `BlobWriter`."""
        await self._write()
        return self._digest.hexdigest()

    async def _write(self) -> None:
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0

        def write() -> None:
            with self.lock:
                for part in gathered:
                    self._digest.update(part)
                    view = memoryview(part)
                    while view:
                        view = view[os.write(self.opened(), view) :]

        await in_thread(write, self._threads)

    def opened(self) -> int:
        """The descriptor. Raises StoreError: it was discarded."""
        if self._fd is None or self.discarded:
            raise StoreError("it was discarded")
        return self._fd

    async def discard(self) -> None:
        """See `BlobWriter`."""
        if not self.discarded:
            self.discarded = True
            self._gathered = []
            with trio.move_on_after(_DISCARD_S, shield=True), suppress(StoreError):
                await in_thread(self._discard, self._threads)

    def _discard(self) -> None:
        with self.lock:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        """Where nobody has waited for it to be opened, or to be discarded."""
        self._close()


class DirectoryWriter(GatheringWriter):
    """See `BlobWriter`."""

    def __init__(self, folder: Path, tmp: Path, threads: trio.CapacityLimiter) -> None:
        """In a thread. Raises OSError."""
        self._folder = folder
        self._partial: Path | None = tmp / secrets.token_hex(16)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        super().__init__(os.open(self._partial, flags, 0o600), threads)

    async def commit(self, key: str) -> None:
        """See `BlobWriter`."""
        await in_thread(lambda: self._commit(path_of(self._folder, key)), self._threads)

    def _commit(self, target: Path) -> None:
        with self.lock:
            os.fsync(self.opened())
            assert self._partial is not None, "it is committed once"
            if not target.parent.exists():
                target.parent.mkdir(mode=0o700, exist_ok=True)
                sync_folder(self._folder)
            self._partial.rename(target)
            try:
                sync_folder(target.parent)
                self.opened()  # else nobody waits any more
            except BaseException:
                target.unlink()
                raise
            finally:
                self._partial = None

    def _close(self) -> None:
        super()._close()
        partial, self._partial = self._partial, None
        if partial is not None:
            with suppress(OSError):
                partial.unlink()


class DirectoryReader:
    """See `BlobReader`. It keeps the file open: what is removed meanwhile is read to its end."""

    def __init__(self, path: Path, threads: trio.CapacityLimiter) -> None:
        """In a thread. Raises OSError, BlobMissingError."""
        self._threads = threads
        self._lock = threading.Lock()
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd: int | None = os.open(path, flags)
        except FileNotFoundError:
            raise BlobMissingError from None

    async def read(self, offset: int, size_bytes: int, digest: Digest | None = None) -> bytes:
        """See `BlobReader`."""

        def read() -> bytes:
            with self._lock:
                if self._fd is None:
                    raise StoreError("it was closed")
                data = os.pread(self._fd, size_bytes, offset)
            if digest is not None:
                digest.update(data)
            return data

        return await in_thread(read, self._threads)

    def close(self) -> None:
        """See `BlobReader`. A thread that reads meanwhile closes it when it is forgotten."""
        if self._lock.acquire(blocking=False):
            fd, self._fd = self._fd, None
            self._lock.release()
            if fd is not None:
                os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", None) is not None:
            self.close()


def path_of(folder: Path, key: str) -> Path:
    """Where a blob is in a folder of blobs."""
    return folder / key[:2] / key


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def in_thread(work: Callable[[], T], threads: trio.CapacityLimiter) -> T:
    """Do what blocks in a thread; who is cancelled does not wait for it.

    Raises:
        StoreError: the disk does not do it; `StoreFullError`: there is no room.
    """
    try:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=threads)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise (StoreFullError if error.errno in _FULL else StoreError)(reason) from error
