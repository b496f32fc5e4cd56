"""The start removes what a dead process has left; the sweep what is over; nothing else goes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from engine.errors import StoredFileNotFoundError
from engine.file_ids import new_file_id
from engine.ledger.file_rows import FileQuery, ProviderFile
from engine.storage import keeping
from engine.storage.blobs import MARKER, DirectoryBlobs, StoreError, path_of
from engine.storage.keeping import WrongStoreError, collect
from tests.engine.ledger.samples import raw_database
from tests.engine.storage.stores import Stored, Wall, open_store

MINUTE_MS = 60_000


@asynccontextmanager
async def sweeping(folder: Path, wall: Wall) -> AsyncIterator[Stored]:
    """A store that is swept every minute of Trio's clock."""
    never = float("inf")  # the clock jumps while threads work
    async with open_store(folder, clock=wall, sweep_s=60.0, commit_timeout_s=never) as stored:
        yield stored


async def until(condition: Callable[[], bool]) -> None:
    """Let sweeps come until one has made the condition true."""
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        await trio.sleep(30)


def copy_of(file_id: str, **said: object) -> ProviderFile:
    about = {"provider": "sim", "credential": "0" * 16, "provider_file_id": f"file-{file_id[:5]}"}
    rest = {"uri": None, "mime_type": "text/plain", "uploaded_at_ms": 1}
    return ProviderFile(file_id, **(about | rest | said))  # type: ignore[arg-type]


