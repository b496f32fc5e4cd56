"""Files in a bucket: the same store, over a third party's server, and over some that fail."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from engine.errors import StorageLimitError, StorageUnavailableError, StoredFileNotFoundError
from engine.file_ids import new_file_id
from engine.storage.blobs import MARKER, StoreError
from engine.storage.keeping import WrongStoreError, collect
from engine.storage.s3 import PART_BYTES, WINDOW_BYTES, S3Blobs
from tests.engine.storage.s3_server import S3Server, s3_server, settings_for
from tests.engine.storage.stores import open_store

LARGE = bytes(range(256)) * (PART_BYTES // 256 + 1_000)
Answer = Callable[[trio.SocketStream], object]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


async def test_what_is_stored_is_found_read_and_removed(server: S3Server, tmp_path: Path) -> None:
    settings = server.settings(prefix="gateway/a")
    async with open_store(tmp_path, blobs=S3Blobs(settings)) as stored:
        row, empty = await stored.put(b"what is stored"), await stored.put(b"")
        path = f"gateway/a/blobs/{row.file_id[0]}/{row.file_id}"
        assert path in server.keys(settings.bucket)
        assert await stored.store.read(row) == b"what is stored"
        assert await stored.store.read(empty) == b""
        await stored.check()
        await stored.store.delete(stored.account_id, row.file_id)
        assert path not in server.keys(settings.bucket)
        with pytest.raises(StoredFileNotFoundError):
            await stored.store.read(row)
        await stored.check()
    assert not (tmp_path / "files").exists()


async def test_a_large_file_goes_in_parts_and_comes_by_ranges(
    server: S3Server, tmp_path: Path
) -> None:
    settings = server.settings()
    async with open_store(tmp_path, blobs=S3Blobs(settings), file_max_bytes=10**8) as stored:
        stored.limit_bytes = 10**8
        row = await stored.put(LARGE)
        assert await stored.store.read(row) == LARGE
        for offset, size in ((WINDOW_BYTES - 7, 20), (len(LARGE) - 5, 99), (3 * 10**6, 10**6)):
            pieces = stored.store.pieces(row, offset, size)
            assert b"".join([piece async for piece in pieces]) == LARGE[offset : offset + size]
        await stored.check()
    assert server.begun(settings.bucket) == []


async def test_what_a_cancelled_upload_has_sent_is_undone(server: S3Server, tmp_path: Path) -> None:
    settings = server.settings()
    async with open_store(tmp_path, blobs=S3Blobs(settings), file_max_bytes=10**8) as stored:
        stored.limit_bytes = 10**8
        with trio.move_on_after(0.02) as scope:
            await stored.put(LARGE * 3)
        assert scope.cancelled_caught
        await stored.store.tidy()
        await stored.check()
        assert await stored.ledger.file_sizes() == {}
    assert server.keys(settings.bucket) == [MARKER]
    assert server.begun(settings.bucket) == []


async def test_the_start_removes_what_nobody_owns_and_rows_of_what_is_gone(
    server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = server.settings(prefix="p")
    async with open_store(tmp_path, blobs=S3Blobs(settings)) as stored:
        kept, lost = await stored.put(b"kept"), await stored.put(b"lost")
    orphan = new_file_id()
    for key in (f"p/blobs/{orphan[0]}/{orphan}", "p/blobs/x/readme", "elsewhere"):
        server.client.put_object(Bucket=settings.bucket, Key=key, Body=b"x")
    server.client.delete_object(
        Bucket=settings.bucket, Key=f"p/blobs/{lost.file_id[0]}/{lost.file_id}"
    )
    with caplog.at_level(logging.INFO):
        async with open_store(tmp_path, blobs=S3Blobs(settings)) as stored:
            await stored.check()
            assert await stored.store.read(kept) == b"kept"
            assert stored.store.used_bytes(stored.account_id) == len(b"kept")
    assert f"the file {lost.file_id} was lost" in caplog.text
    assert "1 stored files without a row were removed: 1 bytes" in caplog.text
    assert {"p/blobs/x/readme", "elsewhere"} < set(server.keys(settings.bucket))


async def test_a_bucket_is_of_one_database(server: S3Server, tmp_path: Path) -> None:
    settings = server.settings()
    (tmp_path / "other").mkdir()
    async with open_store(tmp_path, blobs=S3Blobs(settings)) as stored:
        await stored.put(b"x")
    with pytest.raises(WrongStoreError, match="another database"):
        async with open_store(tmp_path / "other", blobs=S3Blobs(settings), may_wait=True):
            raise AssertionError("it is not ours")
    with pytest.raises(WrongStoreError, match="none of the 1 files"):
        async with open_store(tmp_path, blobs=S3Blobs(server.settings()), may_wait=True):
            raise AssertionError("its files are not there")


async def test_a_bucket_that_there_is_not_is_said(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such bucket"):
        async with open_store(tmp_path, blobs=S3Blobs(server.settings(made=False))):
            raise AssertionError("there is none")


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A server that speaks no S3; its endpoint."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await answer(stream)  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def failing(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        await stream.send_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")


async def refusing(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


async def breaking_off(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly so much")


async def test_half_an_answer_is_none() -> None:
    async with answering(breaking_off) as endpoint:
        blobs = S3Blobs(settings_for(endpoint, timeout_s=0.3))
        with trio.fail_after(20):
            for work in (blobs.read_marker(), blobs.sizes("")):
                with pytest.raises(StoreError):
                    await work


@pytest.mark.parametrize("answer", [silent, failing, refusing])
async def test_a_server_that_does_not_do_it_is_not_waited_for(
    answer: Answer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(answer) as endpoint:
        with trio.fail_after(20):
            blobs = S3Blobs(settings_for(endpoint, timeout_s=0.3))
            async with open_store(tmp_path, blobs=blobs, may_wait=True) as stored:
                with pytest.raises(StorageUnavailableError):
                    await stored.put(b"x")
                for work in (blobs.read_marker(), blobs.delete("a"), blobs.open_reader("a")):
                    with pytest.raises(StoreError):
                        await work
                with pytest.raises(StoreError):
                    await blobs.sizes("")
    assert "secret-of-the-test" not in caplog.text


async def test_a_bucket_that_comes_back_is_used_again(server: S3Server, tmp_path: Path) -> None:
    """Until its mark has been read nothing is stored, and nothing removed."""
    settings = server.settings(made=False)
    async with open_store(tmp_path, blobs=S3Blobs(settings), may_wait=True, sweep_s=0.01) as stored:
        with pytest.raises(StorageUnavailableError):
            await stored.put(b"x")
        server.client.create_bucket(Bucket=settings.bucket)
        with trio.fail_after(20):
            while stored.store.problem is not None:  # noqa: ASYNC110 - another process answers
                await trio.sleep(0.01)
        await stored.put(b"x")
        await stored.check()


async def test_a_bucket_that_goes_refuses_and_leaves_nothing_half_done(
    server: S3Server, tmp_path: Path
) -> None:
    settings = server.settings(timeout_s=2.0)
    async with open_store(tmp_path, blobs=S3Blobs(settings)) as stored:
        row = await stored.put(b"x")
        server.client.delete_object(
            Bucket=settings.bucket, Key=f"blobs/{row.file_id[0]}/{row.file_id}"
        )
        server.client.delete_object(Bucket=settings.bucket, Key=MARKER)
        server.client.delete_bucket(Bucket=settings.bucket)
        with pytest.raises(StorageUnavailableError):
            await stored.put(b"y")
        assert stored.store.used_bytes(stored.account_id) == 1
        server.client.create_bucket(Bucket=settings.bucket)
        await stored.put(b"y")
        await collect(stored.store)
        await stored.check()


async def test_the_quota_is_exact_for_a_bucket_too(server: S3Server, tmp_path: Path) -> None:
    async with open_store(tmp_path, blobs=S3Blobs(server.settings())) as stored:
        stored.limit_bytes = 70
        refused = 0

        async def put() -> None:
            nonlocal refused
            try:
                await stored.put(b"x" * 10)
            except StorageLimitError:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(put)
        assert (refused, stored.store.used_bytes(stored.account_id)) == (5, 70)
        await stored.check()
