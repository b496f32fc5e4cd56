"""What a provider has made is an account's file, and stays with the provider."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from sqlite_utils import Database

from engine.errors import StoredFileNotFoundError
from engine.file_ids import new_file_id
from engine.ledger.file_rows import FileQuery, FileRow, ProviderFile
from engine.ledger.migrations import m011_files, m016_provided_files
from engine.storage.reading import Pieces
from tests.engine.storage.stores import Stored, open_store

DRAWN = b"\x89PNG" + bytes(2_000)


class Fetched:
    """Stands for a provider's answer."""

    def __init__(self, data: bytes) -> None:
        self._data = [data]

    def __aiter__(self) -> Fetched:
        return self

    async def __anext__(self) -> bytes:
        if not self._data:
            raise StopAsyncIteration
        return self._data.pop()

    async def aclose(self) -> None:
        self._data.clear()


def fetch(row: FileRow, begin: int, end: int) -> Pieces:
    return Fetched(DRAWN[begin:end])


async def adopt(stored: Stored, provider_file_id: str = "file-there1") -> FileRow:
    row = FileRow(
        file_id=new_file_id(),
        account_id=stored.account_id,
        key_id=None,
        filename="drawn.png",
        purpose="assistants_output",
        mime_type="image/png",
        size_bytes=len(DRAWN),
        sha256=sha256(provider_file_id.encode()).hexdigest(),
        created_at_ms=stored.store.clock(),
        origin="provider",
    )
    copy = ProviderFile(
        row.file_id, "openai", "0" * 16, provider_file_id, None, "image/png", row.created_at_ms
    )
    await stored.store.adopt(row, copy)
    return row


async def test_it_is_listed_and_read_and_takes_no_room(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        stored.store.fetch = fetch
        row = await adopt(stored)

        assert await stored.store.find(stored.account_id, f"file-{row.file_id}") == row
        page = await stored.store.page(stored.account_id, FileQuery())
        assert page.files == (row,)
        assert await stored.store.read(row) == DRAWN
        assert b"".join([each async for each in stored.store.pieces(row, 4, 10)]) == DRAWN[4:14]
        assert stored.store.used_bytes(stored.account_id) == 0
        await stored.check()


async def test_it_is_there_after_a_restart_though_nothing_of_it_is_stored(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await adopt(stored)
    async with open_store(tmp_path) as stored:
        assert await stored.store.find(stored.account_id, row.file_id) == row
        await stored.check()


async def test_what_the_provider_calls_it_leads_back_to_it(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await adopt(stored)
        ledger = stored.store.ledger
        named = ["file-there1", "file-unknown1"]
        found = await ledger.files_called("openai", "0" * 16, named)
        assert found == [("file-there1", row.file_id, stored.account_id)]
        assert await ledger.files_called("openai", "1" * 16, named) == []
        first = await ledger.first_copy(row.file_id)
        assert first is not None
        assert first.provider_file_id == "file-there1"

        await stored.store.delete(stored.account_id, row.file_id)
        found = await ledger.files_called("openai", "0" * 16, named)
        assert found == [("file-there1", row.file_id, None)]


async def test_once_removed_it_is_not_taken_up_again(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await adopt(stored)
        await stored.store.delete(stored.account_id, row.file_id)
        assert [copy.file_id for copy in await stored.store.ledger.unwanted_copies("", 9)] == [
            row.file_id
        ]
        copy = (await stored.store.ledger.unwanted_copies("", 9))[0]
        await stored.store.adopt(row, copy)
        with pytest.raises(StoredFileNotFoundError):
            await stored.store.find(stored.account_id, row.file_id)
        await stored.check()


def test_files_of_earlier_versions_keep_their_places_and_none_is_given_twice() -> None:
    db = Database(memory=True)
    m011_files.apply(db)
    insert = (
        "INSERT INTO files (file_id, account_id, filename, purpose, mime_type, size_bytes, sha256,"
        " created_at_ms, origin) VALUES (?, 'a', 'f', 'p', 'm', 1, ?, 0, ?) RETURNING seq"
    )
    for name in ("one", "two", "three"):
        db.execute(insert, (name, "0" * 64, "upload")).fetchall()
    db.execute("DELETE FROM files WHERE file_id = 'three'")

    m016_provided_files.apply(db)

    kept = db.execute("SELECT seq, file_id FROM files ORDER BY seq").fetchall()
    assert kept == [(1, "one"), (2, "two")]
    assert db.execute(insert, ("four", "0" * 64, "provider")).fetchall() == [(4,)]
