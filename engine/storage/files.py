"""Files of accounts: stored whole, found by who may, read as they were written, gone in time.

The order of what is durable: the blob, then the row that names it; a removal the other way round.
So whatever is interrupted leaves at most a blob without a row, which the next start removes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio

from engine.admission.plans import Plan
from engine.alarm import Alarm
from engine.clock import Clock
from engine.errors import (
    ConcurrencyLimitedError,
    FileTooLargeError,
    GatewayError,
    StorageUnavailableError,
)
from engine.file_ids import bare_file_id, new_file_id
from engine.ledger.file_rows import FilePage, FileQuery, FileRow, ProviderFile
from engine.ledger.filing import Filing
from engine.ledger.records import ConflictError
from engine.owned import Pin
from engine.storage.blobs import Blobs, StoreError
from engine.storage.quota import Quota
from engine.storage.reading import FilePieces, Pieces
from engine.storage.refusals import not_found, told
from engine.storage.upload import Upload

logger = logging.getLogger(__name__)

SHARE_OF_ACCOUNT: Final = 4
"""One account has a fourth of the open uploads at most."""
_TOLD_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The bounds of a store.

    Attributes:
        file_max_bytes: of one file.
        account_max_bytes: of an account whose plan says nothing else.
        account_files_max: how many files an account has at most.
        expires_after_s: of files whose client names no end; None: they stay.
        uploads_max: open at once.
        commit_timeout_s: so long a file that has come whole waits for its row.
        sweep_s: how often expired files are removed.
    """

    file_max_bytes: int
    account_max_bytes: int
    account_files_max: int = 100_000
    expires_after_s: float | None = None
    uploads_max: int = 200
    commit_timeout_s: float = 10.0
    sweep_s: float = 60.0


