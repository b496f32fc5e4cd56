"""Files that come in parts of their own, in any order and after a restart: OpenAI's uploads.

A part is a stored file that nobody is shown, so that it counts as stored, goes in time, and is
found by no other account. The whole is copied together from the parts that its client names; its id
was chosen at the start, so that whoever was cut off and completes it again gets the same file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from engine.errors import (
    DigestMismatchError,
    FileTooLargeError,
    InvalidRequestError,
    NotFoundError,
    StorageLimitError,
    UploadBusyError,
)
from engine.file_ids import new_file_id
from engine.ledger.file_rows import FileRow
from engine.ledger.upload_rows import PART_PURPOSE, UploadRow, UploadStatus
from engine.storage.files import FileStore
from engine.storage.upload import Upload

PART_MAX_BYTES: Final = 64 * 1024 * 1024
OPEN_S: Final = 3_600
"""So long after its start an upload is completed, or never."""
OPEN_MAX: Final = 1_000
"""Uploads of an account that are open."""
PARTS_MAX: Final = 1_000
_GRACE_MS: Final = 600_000
"""Parts stay a little longer than their upload is open: it may be under way."""
_PREFIX: Final = "upload_"
_PART_PREFIX: Final = "part_"
_MIME_TYPE: Final = "application/octet-stream"
_MD5_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client announces of a file; `expires_after_s` is the file's."""

    filename: str
    purpose: str
    mime_type: str
    size_bytes: int
    expires_after_s: int | None = None


