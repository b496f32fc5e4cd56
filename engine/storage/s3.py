"""A store of blobs that is a bucket of S3, or of a server that speaks it.

obstore's synchronous calls in threads: its own asynchrony is asyncio's. A blob gathers in a file of
this machine that has no name, and is then sent, in parts where it is large, so that it is there
whole or not at all. What is read is read by ranges. Every request has a deadline and few retries.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from engine.storage.blobs import (
    MARKER,
    BlobMissingError,
    Digest,
    GatheringWriter,
    StoreError,
    in_thread,
)

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

PART_BYTES: Final = 8 * 1024 * 1024
"""What is larger is sent in parts of this size, two at once."""
WINDOW_BYTES: Final = 1024 * 1024
"""What one request reads."""
_PARTS_MAX: Final = 9_000
_PARTS_AT_ONCE: Final = 2
_SLICE_BYTES: Final = 1024 * 1024
_THREADS_MAX: Final = 16
_RETRIES_MAX: Final = 2
_CONNECT_S: Final = 5
_REASON_MAX_CHARS: Final = 300
_BLOBS: Final = "blobs"


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """Where a bucket is. Without keys AWS's own variables are taken, or the machine's role.

    Attributes:
        prefix: of all keys in it; may be empty.
        timeout_s: of one request, which moves `PART_BYTES` at most.
        spool_dir: where blobs gather; None: the system's folder for temporary files.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    allow_http: bool = False
    timeout_s: float = 30.0
    spool_dir: Path | None = None


class S3Blobs:
    """See `engine.storage.blobs.Blobs`. Keys are `PREFIX/blobs/a/abc…`."""

    def __init__(self, settings: BucketSettings) -> None:
        """Nothing is asked yet. Raises StoreError: it cannot be spoken to so."""
        self._spool_dir = settings.spool_dir
        self._threads = trio.CapacityLimiter(_THREADS_MAX)
        self._bucket = _doing(lambda: _open_bucket(settings))

    async def read_marker(self) -> str | None:
        """See `Blobs`."""
        try:
            said = await self._do(lambda: bytes(self._bucket.get(MARKER).bytes()))
        except BlobMissingError:
            return None
        return said.decode("utf-8", "replace").strip()

    async def mark(self, store_id: str) -> None:
        """See `Blobs`."""
        data = f"{store_id}\n".encode()
        await in_thread(lambda: _writing(lambda: self._bucket.put(MARKER, data)), self._threads)

    async def clean(self) -> None:
        """See `Blobs`. Nothing half-written has a name; of an upload in parts that nobody ends the
        bucket's own rules dispose."""
        await trio.lowlevel.checkpoint()

    async def open_writer(self) -> S3Writer:
        """See `Blobs`."""

        def open_file() -> S3Writer:
            with tempfile.TemporaryFile(dir=self._spool_dir, buffering=0) as file:
                return S3Writer(os.dup(file.fileno()), self._bucket, self._threads)

        return await in_thread(open_file, self._threads)

    async def open_reader(self, key: str) -> S3Reader:
        """See `Blobs`."""
        path = _path_of(key)
        about = await self._do(lambda: self._bucket.head(path))
        return S3Reader(self._bucket, path, about["size"], self._threads)

    async def delete(self, key: str) -> None:
        """See `Blobs`."""

        def remove() -> None:
            with suppress(BlobMissingError):
                _doing(lambda: self._bucket.delete(_path_of(key)))

        await in_thread(remove, self._threads)

    async def sizes(self, prefix: str) -> Mapping[str, int]:
        """See `Blobs`."""
        folder = f"{_BLOBS}/{prefix[:1]}".rstrip("/")

        def list_all() -> dict[str, int]:
            found = {}
            for objects in self._bucket.list(folder, chunk_size=1_000):
                for each in objects:
                    key = each["path"].rpartition("/")[2]
                    if each["path"] == _path_of(key) and key.startswith(prefix):
                        found[key] = each["size"]
            return found

        return await self._do(list_all)

    async def _do(self, work: Callable[[], T]) -> T:
        return await in_thread(lambda: _doing(work), self._threads)


