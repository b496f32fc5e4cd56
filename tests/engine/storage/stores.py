"""What tests of files start from: a store over a ledger with one account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.clock import Clock, wall_ms
from engine.file_ids import new_file_id
from engine.ledger import Ledger, open_ledger
from engine.ledger.file_rows import FileRow
from engine.storage.blobs import Blobs, DirectoryBlobs
from engine.storage.files import FileSettings, FileStore
from engine.storage.keeping import open_files
from tests.engine.ledger.samples import raw_database, settings_for
from tests.gateways import place_empty_ledger

LIMIT = 1_000_000
"""What an account may store in a test that says nothing else."""


class Wall:
    """A clock that stands until it is set."""

    now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@dataclass(slots=True)
class Stored:
    """An open store, and the account that uses it."""

    store: FileStore
    ledger: Ledger
    account_id: str
    folder: Path
    limit_bytes: int = field(default=LIMIT)

    async def put(self, data: bytes, filename: str = "a.txt", **said: Any) -> FileRow:
        """Store a file, in two parts."""
        account_id = said.pop("account_id", self.account_id)
        told = {"purpose": "user_data", "mime_type": "text/plain"} | said
        async with self.store.open_upload(account_id, self.limit_bytes) as upload:
            half = len(data) // 2
            await upload.append(data[:half])
            await upload.append(data[half:])
            return await upload.finish(filename=filename, **told)

    def blobs(self) -> list[str]:
        """The keys of all that is stored, with what is only half-written."""
        kept = self.folder.glob("??/*") if self.folder.exists() else ()
        return sorted(path.name for path in [*kept, *self.folder.glob("tmp/*")])

    async def check(self) -> None:
        """What must hold whenever all is quiet: memory, rows and blobs say the same."""
        quota, rows = self.store.quota, await self.ledger.file_sizes()
        assert (quota.open_uploads, quota.reserved_bytes) == (0, 0)
        assert (quota.stored_files, quota.stored_bytes) == (len(rows), sum(rows.values()))
        assert await self.store.blobs.sizes("") == rows
        assert not self.store.in_hand


@asynccontextmanager
async def open_store(
    folder: Path,
    *,
    blobs: Blobs | None = None,
    clock: Clock = wall_ms,
    may_wait: bool = False,
    **changes: Any,
) -> AsyncIterator[Stored]:
    """A store in `folder`, with the database beside it; opened again, the same one."""
    bounds = {"file_max_bytes": LIMIT, "account_max_bytes": LIMIT, "sweep_s": 3_600.0}
    settings = FileSettings(**(bounds | changes))
    place = blobs or DirectoryBlobs(folder / "files")
    async with (
        ledger_with_account(folder, clock) as (ledger, account_id),
        open_files(ledger, place, settings, clock, may_wait=may_wait) as store,
    ):
        yield Stored(store, ledger, account_id, folder / "files")


@asynccontextmanager
async def ledger_with_account(folder: Path, clock: Clock) -> AsyncIterator[tuple[Ledger, str]]:
    """The ledger, and its first account."""
    path = folder / "ledger.db"
    if not path.exists():
        place_empty_ledger(path)  # a copy, which is a database of its own from now on
        with raw_database(path) as db:
            db.execute("UPDATE file_store SET store_id = ?", (new_file_id(),))
    async with open_ledger(replace(settings_for(path), clock=clock)) as ledger:
        accounts = await ledger.accounts() or [await ledger.create_account("first")]
        yield ledger, accounts[0].account_id
