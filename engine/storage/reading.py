"""Reading a stored file, piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from engine.ledger.file_rows import FileRow
from engine.ledger.filing import Filing
from engine.storage.blobs import PIECE_BYTES, BlobMissingError, BlobReader, Blobs
from engine.storage.refusals import damaged, not_found, told

T = TypeVar("T")


class Pieces(Protocol):
    """The bytes of a file, wherever they are; whoever stops before the end closes it."""

    def __aiter__(self) -> Pieces: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class FilePieces:
    """A file from a place on, in pieces of `PIECE_BYTES`; what is read whole is compared with its
    digest, and its last piece is given only when it is the same. Whoever stops before the end
    closes it.

    Iterating raises:
        StoredFileNotFoundError: it has been removed meanwhile.
        FileDamagedError: it is not what was stored; the log has more.
        StorageUnavailableError: the store does not do it now.
    """

    def __init__(self, blobs: Blobs, ledger: Filing, row: FileRow, offset: int, end: int) -> None:
        self._blobs = blobs
        self._ledger = ledger
        self._row = row
        self._offset = offset
        self._end = min(row.size_bytes, end)
        whole = (offset, self._end) == (0, row.size_bytes)
        self._digest = hashlib.sha256() if whole else None
        self._reader: BlobReader | None = None

    def __aiter__(self) -> FilePieces:
        return self

    async def __anext__(self) -> bytes:
        if self._offset >= self._end:
            self._close()
            raise StopAsyncIteration
        try:
            return await self._next()
        except BaseException:
            self._close()
            raise

    async def aclose(self) -> None:
        """Nothing is read any more."""
        self._offset = self._end
        self._close()

    async def _next(self) -> bytes:
        row = self._row
        if self._reader is None:
            self._reader = await self._present(self._blobs.open_reader(row.file_id))
        wanted = min(PIECE_BYTES, self._end - self._offset)
        piece = await self._present(self._reader.read(self._offset, wanted, self._digest))
        self._offset += len(piece)
        if len(piece) < wanted:
            raise damaged(row, "it is shorter than it was")
        digest = self._digest
        if digest is not None and self._offset == self._end and digest.hexdigest() != row.sha256:
            raise damaged(row, "it has another digest")
        return piece

    async def _present(self, work: Awaitable[T]) -> T:
        try:
            return await told(work)
        except BlobMissingError:
            pass
        row = self._row
        if await self._ledger.find_file(row.account_id, row.file_id) is None:
            raise not_found(row.file_id)
        raise damaged(row, "there is nothing of it")

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