class S3Writer(GatheringWriter):
    """See `BlobWriter`."""

    def __init__(self, fd: int, bucket: S3Store, threads: trio.CapacityLimiter) -> None:
        super().__init__(fd, threads)
        self._bucket = bucket

    async def commit(self, key: str) -> None:
        """See `BlobWriter`."""
        await in_thread(lambda: self._commit(_path_of(key)), self._threads)

    def _commit(self, path: str) -> None:
        with self.lock:
            _writing(lambda: self._send(path))
            try:
                self.opened()  # else nobody waits any more
            except StoreError:
                _doing(lambda: self._bucket.delete(path))
                raise

    def _send(self, path: str) -> None:
        if self.size_bytes <= PART_BYTES:
            data = b"".join(self._slices())
            self._bucket.put(path, data, use_multipart=False)
            return
        self._bucket.put(
            path,
            self._slices(),
            chunk_size=max(PART_BYTES, self.size_bytes // _PARTS_MAX + 1),
            max_concurrency=_PARTS_AT_ONCE,
        )

    def _slices(self) -> Iterator[bytes]:
        for offset in range(0, self.size_bytes, _SLICE_BYTES):
            yield os.pread(self.opened(), _SLICE_BYTES, offset)


class S3Reader:
    """See `BlobReader`. It keeps what one request has read."""

    def __init__(
        self, bucket: S3Store, path: str, size_bytes: int, threads: trio.CapacityLimiter
    ) -> None:
        self._bucket = bucket
        self._path = path
        self._size_bytes = size_bytes
        self._threads = threads
        self._window = b""
        self._window_at = 0

    async def read(self, offset: int, size_bytes: int, digest: Digest | None = None) -> bytes:
        """See `BlobReader`."""

        def read() -> bytes:
            data = self._read(offset, size_bytes)
            if digest is not None:
                digest.update(data)
            return data

        return await in_thread(read, self._threads)

    def _read(self, offset: int, size_bytes: int) -> bytes:
        end = min(offset + size_bytes, self._size_bytes)
        held = range(self._window_at, self._window_at + len(self._window) + 1)
        if offset < end and not (offset in held and end in held):
            window_end = min(max(end, offset + WINDOW_BYTES), self._size_bytes)
            self._window = _doing(lambda: self._ask(offset, window_end))
            self._window_at = offset
        start = offset - self._window_at
        return self._window[start : start + end - offset] if offset < end else b""

    def _ask(self, start: int, end: int) -> bytes:
        if (start, end) == (0, self._size_bytes):  # some servers answer that without a range
            return bytes(self._bucket.get(self._path).bytes())
        return bytes(self._bucket.get_range(self._path, start=start, end=end))

    def close(self) -> None:
        """See `BlobReader`."""
        self._window = b""


def _path_of(key: str) -> str:
    return f"{_BLOBS}/{key[:1]}/{key}"


def _open_bucket(settings: BucketSettings) -> S3Store:
    from obstore.store import S3Store  # 15 MB that only those need who have a bucket

    timeout = timedelta(seconds=settings.timeout_s)
    connect_s = min(settings.timeout_s, _CONNECT_S)
    said: dict[str, Any] = {
        "endpoint": settings.endpoint,
        "region": settings.region,
        "access_key_id": settings.access_key,
        "secret_access_key": settings.secret_key,
    }
    return S3Store(
        settings.bucket,
        prefix=settings.prefix or None,
        client_options={
            "allow_http": settings.allow_http,
            "timeout": timeout,
            "connect_timeout": timedelta(seconds=connect_s),
        },
        retry_config={"max_retries": _RETRIES_MAX, "retry_timeout": timeout},
        **{name: value for name, value in said.items() if value is not None},
    )


def _doing(work: Callable[[], T]) -> T:
    """Raises StoreError in place of what obstore raises; what has its own errors keeps them."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        return work()
    except (NotFoundError, FileNotFoundError):
        raise BlobMissingError from None
    except BaseError as error:
        reason = " ".join(str(error).split())[:_REASON_MAX_CHARS]
        raise StoreError(f"{type(error).__name__}: {reason}") from None


def _writing(work: Callable[[], T]) -> T:
    """As `_doing`; what is not there, where something is to be written, is the bucket."""
    try:
        return _doing(work)
    except BlobMissingError:
        raise StoreError("there is no such bucket") from None