class PartedUploads:
    """Of one gateway."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._busy: set[str] = set()
        """Uploads that are being ended."""

    async def create(
        self, account_id: str, key_id: str | None, limit_bytes: int, wanted: Wanted
    ) -> UploadRow:
        """The start of one. Nothing is taken of what the account may store before it comes.

        Raises:
            FileTooLargeError: no file may be so large.
            StorageLimitError: the account has less room left.
            ConcurrencyLimitedError: it has too many of them open.
            UnavailableError: the database cannot be written now.
        """
        self._store.check_size(wanted.size_bytes)
        if self._store.used_bytes(account_id) + wanted.size_bytes > limit_bytes:
            raise StorageLimitError(
                f"The account may store {limit_bytes:,} bytes, and has less room left."
            )
        now_ms = self._store.clock()
        row = UploadRow(
            upload_id=_PREFIX + new_file_id(),
            account_id=account_id,
            key_id=key_id,
            file_id=new_file_id(),
            filename=wanted.filename,
            purpose=wanted.purpose,
            mime_type=wanted.mime_type,
            size_bytes=wanted.size_bytes,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + OPEN_S * 1_000,
            file_expires_after_s=wanted.expires_after_s,
        )
        await self._store.ledger.add_upload(row, OPEN_MAX)
        return row

    async def find(self, account_id: str, upload_id: str) -> UploadRow:
        """Raises NotFoundError: this account has none of that id."""
        row = await self._store.ledger.find_upload(account_id, upload_id)
        if row is None:
            raise NotFoundError(f"There is no upload '{upload_id[:100]}'.")
        return row

    @asynccontextmanager
    async def open_part(
        self, account_id: str, upload_id: str, limit_bytes: int, size_bytes: int | None
    ) -> AsyncIterator[Part]:
        """Room for a part, for the block; `size_bytes` where that is known beforehand.

        Raises:
            GatewayError: as `find` and `FileStore.open_upload`.
            InvalidRequestError: the upload has ended, or has too many parts.
            FileTooLargeError: the part is.
        """
        row = await self.find(account_id, upload_id)
        self._check_open(row)
        if size_bytes is not None and size_bytes > PART_MAX_BYTES:
            raise _part_too_large()
        parts = await self._store.ledger.parts_of(account_id, upload_id)
        if len(parts) >= PARTS_MAX:
            raise InvalidRequestError(f"An upload has {PARTS_MAX:,} parts at most.")
        async with self._store.open_upload(account_id, limit_bytes, size_bytes) as upload:
            yield Part(self, row, upload)

    async def added(self, row: UploadRow, part: FileRow) -> None:
        """A part is there. Raises InvalidRequestError: the upload has ended meanwhile."""
        try:
            self._check_open(await self.find(row.account_id, row.upload_id))
        except InvalidRequestError:
            with trio.move_on_after(self._store.settings.commit_timeout_s, shield=True):
                await self._store.remove([part.file_id])
            raise

    async def complete(
        self,
        account_id: str,
        upload_id: str,
        part_ids: Sequence[str],
        md5: str | None,
        limit_bytes: int,
    ) -> tuple[UploadRow, FileRow]:
        """Make the file of these parts, in this order; again it is the same one.

        Args:
            md5: of all of it, as hexadecimal digits or base64; compared.

        Raises:
            NotFoundError: this account has no such upload, or no longer its file.
            InvalidRequestError: it has ended, or these parts are not all of it.
            DigestMismatchError: it has another digest.
            UploadBusyError: another request ends it.
            GatewayError: as `FileStore.open_upload` and `Upload.finish`.
        """
        expected = None if md5 is None else _md5_of(md5)
        with self._ending(upload_id):
            row = await self.find(account_id, upload_id)
            if row.status == "completed":
                return row, await self._store.find(account_id, row.file_id)
            self._check_open(row)
            made = await self._store.ledger.find_file(account_id, row.file_id)
            if made is None:
                parts = await self._chosen(row, part_ids)
                made = await self._joined(row, parts, expected, limit_bytes)
            await self._end(row, "completed")
        return await self.find(account_id, upload_id), made

    async def cancel(self, account_id: str, upload_id: str) -> UploadRow:
        """It comes to nothing, and its parts go. Again it is cancelled.

        Raises:
            NotFoundError: this account has no such upload.
            InvalidRequestError: it was completed, or its time is over.
            UploadBusyError: another request ends it.
        """
        with self._ending(upload_id):
            row = await self.find(account_id, upload_id)
            if row.status != "cancelled":
                self._check_open(row)
                await self._end(row, "cancelled")
        return await self.find(account_id, upload_id)

    # ---- how -------------------------------------------------------------------------------------

    @contextmanager
    def _ending(self, upload_id: str) -> Iterator[None]:
        """One request at a time ends it. Raises UploadBusyError."""
        if upload_id in self._busy:
            raise UploadBusyError("Another request ends this upload.")
        self._busy.add(upload_id)
        try:
            yield
        finally:
            self._busy.discard(upload_id)

    def _check_open(self, row: UploadRow) -> None:
        if row.status != "pending":
            raise InvalidRequestError(f"The upload is {row.status} already.")
        if row.expires_at_ms <= self._store.clock():
            raise InvalidRequestError("The upload has expired: begin again.")

    async def _chosen(self, row: UploadRow, part_ids: Sequence[str]) -> list[FileRow]:
        """The parts that are named, in that order. Raises InvalidRequestError: they are not all."""
        come = await self._store.ledger.parts_of(row.account_id, row.upload_id)
        by_id = {shown_part_id(part): part for part in come}
        unknown = [part_id for part_id in part_ids if part_id not in by_id]
        if unknown:
            raise InvalidRequestError(
                f"The upload has no part '{unknown[0][:100]}'.", param="part_ids"
            )
        if len(set(part_ids)) < len(part_ids):
            raise InvalidRequestError("A part is named twice.", param="part_ids")
        parts = [by_id[part_id] for part_id in part_ids]
        size_bytes = sum(part.size_bytes for part in parts)
        if size_bytes != row.size_bytes:
            raise InvalidRequestError(
                f"The file was to have {row.size_bytes:,} bytes; these parts have {size_bytes:,}.",
                param="part_ids",
            )
        return parts

    async def _joined(
        self, row: UploadRow, parts: Sequence[FileRow], expected: bytes | None, limit_bytes: int
    ) -> FileRow:
        """The file. Its parts are stored beside it until it is there: that much more is let in."""
        store, md5 = self._store, hashlib.md5(usedforsecurity=False)
        beside = sum(part.size_bytes for part in parts)
        async with store.open_upload(
            row.account_id, limit_bytes + beside, row.size_bytes, file_id=row.file_id
        ) as upload:
            for part in parts:
                async with aclosing(store.pieces(part)) as pieces:
                    async for piece in pieces:
                        if expected is not None:
                            await trio.to_thread.run_sync(md5.update, piece)
                        await upload.append(piece)
            if expected is not None and md5.digest() != expected:
                raise DigestMismatchError("The file has another MD5 digest.", param="md5")
            ends_at_ms = None
            if row.file_expires_after_s is not None:
                ends_at_ms = store.clock() + row.file_expires_after_s * 1_000
            return await upload.finish(
                filename=row.filename,
                purpose=row.purpose,
                mime_type=row.mime_type,
                expires_at_ms=ends_at_ms,
                key_id=row.key_id,
            )

    async def _end(self, row: UploadRow, status: UploadStatus) -> None:
        ledger = self._store.ledger
        await ledger.end_upload(row.upload_id, status)
        parts = await ledger.parts_of(row.account_id, row.upload_id)
        await self._store.remove([part.file_id for part in parts])


class Part:
    """A part that comes; made by `PartedUploads.open_part`."""

    def __init__(self, uploads: PartedUploads, row: UploadRow, upload: Upload) -> None:
        self.upload = upload
        self._uploads = uploads
        self._row = row

    async def finish(self) -> FileRow:
        """All of it has come: it is there, durably, when this returns.

        Raises:
            InvalidRequestError: it is empty, or the upload has ended meanwhile.
            FileTooLargeError: it is larger than parts may be.
            GatewayError: as `Upload.finish`.
        """
        if self.upload.size_bytes > PART_MAX_BYTES:
            raise _part_too_large()
        if not self.upload.size_bytes:
            raise InvalidRequestError("The part is empty.", param="data")
        row = self._row
        part = await self.upload.finish(
            filename="",
            purpose=PART_PURPOSE,
            mime_type=_MIME_TYPE,
            expires_at_ms=row.expires_at_ms + _GRACE_MS,
            key_id=row.key_id,
            request_id=row.upload_id,
        )
        await self._uploads.added(row, part)
        return part


def shown_part_id(part: FileRow) -> str:
    """A part's id as clients are told it."""
    return _PART_PREFIX + part.file_id


def _part_too_large() -> FileTooLargeError:
    return FileTooLargeError(f"A part may have {PART_MAX_BYTES:,} bytes at most.")


def _md5_of(said: str) -> bytes:
    """Raises InvalidRequestError: it is none."""
    try:
        found = bytes.fromhex(said) if len(said) == 2 * _MD5_BYTES else base64.b64decode(said)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != _MD5_BYTES:
        raise InvalidRequestError("'md5' has 32 hexadecimal digits.", param="md5")
    return found
