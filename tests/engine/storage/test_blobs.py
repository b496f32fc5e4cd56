"""A folder of blobs on a disk that is full, slow or broken: nothing half-written comes of it."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from engine.errors import InsufficientStorageError, StorageUnavailableError
from engine.ledger.file_rows import FileQuery
from engine.storage.blobs import WRITTEN_BYTES, DirectoryBlobs, DirectoryWriter, StoreError, path_of
from tests.engine.storage.stores import Stored, open_store

MIB = 1024 * 1024
Full = Callable[[Path], object]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, of a megabyte."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_files(folder: Path) -> Iterator[None]:
    """No file may be larger than a megabyte, as where a quota of the system's is used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def check_nothing_came(stored: Stored, kept: list[str]) -> None:
    await stored.store.tidy()
    assert stored.blobs() == sorted(kept)
    page = await stored.store.page(stored.account_id, FileQuery())
    assert sorted(row.file_id for row in page.files) == sorted(kept)
    await stored.check()


@pytest.mark.parametrize("full", [small_disk, small_files])
@pytest.mark.parametrize("size_bytes", [MIB + 1, 3 * MIB])
async def test_a_disk_that_is_full_refuses_and_keeps_nothing(
    full: Full, size_bytes: int, tmp_path: Path
) -> None:
    with full(tmp_path / "files"):  # type: ignore[attr-defined]
        async with open_store(tmp_path, file_max_bytes=10 * MIB) as stored:
            stored.limit_bytes = 10 * MIB
            small = await stored.put(b"x" * 1_000)
            for _ in range(3):
                with pytest.raises(InsufficientStorageError) as refused:
                    await stored.put(b"x" * size_bytes)
                assert refused.value.status == 507
                await check_nothing_came(stored, [small.file_id])
            again = await stored.put(b"y" * (WRITTEN_BYTES // 2))
            await check_nothing_came(stored, [small.file_id, again.file_id])
        async with open_store(tmp_path) as stored:
            await check_nothing_came(stored, [small.file_id, again.file_id])


async def test_the_disk_fills_while_many_come(tmp_path: Path) -> None:
    with small_disk(tmp_path / "files"):
        async with open_store(tmp_path) as stored:
            kept, refused = [], []

            async def put() -> None:
                try:
                    kept.append((await stored.put(b"x" * 300_000)).file_id)
                except InsufficientStorageError as error:
                    refused.append(error)

            stored.limit_bytes = 10 * MIB
            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(put)
            assert refused
            assert len(kept) <= 3, "more than the disk has"
            await check_nothing_came(stored, kept)


async def test_a_folder_that_fails_refuses(tmp_path: Path) -> None:
    async with open_store(tmp_path) as stored:
        row = await stored.put(b"x")
        (stored.folder / "tmp").rename(stored.folder / "moved")
        with pytest.raises(StorageUnavailableError):
            await stored.put(b"y")
        (stored.folder / "moved").rename(stored.folder / "tmp")
        path = path_of(stored.folder, row.file_id)
        path.unlink()
        path.symlink_to("/etc/passwd")
        with pytest.raises(StorageUnavailableError):
            await stored.store.read(row)
        path.unlink()
        path.write_bytes(b"x")
        await stored.put(b"y")
        await check_nothing_came(
            stored,
            [
                each.file_id
                for each in (await stored.store.page(stored.account_id, FileQuery())).files
            ],
        )


async def test_a_commit_that_nobody_waits_for_undoes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk hangs in the middle of it, longer than anybody waits."""
    hangs, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        hangs.set()
        goes_on.wait(20)
        fsync(descriptor)

    async with open_store(tmp_path) as stored:
        async with stored.store.open_upload(stored.account_id, 100) as upload:
            writer = upload._writer
            await upload.append(b"x")
            monkeypatch.setattr("engine.storage.blobs.os.fsync", slow)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def give_up() -> None:
                        await trio.to_thread.run_sync(hangs.wait)
                        scope.cancel()

                    nursery.start_soon(give_up)
                    await upload.finish(filename="a", purpose="batch", mime_type="text/plain")
            assert scope.cancelled_caught
            writer.discarded = True  # type: ignore[attr-defined]
            goes_on.set()

            def wait_until_over() -> None:
                with writer.lock:  # type: ignore[attr-defined]
                    ended.set()

            await trio.to_thread.run_sync(wait_until_over)
        assert stored.blobs() == []
        await check_nothing_came(stored, [])


async def test_a_discarded_writer_takes_nothing_more(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    await blobs.mark("x")
    writer = await blobs.open_writer()
    await writer.discard()
    await writer.discard()
    with pytest.raises(StoreError):
        await writer.append(b"x" * WRITTEN_BYTES)
    with pytest.raises(StoreError):
        await writer.commit("a" * 26)
    assert list((tmp_path / "tmp").iterdir()) == []
    forgotten = DirectoryWriter(tmp_path, tmp_path / "tmp", trio.CapacityLimiter(1))
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    del forgotten
    assert list((tmp_path / "tmp").iterdir()) == []
