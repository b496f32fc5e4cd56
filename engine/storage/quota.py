"""How much each account has stored, and what is on its way: exact, in memory.

One process owns the database, so that what is asked and what is taken is one step here. Nothing
waits, and nothing is taken twice or given back twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.errors import StorageLimitError
from engine.ledger.file_rows import FileRow, StoredBytes


@dataclass(slots=True)
class _Account:
    stored_bytes: int = 0
    stored_files: int = 0
    reserved_bytes: int = 0
    open_uploads: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.stored_files or self.open_uploads)


class Quota:
    """Of one store.

    Attributes:
        stored_bytes, reserved_bytes: of all accounts.
        open_uploads: reservations that are open.
    """

    def __init__(self, files_max: int) -> None:
        """`files_max`: of one account."""
        self._files_max = files_max
        self._accounts: dict[str, _Account] = {}
        self.stored_bytes = self.stored_files = 0
        self.reserved_bytes = self.open_uploads = 0

    def load(self, stored: Iterable[StoredBytes]) -> None:
        """What is there at the start."""
        for each in stored:
            account = self._accounts.setdefault(each.account_id, _Account())
            account.stored_bytes, account.stored_files = each.size_bytes, each.files
            self.stored_bytes += each.size_bytes
            self.stored_files += each.files

    def stored_of(self, account_id: str) -> int:
        """The bytes of an account's files that are there."""
        account = self._accounts.get(account_id)
        return 0 if account is None else account.stored_bytes

    def stored(self) -> dict[str, tuple[int, int]]:
        """The bytes and the number of files of each account that has any."""
        return {
            account_id: (account.stored_bytes, account.stored_files)
            for account_id, account in self._accounts.items()
            if account.stored_files
        }

    def uploads_of(self, account_id: str) -> int:
        """How many reservations of an account are open."""
        account = self._accounts.get(account_id)
        return 0 if account is None else account.open_uploads

    def open(self, account_id: str, limit_bytes: int) -> Reservation:
        """Begin to take for one file. Raises StorageLimitError: there are too many."""
        account = self._accounts.setdefault(account_id, _Account())
        if account.stored_files + account.open_uploads >= self._files_max:
            raise StorageLimitError(
                f"The account may have {self._files_max:,} files at most; delete some first."
            )
        account.open_uploads += 1
        self.open_uploads += 1
        return Reservation(self, account_id, limit_bytes)

    def removed(self, rows: Iterable[FileRow]) -> None:
        """Files are gone."""
        for row in rows:
            account = self._accounts[row.account_id]
            account.stored_bytes -= row.size_bytes
            account.stored_files -= 1
            self.stored_bytes -= row.size_bytes
            self.stored_files -= 1
            self._forget(row.account_id)

    def _take(self, account_id: str, size_bytes: int, limit_bytes: int) -> None:
        account = self._accounts[account_id]
        used_bytes = account.stored_bytes + account.reserved_bytes
        if used_bytes + size_bytes > limit_bytes:
            raise StorageLimitError(
                f"The account may store {limit_bytes:,} bytes and has stored"
                f" {account.stored_bytes:,}: this file does not fit. Delete others first."
            )
        account.reserved_bytes += size_bytes
        self.reserved_bytes += size_bytes

    def _end(self, account_id: str, reserved_bytes: int, stored_bytes: int | None) -> None:
        account = self._accounts[account_id]
        account.reserved_bytes -= reserved_bytes
        account.open_uploads -= 1
        self.reserved_bytes -= reserved_bytes
        self.open_uploads -= 1
        if stored_bytes is not None:
            account.stored_bytes += stored_bytes
            account.stored_files += 1
            self.stored_bytes += stored_bytes
            self.stored_files += 1
        self._forget(account_id)

    def _forget(self, account_id: str) -> None:
        if self._accounts[account_id].is_empty:
            del self._accounts[account_id]


class Reservation:
    """What one file takes of an account's room while it comes. It ends once: as a file, or not.

    Attributes:
        handed_over: somebody else than who opened it sees to its end.
    """

    __slots__ = ("_account_id", "_limit_bytes", "_open", "_quota", "handed_over", "size_bytes")

    def __init__(self, quota: Quota, account_id: str, limit_bytes: int) -> None:
        self._quota = quota
        self._account_id = account_id
        self._limit_bytes = limit_bytes
        self._open = True
        self.handed_over = False
        self.size_bytes = 0

    def reach(self, size_bytes: int) -> None:
        """Take so much in all, unless it is taken. Raises StorageLimitError: nothing has changed
        then."""
        more = size_bytes - self.size_bytes
        if more > 0:
            self._quota._take(self._account_id, more, self._limit_bytes)
            self.size_bytes = size_bytes

    def keep(self, size_bytes: int) -> None:
        """The file is there, with so many bytes."""
        self._close(size_bytes)

    def give_back(self) -> None:
        """There is no file. Does nothing where it has ended."""
        if self._open:
            self._close(None)

    def _close(self, stored_bytes: int | None) -> None:
        assert self._open, "it ends once"
        self._open = False
        self._quota._end(self._account_id, self.size_bytes, stored_bytes)
