"""A file that comes: takes of its account's room as it grows, is there once all is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from engine.errors import DigestMismatchError, StorageUnavailableError
from engine.ledger.file_rows import FileOrigin, FileRow
from engine.storage.blobs import BlobWriter
from engine.storage.quota import Reservation
from engine.storage.refusals import told

if TYPE_CHECKING:
    from engine.storage.files import FileStore


class Upload:
    """A file that comes, made by `FileStore.open_upload`.

    Attributes:
        file_id: the bare id that it will have.
        size_bytes: of what has come.
    """

    def __init__(
        self,
        store: FileStore,
        account_id: str,
        file_id: str,
        writer: BlobWriter,
        reservation: Reservation,
    ) -> None:
        self.file_id = file_id
        self._store = store
        self._account_id = account_id
        self._writer = writer
        self._reservation = reservation
        self._ended = self._kept = self._late = False

    @property
    def size_bytes(self) -> int:
        return self._writer.size_bytes

    async def append(self, data: bytes) -> None:
        """Add bytes; some wait in memory before they are written.

        Raises:
            FileTooLargeError, StorageLimitError: there is no room for so many.
            InsufficientStorageError: the disk is full.
            StorageUnavailableError: nothing can be stored now.
        """
        size_bytes = self.size_bytes + len(data)
        self._store.check_size(size_bytes)
        self._reservation.reach(size_bytes)
        await told(self._writer.append(data))

    async def finish(
        self,
        *,
        filename: str,
        purpose: str,
        mime_type: str,
        expires_at_ms: int | None = None,
        sha256: str | None = None,
        key_id: str | None = None,
        origin: FileOrigin = "upload",
        request_id: str | None = None,
    ) -> FileRow:
        """All has come: the file is there, durably, when this returns. Once.

        Args:
            expires_at_ms: None: as the store's settings have it.
            sha256: what its sender says, in hexadecimal digits; compared.

        Raises:
            DigestMismatchError: something else has come.
            InsufficientStorageError: the disk is full.
            StorageUnavailableError: it cannot be stored now.
        """
        assert not self._ended, "a file comes once"
        self._ended = True
        digest = await told(self._writer.finish())
        if sha256 is not None and sha256.lower() != digest:
            raise DigestMismatchError("The content that has arrived has another SHA-256 digest.")
        store = self._store
        now_ms = store.clock()
        if expires_at_ms is None and store.settings.expires_after_s is not None:
            expires_at_ms = now_ms + int(store.settings.expires_after_s * 1_000)
        row = FileRow(
            file_id=self.file_id,
            account_id=self._account_id,
            key_id=key_id,
            filename=filename,
            purpose=purpose,
            mime_type=mime_type,
            size_bytes=self.size_bytes,
            sha256=digest,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            origin=origin,
            request_id=request_id,
        )
        store.in_hand.add(row.file_id)
        try:
            await told(self._writer.commit(row.file_id))
        except BaseException:
            self._undo(row)
            raise
        await self._write_down(row)
        return row

    async def _write_down(self, row: FileRow) -> None:
        """From here on it comes to be there, or is removed, whoever waits."""
        self._reservation.handed_over = True
        with trio.move_on_after(self._store.settings.commit_timeout_s, shield=True) as scope:
            await self._store.ledger.add_file(row, lambda: self._keep(row), lambda: self._undo(row))
        if scope.cancelled_caught and not self._kept:
            self._late = True
            raise StorageUnavailableError("The file could not be stored.", retry_after_s=5)

    def _keep(self, row: FileRow) -> None:
        self._kept = True
        self._store.in_hand.discard(row.file_id)
        self._reservation.keep(row.size_bytes)
        if self._late:  # its sender was told that it is not
            self._store.unwanted.add(row.file_id)
            self._store.due.set()

    def _undo(self, row: FileRow) -> None:
        self._store.in_hand.discard(row.file_id)
        self._reservation.give_back()
        self._store.doubtful.add(row.file_id)
        self._store.due.set()

    async def close(self) -> None:
        """What was not committed is removed. Bounded in time."""
        await self._writer.discard()