class FileStore:
    """Of one gateway. Made by `engine.storage.keeping.open_files`.

    Attributes:
        settings: its bounds.
        ledger: what knows the rows, and the copies at providers.
        problem: why nothing is stored now, for the operator; None: it is.
        leftovers: keys of what may lie in the store, and has no row.
        doubtful: keys of files that failed, and that may have a row that was never counted.
        unwanted: keys of files that were written down too late for whoever waited.
        due: there are such.
        in_hand: keys that are being committed.
        fetch: gives what a provider has made, from a place to another.
        keep_made: has what a provider has made be an account's, by whom and by which names.
        remove_copy: asks a provider to remove a copy of a file that is no more; whether it has.
    """

    def __init__(self, ledger: Filing, blobs: Blobs, settings: FileSettings, clock: Clock) -> None:
        self.ledger = ledger
        self.settings = settings
        self.problem: str | None = None
        self.leftovers: set[str] = set()
        self.doubtful: set[str] = set()
        self.unwanted: set[str] = set()
        self.in_hand: set[str] = set()
        self.due = Alarm()
        self.remove_copy: Callable[[ProviderFile], Awaitable[bool]] | None = None
        self.fetch: Callable[[FileRow, int, int], Pieces] | None = None
        self.keep_made: Callable[[str, Pin, Collection[str]], Awaitable[None]] | None = None
        self._told: OrderedDict[tuple[str, str], tuple[Pin, str]] = OrderedDict()
        """Files that an account was told of and that are not known to be its yet, the latest last:
        by the account and the bare id, where they are and what they are called there."""
        self.blobs = blobs
        self.clock = clock
        self.quota = Quota(settings.account_files_max)
        self.quota.load(ledger.files_at_start)

    # ---- how much ------------------------------------------------------------------------------

    def used_bytes(self, account_id: str) -> int:
        """Of the account's files that are there."""
        return self.quota.stored_of(account_id)

    def limit_bytes(self, plan: Plan | None) -> int:
        """What an account on this plan may store."""
        if plan is None or plan.storage_max_bytes is None:
            return self.settings.account_max_bytes
        return plan.storage_max_bytes

    # ---- in ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open_upload(
        self,
        account_id: str,
        limit_bytes: int,
        size_bytes: int | None = None,
        *,
        file_id: str | None = None,
    ) -> AsyncIterator[Upload]:
        """Room for one file, for the block. What was not finished in it is gone behind it.

        Args:
            limit_bytes: what the account may store; see `limit_bytes`.
            size_bytes: taken of that now, where it is known beforehand; more is taken as it comes.
            file_id: a bare id from `new_file_id`, for who has told it already.

        Raises:
            FileTooLargeError: it is larger than files may be.
            StorageLimitError: the account has less room left.
            ConcurrencyLimitedError: the account sends as many files as it may at once.
            InsufficientStorageError: the disk is full.
            StorageUnavailableError: nothing can be stored now, or too much is under way.
        """
        if self.problem is not None:
            raise StorageUnavailableError("Files cannot be stored now.", retry_after_s=10)
        self._check_room(account_id)
        self.check_size(size_bytes or 0)
        reservation = self.quota.open(account_id, limit_bytes)
        try:
            reservation.reach(size_bytes or 0)
            writer = await told(self.blobs.open_writer())
            upload = Upload(self, account_id, file_id or new_file_id(), writer, reservation)
            try:
                yield upload
            finally:
                with trio.move_on_after(self.settings.commit_timeout_s, shield=True):
                    await upload.close()
        finally:
            if not reservation.handed_over:
                reservation.give_back()

    def _check_room(self, account_id: str) -> None:
        uploads_max = self.settings.uploads_max
        if self.quota.uploads_of(account_id) >= max(1, uploads_max // SHARE_OF_ACCOUNT):
            raise ConcurrencyLimitedError("The account is sending as many files as it may at once.")
        if self.quota.open_uploads >= uploads_max:
            raise StorageUnavailableError("Too many files are being sent.", retry_after_s=1)

    def check_size(self, size_bytes: int) -> None:
        """Raises FileTooLargeError: no file may be so large."""
        if size_bytes > self.settings.file_max_bytes:
            raise FileTooLargeError(
                f"A file may have {self.settings.file_max_bytes:,} bytes at most."
            )

    # ---- which there are -----------------------------------------------------------------------

    async def find(self, account_id: str, file_id: str) -> FileRow:
        """An account's file, by its id in any spelling.

        Raises:
            StoredFileNotFoundError: this account has none of that id.
            UnavailableError: the database cannot be read now.
        """
        bare = bare_file_id(file_id)
        row = None if bare is None else await self.ledger.find_file(account_id, bare)
        if row is None and bare is not None and (account_id, bare) in self._told:
            row = await self._find_told(account_id, bare)
        if row is None:
            raise not_found(file_id)
        return row

    def tell(self, account_id: str, file_id: str, pin: Pin, name: str) -> None:
        """An account is told of a file that a provider has made meanwhile: who asks for it before
        it is known to be the account's finds it all the same."""
        self._told[account_id, file_id] = pin, name
        if len(self._told) > _TOLD_MAX:
            self._told.popitem(last=False)

    async def _find_told(self, account_id: str, file_id: str) -> FileRow | None:
        pin, name = self._told[account_id, file_id]
        if self.keep_made is None:
            return None
        try:
            await self.keep_made(account_id, pin, (name,))
        except GatewayError:
            raise StorageUnavailableError("What the file is cannot be found out now.") from None
        self._told.pop((account_id, file_id), None)  # not before: others ask for it meanwhile
        return await self.ledger.find_file(account_id, file_id)

    async def page(self, account_id: str, query: FileQuery) -> FilePage:
        """A page of an account's files.

        Raises:
            InvalidRequestError: a cursor is none.
            UnavailableError: the database cannot be read now.
        """
        return await self.ledger.page_of_files(account_id, query)

    # ---- out -----------------------------------------------------------------------------------

    def pieces(self, row: FileRow, offset: int = 0, size_bytes: int | None = None) -> Pieces:
        """The file from a place on; all of it, without a size. Iterating raises as `FilePieces`
        says; or UpstreamError, where a provider has it."""
        end = row.size_bytes if size_bytes is None else offset + size_bytes
        if row.origin == "provider":
            if self.fetch is None:
                raise not_found(row.file_id)
            return self.fetch(row, offset, end)
        return FilePieces(self.blobs, self.ledger, row, offset, end)

    async def read(self, row: FileRow) -> bytes:
        """All of a small file. Raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces(row)])

    # ---- gone ----------------------------------------------------------------------------------

    async def delete(self, account_id: str, file_id: str) -> FileRow:
        """Remove an account's file, by its id in any spelling; what it was. Copies of it at
        providers go a moment later.

        Raises:
            StoredFileNotFoundError: this account has none of that id.
            UnavailableError: the database cannot be written now.
        """
        row = await self.find(account_id, file_id)
        removed = await self.ledger.remove_files(
            [row.file_id], self._removed, account_id=account_id
        )
        if not removed:  # somebody else was faster
            raise not_found(file_id)
        if row.origin != "provider":
            await self._clear([row.file_id])
        return row

    async def adopt(self, row: FileRow, copy: ProviderFile) -> None:
        """What a provider has made is an account's from now on; it stays there, and takes no room
        here. Again and again, if need be. Raises UnavailableError."""
        await self.ledger.put_copy(copy)
        with suppress(ConflictError):  # it is the account's, or was and is to go
            await self.ledger.add_file(row, lambda: None, lambda: None)

    def _removed(self, rows: Sequence[FileRow]) -> None:
        """Called once that is durable, whoever waits for it."""
        stored = [row for row in rows if row.origin != "provider"]
        self.quota.removed(stored)
        self.leftovers.update(row.file_id for row in stored)
        self.due.set()

    async def remove(self, file_ids: Sequence[str]) -> list[FileRow]:
        """Remove files whosever they are; those that were there. What is stored of them goes with
        `tidy`. Raises UnavailableError."""
        return await self.ledger.remove_files(file_ids, self._removed)

    async def tidy(self) -> None:
        """Remove what failed and what was removed from the store. What cannot be removed now is
        tried again with the next. Raises UnavailableError."""
        if self.unwanted:
            unwanted = tuple(self.unwanted)
            await self.remove(unwanted)
            self.unwanted.difference_update(unwanted)
        if self.doubtful:
            doubtful = tuple(self.doubtful)
            await self.ledger.remove_files(doubtful, lambda _: None)
            self.doubtful.difference_update(doubtful)
            self.leftovers.update(doubtful)
        await self._clear(tuple(self.leftovers))

    async def _clear(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self.blobs.delete(key)
            except StoreError as error:
                logger.error("files that were removed are still stored, for now: %s", error)
                return
            self.leftovers.discard(key)
