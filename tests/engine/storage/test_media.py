"""Generated media are there for whom they were signed for, within bounds of bytes and time."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
import trio.testing

from engine.spool import Spool
from engine.storage import media
from engine.storage.media import (
    MEMORY_MAX_BYTES,
    SPOOLED_MIN_BYTES,
    MediaStore,
    Medium,
    StoreFullError,
)

PNG = "image/png"


class Wall:
    """A clock that stands until it is set."""

    now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def new_store(*, max_bytes: int = 8_000_000, spool_bytes: int = 10_000_000) -> MediaStore:
    return MediaStore(Spool(None, spool_bytes), Wall(), max_bytes=max_bytes, ttl_s=60)


@asynccontextmanager
async def running(store: MediaStore) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        yield
        nursery.cancel_scope.cancel()


def found(store: MediaStore, url: str, **instead: str) -> Medium | None:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | instead
    media_id = instead.get("media_id", parts.path.removeprefix("/v1/media/"))
    return store.get(media_id, query["expires"], query["signature"])


def put_url(store: MediaStore, data: bytes = b"data", account: str = "a") -> str:
    return store.url_of(store.put(account, data, PNG), "http://gateway")


async def content(medium: Medium | None) -> bytes:
    assert medium is not None
    return b"".join([piece async for piece in medium.pieces()])


async def test_what_was_put_is_found_by_its_url() -> None:
    store = new_store()

    url = put_url(store, b"small")

    assert url.startswith("http://gateway/v1/media/")
    medium = found(store, url)
    assert medium is not None
    assert (medium.content_type, medium.size_bytes) == (PNG, 5)
    assert await content(medium) == b"small"


def test_the_base_url_of_the_operator_wins() -> None:
    store = MediaStore(
        Spool(None, 0), Wall(), max_bytes=100, ttl_s=60, base_url="https://llm.example/gw/"
    )

    assert put_url(store, b"x").startswith("https://llm.example/gw/v1/media/")


def test_a_url_that_was_not_signed_so_is_none() -> None:
    store, other = new_store(), new_store()
    url = put_url(store)

    assert found(store, url) is not None
    for wrong in ("", "0" * 64, "é", "\udc80"):
        assert found(store, url, signature=wrong) is None
    assert found(store, url, expires="99999999999") is None
    assert found(store, url, expires="x") is None
    assert found(store, put_url(store), media_id="other") is None
    assert found(store, put_url(other)) is None, "a key of signatures is of one process"


def test_it_ends_when_the_url_says_so() -> None:
    store = new_store()
    wall = store._clock
    assert isinstance(wall, Wall)
    url = put_url(store)

    wall.now_ms += 59_999
    assert found(store, url) is not None
    wall.now_ms += 1
    assert found(store, url) is None
    assert store.used_bytes == 0


async def test_it_ends_without_anybody_asking(autojump_clock: trio.testing.MockClock) -> None:
    store = new_store()
    wall = store._clock
    assert isinstance(wall, Wall)
    put_url(store)
    async with running(store):
        wall.now_ms += 60_000
        await trio.sleep(61)
        assert store.used_bytes == 0


async def test_what_is_large_moves_to_a_file_and_goes_with_its_last_reader() -> None:
    store = new_store()
    data = bytes(range(256)) * 4_000
    assert len(data) > 2 * media._PIECE_BYTES
    async with running(store):
        url = put_url(store, data)
        put_url(store, b"small")
        with trio.fail_after(10):
            while store._memory_bytes > len(b"small"):  # noqa: ASYNC110 - a thread writes
                await trio.sleep(0.001)
        assert store._spool.used_bytes == len(data)
        medium = found(store, url)
        assert medium is not None
        pieces = medium.pieces()
        begin = await anext(pieces)
        store._drop(next(iter(store._kept)))
        assert found(store, url) is None
        assert begin + b"".join([piece async for piece in pieces]) == data
        del medium, pieces
        gc.collect()
        assert store._spool.used_bytes == 0


async def test_without_room_for_files_it_stays_in_memory(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    store = new_store(spool_bytes=1_000)
    async with running(store):
        url = put_url(store, b"x" * SPOOLED_MIN_BYTES)
        await trio.sleep(1)
        assert await content(found(store, url)) == b"x" * SPOOLED_MIN_BYTES
    assert "stay in memory: full" in caplog.text


def test_the_oldest_make_room_first_those_of_the_same_account() -> None:
    store = new_store(max_bytes=1_000)
    first = put_url(store, b"x" * 100, "other")
    urls = [put_url(store, b"x" * 100) for _ in range(3)]

    assert [found(store, url) is not None for url in urls] == [False, True, True]
    assert found(store, first) is not None, "an account's share is a fourth: others keep theirs"
    for account in "bcdefghi":
        put_url(store, b"x" * 100, account)
    assert found(store, first) is None
    assert store.used_bytes == 1_000


def test_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MEDIA_MAX", 3)
    store = new_store()

    urls = [put_url(store, b"") for _ in range(5)]

    assert [found(store, url) is not None for url in urls] == [False, False, True, True, True]


def test_memory_is_bounded_while_files_are_slow() -> None:
    store = new_store(max_bytes=100 * MEMORY_MAX_BYTES)
    half = bytes(MEMORY_MAX_BYTES // 2)

    urls = [put_url(store, half) for _ in range(3)]

    assert [found(store, url) is not None for url in urls] == [False, True, True]


@pytest.mark.parametrize(("max_bytes", "size"), [(400, 101), (2**40, MEMORY_MAX_BYTES + 1)])
def test_what_there_can_be_no_room_for_is_refused(max_bytes: int, size: int) -> None:
    store = new_store(max_bytes=max_bytes)
    kept = put_url(store, b"x")

    with pytest.raises(StoreFullError):
        store.put("a", bytes(size), PNG)
    assert found(store, kept) is not None


@pytest.mark.parametrize(
    ("said", "served"),
    [
        ("image/webp", "image/webp"),
        ("Audio/MPEG", "audio/mpeg"),
        ("video/mp4", "video/mp4"),
        ("image/svg+xml", "application/octet-stream"),
        ("text/html", "application/octet-stream"),
        ("image/png\r\nset-cookie: a=b", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_nothing_is_served_that_a_browser_would_run(said: str | None, served: str) -> None:
    store = new_store()

    media_id = store.put("a", b"<script>", said)

    assert store._kept[media_id].content_type == served
