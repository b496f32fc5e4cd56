"""Files are there for their account, whole, as they were sent, until they are removed."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
import trio

from engine.errors import (
    ConcurrencyLimitedError,
    DigestMismatchError,
    FileDamagedError,
    FileTooLargeError,
    InvalidRequestError,
    StorageLimitError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)
from engine.file_ids import bare_file_id, new_file_id, shown_file_id
from engine.ledger.file_rows import FileQuery, FileRow
from engine.storage.blobs import PIECE_BYTES, WRITTEN_BYTES, path_of
from tests.engine.storage.stores import Stored, Wall, open_store

TEXT = b"what is stored\n" * 100


async def names(stored: Stored, **asked: object) -> list[str]:
    page = await stored.store.page(stored.account_id, FileQuery(**asked))  # type: ignore[arg-type]
    return [row.filename for row in page.files]


async def test_what_is_stored_is_found_read_and_removed(tmp_path: Path) -> None:
    async with open_store(tmp_path, clock=Wall()) as stored:
        row = await stored.put(TEXT, "notes.txt", key_id="key_1")

        assert row == await stored.store.find(stored.account_id, f"file-{row.file_id}")
        assert (row.size_bytes, row.sha256) == (len(TEXT), sha256(TEXT).hexdigest())
        assert (row.created_at_ms, row.expires_at_ms) == (Wall.now_ms, None)
        assert await stored.store.read(row) == TEXT
        assert stored.store.used_bytes(stored.account_id) == len(TEXT)
        await stored.check()

        assert await stored.store.delete(stored.account_id, row.file_id) == row
        assert stored.store.used_bytes(stored.account_id) == 0
        assert stored.blobs() == []
        with pytest.raises(StoredFileNotFoundError):
            await stored.store.find(stored.account_id, row.file_id)
        with pytest.raises(StoredFileNotFoundError):
            await stored.store.delete(stored.account_id, row.file_id)


async def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await stored.put(TEXT)
    async with open_store(tmp_path) as stored:
        assert await stored.store.read(await stored.store.find(stored.account_id, row.file_id)) == (
            TEXT
        )
        await stored.check()


@pytest.mark.parametrize("size_bytes", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, WRITTEN_BYTES * 3 + 17])
async def test_every_size_comes_back_whole_and_in_parts(tmp_path: Path, size_bytes: int) -> None:
    data = bytes(range(251)) * (size_bytes // 251 + 1)
    data = data[:size_bytes]
    async with open_store(tmp_path, file_max_bytes=10**7) as stored:
        stored.limit_bytes = 10**7
        row = await stored.put(data)
        assert await stored.store.read(row) == data
        for offset, wanted in ((0, 10), (size_bytes // 2, size_bytes), (size_bytes, 1)):
            pieces = stored.store.pieces(row, offset, wanted)
            assert b"".join([piece async for piece in pieces]) == data[offset : offset + wanted]


async def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await stored.put(TEXT)
        path = path_of(stored.folder, row.file_id)
        folders = [stored.folder, stored.folder / "tmp", path.parent]
        assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
        assert path.stat().st_mode & 0o777 == 0o600


async def test_nobody_sees_what_is_another_accounts(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await stored.put(TEXT)
        other = (await stored.ledger.create_account("other")).account_id

        for refused in (stored.store.find, stored.store.delete):
            with pytest.raises(StoredFileNotFoundError) as theirs:
                await refused(other, row.file_id)
            with pytest.raises(StoredFileNotFoundError) as nobodys:
                await refused(other, unknown := new_file_id())
            assert str(theirs.value) == str(nobodys.value).replace(unknown, row.file_id)
        assert (await stored.store.page(other, FileQuery())).files == ()
        with pytest.raises(InvalidRequestError):
            await stored.store.page(other, FileQuery(after=row.file_id))
        assert stored.store.used_bytes(other) == 0
        assert await stored.store.read(row) == TEXT


def test_an_id_has_three_spellings() -> None:
    bare = new_file_id()
    for style in ("openai", "anthropic", "gemini"):
        assert bare_file_id(shown_file_id(bare, style)) == bare
    assert bare_file_id(bare) == bare
    odd = ("", "file-", bare.upper(), bare[:-1], bare + "a", f"/{bare}", f"file-{bare}\n")
    for other in (*odd, f"files/../{bare}", f"file-file-{bare}", "..", f"{bare[:-1]}/", "é" * 26):
        assert bare_file_id(other) is None, other


async def test_pages_go_both_ways_and_over_what_is_removed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        rows = [
            await stored.put(b"x", f"{n}", purpose="vision" if n % 2 else "batch") for n in range(6)
        ]
        ids = [row.file_id for row in rows]
        assert await names(stored) == ["5", "4", "3", "2", "1", "0"]
        assert await names(stored, order="asc", limit=2) == ["0", "1"]
        assert await names(stored, limit=2, after=ids[4]) == ["3", "2"]
        assert await names(stored, limit=2, before=ids[1]) == ["3", "2"]
        assert await names(stored, limit=2, before=ids[4]) == ["5"]
        assert await names(stored, order="asc", purposes=("vision",)) == ["1", "3", "5"]
        await stored.store.delete(stored.account_id, ids[3])
        assert await names(stored, limit=2, after=ids[3]) == ["2", "1"]
        assert await names(stored, limit=2, before=ids[3]) == ["5", "4"]
        page = await stored.store.page(stored.account_id, FileQuery(limit=2, after=ids[2]))
        assert [row.filename for row in page.files] == ["1", "0"]
        assert not page.has_more
        with pytest.raises(InvalidRequestError, match="'after' names no file"):
            await names(stored, after=new_file_id())


async def failing(stored: Stored) -> None:
    async with stored.store.open_upload(stored.account_id, 100) as upload:
        await upload.append(b"x" * 10)
        raise ZeroDivisionError


async def test_what_was_not_finished_was_never_there(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        async with stored.store.open_upload(stored.account_id, 100, 60) as upload:
            await upload.append(b"x" * 10)
            assert stored.store.quota.reserved_bytes == 60
        assert stored.blobs() == []
        with pytest.raises(ZeroDivisionError):
            await failing(stored)
        assert stored.blobs() == []
        await stored.check()


async def test_another_digest_than_was_said_is_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        with pytest.raises(DigestMismatchError):
            await stored.put(TEXT, sha256=sha256(b"other").hexdigest())
        await stored.check()
        assert stored.blobs() == []
        assert (await stored.put(TEXT, sha256=sha256(TEXT).hexdigest().upper())).size_bytes


async def test_no_file_is_larger_than_files_may_be(tmp_path: Path) -> None:
    async with open_store(tmp_path, file_max_bytes=1_000) as stored:
        with pytest.raises(FileTooLargeError):
            async with stored.store.open_upload(stored.account_id, 10_000, 1_001):
                raise AssertionError("known beforehand")
        with pytest.raises(FileTooLargeError):
            await stored.put(b"x" * 1_001)
        await stored.put(b"x" * 1_000)
        await stored.check()


async def test_an_account_has_so_much_room_and_so_many_files(tmp_path: Path) -> None:
    async with open_store(tmp_path, account_files_max=3) as stored:
        stored.limit_bytes = 1_000
        first = await stored.put(b"x" * 600)
        with pytest.raises(StorageLimitError, match="1,000 bytes and has stored 600"):
            await stored.put(b"x" * 401)
        await stored.put(b"x" * 400)
        with pytest.raises(StorageLimitError):
            async with stored.store.open_upload(stored.account_id, 1_000, 1):
                raise AssertionError("there is no room")
        await stored.put(b"")
        with pytest.raises(StorageLimitError, match="3 files at most"):
            await stored.put(b"")
        await stored.store.delete(stored.account_id, first.file_id)
        await stored.put(b"x" * 600)
        await stored.check()


async def test_uploads_at_once_are_bounded(tmp_path: Path) -> None:
    async with open_store(tmp_path, uploads_max=4) as stored:
        others = [(await stored.ledger.create_account(f"{n}")).account_id for n in range(4)]
        async with stored.store.open_upload(stored.account_id, 100):
            with pytest.raises(ConcurrencyLimitedError):
                await stored.put(b"x")
            async with (
                stored.store.open_upload(others[0], 100),
                stored.store.open_upload(others[1], 100),
                stored.store.open_upload(others[2], 100),
            ):
                with pytest.raises(StorageUnavailableError):
                    await stored.put(b"x", account_id=others[3])
        await stored.put(b"x")
        await stored.check()


async def test_a_damaged_file_is_never_read_to_its_end(tmp_path: Path) -> None:
    data = b"x" * (PIECE_BYTES + 100)
    async with open_store(tmp_path) as stored:

        async def read_of(row: FileRow) -> bytes:
            pieces, got = stored.store.pieces(row), b""
            while True:
                try:
                    got += await anext(pieces)
                except FileDamagedError:
                    return got

        changed, short, gone = [await stored.put(data) for _ in range(3)]
        path = path_of(stored.folder, changed.file_id)
        path.write_bytes(data[:-1] + b"y")
        assert await read_of(changed) == data[:PIECE_BYTES]
        with path_of(stored.folder, short.file_id).open("r+b") as file:
            file.truncate(PIECE_BYTES + 99)
        assert await read_of(short) == data[:PIECE_BYTES]
        path_of(stored.folder, gone.file_id).unlink()
        assert await read_of(gone) == b""


async def test_a_file_that_is_removed_is_read_to_its_end(tmp_path: Path) -> None:
    data = b"x" * (PIECE_BYTES * 2)
    async with open_store(tmp_path) as stored:
        row = await stored.put(data)
        pieces = stored.store.pieces(row)
        first = await anext(pieces)
        await stored.store.delete(stored.account_id, row.file_id)
        assert first + b"".join([piece async for piece in pieces]) == data
        with pytest.raises(StoredFileNotFoundError):
            await stored.store.read(row)


async def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        with trio.CancelScope() as scope:
            async with stored.store.open_upload(stored.account_id, 1_000_000) as upload:
                await upload.append(b"x" * 100)
                scope.cancel()
                await upload.append(b"x" * WRITTEN_BYTES)
        assert scope.cancelled_caught
        assert stored.blobs() == []
        await stored.check()