async def test_what_has_expired_is_not_there_and_goes_with_the_sweep(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    async with sweeping(tmp_path, wall) as stored:
        stays = await stored.put(b"stays")
        rows = [await stored.put(b"goes", expires_at_ms=wall.now_ms + MINUTE_MS) for _ in range(3)]
        assert await stored.store.find(stored.account_id, rows[0].file_id) == rows[0]
        wall.now_ms += MINUTE_MS
        with pytest.raises(StoredFileNotFoundError):
            await stored.store.find(stored.account_id, rows[0].file_id)
        page = await stored.store.page(stored.account_id, FileQuery())
        assert page.files == (stays,)
        with caplog.at_level(logging.INFO):
            await until(lambda: "expired files were removed" in caplog.text)
        assert stored.blobs() == [stays.file_id]
        assert stored.store.used_bytes(stored.account_id) == len(b"stays")
        await stored.check()
    assert "3 expired files were removed: 12 bytes" in caplog.text


async def test_more_expire_than_a_slice_holds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_SLICE", 3)
    wall = Wall()
    async with sweeping(tmp_path, wall) as stored:
        for _ in range(7):
            await stored.put(b"", expires_at_ms=wall.now_ms + 1)
        wall.now_ms += 1
        await until(lambda: stored.blobs() == [])
        assert stored.store.quota.stored_files == 0


async def test_files_end_after_the_time_that_the_operator_has_set(tmp_path: Path) -> None:
    async with open_store(tmp_path, clock=Wall(), expires_after_s=60.0) as stored:
        assert (await stored.put(b"x")).expires_at_ms == Wall.now_ms + MINUTE_MS
        assert (await stored.put(b"x", expires_at_ms=5)).expires_at_ms == 5


def places(folder: Path) -> int:
    with raw_database(folder / "ledger.db") as db:
        return int(db.execute("SELECT count(*) FROM removed_files").fetchone()[0])


async def test_what_was_removed_cannot_be_a_place_for_ever(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    wall = Wall()
    async with sweeping(tmp_path, wall) as stored:
        row = await stored.put(b"x")
        await stored.store.delete(stored.account_id, row.file_id)
        assert places(tmp_path) == 1
        wall.now_ms += keeping._PLACES_KEPT_MS + 1
        await until(lambda: places(tmp_path) == 0)


async def test_the_start_removes_whatever_is_only_half_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(tmp_path) as stored:
        kept, lost, short = [await stored.put(data) for data in (b"kept", b"lost", b"short")]
    folder = stored.folder
    orphan = path_of(folder, new_file_id())
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"a blob without a row")
    (folder / "tmp" / ("0f" * 16)).write_bytes(b"half-written")
    (folder / "tmp" / MARKER).write_bytes(b"")
    path_of(folder, lost.file_id).unlink()
    os.truncate(path_of(folder, short.file_id), 2)
    with caplog.at_level(logging.INFO):
        async with open_store(tmp_path) as stored:
            assert stored.blobs() == sorted([kept.file_id, short.file_id])
            assert await stored.store.read(kept) == b"kept"
            assert stored.store.used_bytes(stored.account_id) == len(b"kept" + b"short")
            with pytest.raises(StoredFileNotFoundError):
                await stored.store.find(stored.account_id, lost.file_id)
    for said in (
        "1 stored files without a row were removed: 20 bytes",
        f"the file {lost.file_id} was lost",
        f"the file {short.file_id} is damaged: it has 2 bytes, not 5",
    ):
        assert said in caplog.text


async def test_nothing_goes_that_is_not_ours(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    theirs = [folder / "ab" / "readme", folder / "tmp" / "theirs", folder / "note"]
    theirs += [folder / "zz" / new_file_id(), folder / "abc" / new_file_id()]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"theirs")
    async with open_store(tmp_path) as stored:
        await stored.put(b"x")
        await collect(stored.store)
    assert all(path.read_bytes() == b"theirs" for path in theirs)


async def test_many_files_are_compared_by_their_first_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_AT_ONCE_MAX", 3)
    async with open_store(tmp_path) as stored:
        rows = [await stored.put(b"x") for _ in range(5)]
    orphans = [path_of(stored.folder, letter * 26) for letter in "amz27"]
    for path in orphans:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    async with open_store(tmp_path) as stored:
        assert stored.blobs() == sorted(row.file_id for row in rows)
        await stored.check()


async def test_nothing_is_removed_where_the_files_are_somewhere_else(tmp_path: Path) -> None:
    """A volume that is not mounted, a folder of another database: nothing is served then."""
    async with open_store(tmp_path) as stored:
        row = await stored.put(b"x")
    (tmp_path / "files").rename(tmp_path / "elsewhere")
    with pytest.raises(WrongStoreError, match="has none of the 1 files that the database knows"):
        async with open_store(tmp_path):
            raise AssertionError("its files are not there")
    (tmp_path / "other").mkdir()
    with pytest.raises(WrongStoreError, match="has the files of another database"):
        async with open_store(tmp_path / "other", blobs=DirectoryBlobs(tmp_path / "elsewhere")):
            raise AssertionError("they are not its files")
    (tmp_path / "files").rmdir() if (tmp_path / "files").exists() else None
    (tmp_path / "elsewhere").rename(tmp_path / "files")
    async with open_store(tmp_path) as stored:
        assert await stored.store.read(row) == b"x"


async def test_an_empty_folder_of_another_database_may_be_taken(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        await stored.store.delete(stored.account_id, (await stored.put(b"x")).file_id)
    (tmp_path / "other").mkdir()
    async with open_store(tmp_path / "other", blobs=DirectoryBlobs(tmp_path / "files")) as stored:
        await stored.put(b"x")
    with pytest.raises(WrongStoreError):
        async with open_store(tmp_path):
            raise AssertionError("it was taken")


async def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file")
    with pytest.raises(StoreError, match="Not a directory"):
        async with open_store(tmp_path):
            raise AssertionError("it is a file")


async def test_files_that_come_meanwhile_are_left_alone(tmp_path: Path) -> None:
    """Whatever is compared with the store while they do."""
    async with open_store(tmp_path) as stored:

        async def come_and_go(keep: bool) -> None:
            for _ in range(15):
                row = await stored.put(b"x")
                if not keep:
                    await stored.store.delete(stored.account_id, row.file_id)

        async with trio.open_nursery() as nursery:
            for keep in (True, True, False):
                nursery.start_soon(come_and_go, keep)
            for _ in range(15):
                await collect(stored.store)
        assert stored.store.quota.stored_files == 30
        await stored.check()


async def test_a_blob_that_cannot_be_removed_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(tmp_path, sweep_s=0.01) as stored:
        row = await stored.put(b"x")
        path = path_of(stored.folder, row.file_id)
        path.unlink()
        path.mkdir()
        await stored.store.delete(stored.account_id, row.file_id)
        assert "still stored, for now" in caplog.text
        assert stored.store.used_bytes(stored.account_id) == 0
        path.rmdir()
        path.write_bytes(b"x")
        with trio.fail_after(20):
            while path.exists():  # noqa: ASYNC110 - a thread removes it
                await trio.sleep(0.01)
        await stored.check()


def copies(folder: Path) -> int:
    with raw_database(folder / "ledger.db") as db:
        return int(db.execute("SELECT count(*) FROM provider_files").fetchone()[0])


async def test_copies_at_providers_go_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that providers refuse to remove are given up after a few sweeps; those that have ended
    there are not asked for."""
    wall, asked = Wall(), list[str]()
    async with sweeping(tmp_path, wall) as stored:

        async def remove(copy: ProviderFile) -> bool:
            asked.append(copy.provider)
            if copy.provider == "hanging":
                await trio.sleep_forever()
            if copy.provider == "broken":
                raise ConnectionError("it is down")
            return copy.provider == "sim"

        stored.store.remove_copy = remove
        stays, goes = await stored.put(b"x"), await stored.put(b"y")
        await stored.ledger.put_copy(copy_of(stays.file_id))
        for provider in ("sim", "hanging", "broken", "refusing"):
            await stored.ledger.put_copy(copy_of(goes.file_id, provider=provider))
        over = copy_of(goes.file_id, provider="over", expires_at_ms=wall.now_ms)
        await stored.ledger.put_copy(over)
        await trio.sleep(200)
        assert asked == []
        await stored.store.delete(stored.account_id, goes.file_id)
        with caplog.at_level(logging.INFO):
            await until(lambda: copies(tmp_path) == 1)
        tries = [asked.count(each) for each in ("sim", "hanging", "broken", "refusing", "over")]
        assert tries == [1, 5, 5, 5, 0]
        kept = await stored.ledger.find_copy(stays.file_id, "sim", "0" * 16)
        assert kept == copy_of(stays.file_id)
    assert "2 copies of removed files were removed" in caplog.text


async def test_a_copy_is_of_one_credential_and_is_put_anew(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await stored.put(b"x")
        first, later = copy_of(row.file_id), copy_of(row.file_id, provider_file_id="another")
        await stored.ledger.put_copy(first)
        assert await stored.ledger.find_copy(row.file_id, "sim", "1" * 16) is None
        await stored.ledger.put_copy(later)
        await stored.ledger.forget_copy(first)
        assert await stored.ledger.find_copy(row.file_id, "sim", "0" * 16) == later
        await stored.ledger.forget_copy(later)
        assert await stored.ledger.find_copy(row.file_id, "sim", "0" * 16) is None
