"""The part of the ledger that knows what files are stored, whose they are, and how much that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from engine.ledger import file_jobs, upload_jobs
from engine.ledger.books import Books
from engine.ledger.file_rows import FilePage, FileQuery, FileRow, ProviderFile, StoredBytes
from engine.ledger.idempotency import Keeping
from engine.ledger.journal import Journal
from engine.ledger.records import LedgerSettings
from engine.ledger.sqlite import Store
from engine.ledger.upload_rows import UploadRow, UploadStatus


class Filing(Keeping):
    """Rows only: what is stored is `engine.storage`'s. All of it raises UnavailableError where the
    database cannot be read, or written, now.

    Attributes:
        files_at_start: what each account had stored when the ledger was opened.
        file_store_id: what the place says where the files are.
    """

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store)
        self.files_at_start: tuple[StoredBytes, ...] = tuple(file_jobs.stored_bytes(store.db))
        self.file_store_id: str = file_jobs.store_id(store.db)

    async def add_file(
        self, row: FileRow, apply: Callable[[], None], undo: Callable[[], None]
    ) -> None:
        """Write a file down. In the Trio thread `apply` is called once that is durable, or `undo`
        where it fails, also when nobody waits for it any more.

        Raises:
            ConflictError: there is, or was, one of this id.
            NotFoundError: no such account.
        """
        await self._journal.run(
            lambda store: file_jobs.add_file(store, row), lambda _: apply(), undo
        )

    async def remove_files(
        self,
        file_ids: Sequence[str],
        apply: Callable[[Sequence[FileRow]], None],
        *,
        account_id: str | None = None,
    ) -> list[FileRow]:
        """Remove the rows of those that are there, of an account or of any; these. `apply` is told
        of them as `add_file` does."""
        return await self._journal.run(
            lambda store: file_jobs.remove_files(store, file_ids, account_id), apply
        )

    async def stored_bytes(
        self, apply: Callable[[Sequence[StoredBytes]], None]
    ) -> list[StoredBytes]:
        """What each account has stored that has anything; `apply` is told of it when exactly the
        changes before this have been applied."""
        return await self._journal.run(lambda store: file_jobs.stored_bytes(store.db), apply)

    async def find_file(self, account_id: str, file_id: str) -> FileRow | None:
        """An account's file, by its bare id."""
        return await trio.to_thread.run_sync(
            file_jobs.find_file, self._settings.path, account_id, file_id, self.clock()
        )

    async def page_of_files(self, account_id: str, query: FileQuery) -> FilePage:
        """A page of an account's files. Raises InvalidRequestError: a cursor is none."""
        return await trio.to_thread.run_sync(
            file_jobs.page_of_files, self._settings.path, account_id, query, self.clock()
        )

    async def expired_files(self, limit: int) -> list[str]:
        """The ids of files whose time is over."""
        return await trio.to_thread.run_sync(
            file_jobs.expired_files, self._settings.path, self.clock(), limit
        )

    async def file_sizes(self, prefix: str = "") -> dict[str, int]:
        """The sizes of all files whose bare ids begin so, by id."""
        return await trio.to_thread.run_sync(file_jobs.file_sizes, self._settings.path, prefix)

    async def forget_removed_files(self, before_ms: int) -> None:
        """Forget where files stood in lists that were removed before a moment."""
        await self._journal.run(lambda store: file_jobs.forget_removed(store, before_ms))

    async def put_copy(self, copy: ProviderFile) -> None:
        """Remember a copy at a provider, in the place of an earlier one."""
        await self._journal.run(lambda store: file_jobs.put_copy(store, copy))

    async def find_copy(self, file_id: str, provider: str, credential: str) -> ProviderFile | None:
        """The copy of a file at a provider, for one credential; also one that has expired there."""
        return await trio.to_thread.run_sync(
            file_jobs.find_copy, self._settings.path, file_id, provider, credential
        )

    async def first_copy(self, file_id: str) -> ProviderFile | None:
        """The copy of a file that was known first: of what a provider has made, the file."""
        return await trio.to_thread.run_sync(file_jobs.first_copy, self._settings.path, file_id)

    async def files_called(
        self, provider: str, credential: str, provider_file_ids: Sequence[str]
    ) -> list[tuple[str, str, str | None]]:
        """Files by what a provider calls them: that, the bare id, and whose it is; None: it was
        removed here, and not there yet."""
        return await trio.to_thread.run_sync(
            file_jobs.files_called, self._settings.path, provider, credential, provider_file_ids
        )

    async def names_at(self, account_id: str, provider: str, credential: str) -> dict[str, str]:
        """The bare ids of an account's files by what a provider calls them: of its latest 20,000
        that are there."""
        return await trio.to_thread.run_sync(
            file_jobs.names_at, self._settings.path, account_id, provider, credential
        )

    async def forget_copy(self, copy: ProviderFile) -> None:
        """A copy is gone, or is none any more; one that has replaced it stays."""
        await self._journal.run(lambda store: file_jobs.forget_copy(store, copy))

    async def unwanted_copies(self, after: str, limit: int) -> list[ProviderFile]:
        """Copies of files that are no more, in the order of ids, behind one."""
        return await trio.to_thread.run_sync(
            file_jobs.unwanted_copies, self._settings.path, after, limit
        )

    async def add_upload(self, row: UploadRow, open_max: int) -> None:
        """Write an upload in parts down. Raises ConcurrencyLimitedError: the account has
        `open_max` of them open."""
        await self._journal.run(lambda store: upload_jobs.add_upload(store, row, open_max))

    async def find_upload(self, account_id: str, upload_id: str) -> UploadRow | None:
        """An account's upload in parts, also one that has ended."""
        return await trio.to_thread.run_sync(
            upload_jobs.find_upload, self._settings.path, account_id, upload_id
        )

    async def parts_of(self, account_id: str, upload_id: str) -> list[FileRow]:
        """What has come of it."""
        return await trio.to_thread.run_sync(
            upload_jobs.parts_of, self._settings.path, account_id, upload_id
        )

    async def end_upload(self, upload_id: str, status: UploadStatus) -> None:
        """It has come to its end, unless it had before."""
        await self._journal.run(lambda store: upload_jobs.end_upload(store, upload_id, status))

    async def forget_uploads(self, before_ms: int) -> None:
        """Forget those whose time was over before a moment."""
        await self._journal.run(lambda store: upload_jobs.forget_uploads(store, before_ms))
