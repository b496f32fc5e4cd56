"""Large things are had in pieces, and only so fast as they are read."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.egress import (
    Download,
    EgressFailedError,
    EgressPolicy,
    EgressRefusedError,
    open_download,
    parse_hosts,
)
from tests.webserver import WebServer, answer, moved, open_webserver

MAX_BYTES = 200_000_000
LOCAL = EgressPolicy(
    http=True,
    private=parse_hosts(["127.0.0.0/8"]),
    accept=(),
    max_bytes=MAX_BYTES,
    timeout_s=600.0,
)


def policy_for(server: WebServer, policy: EgressPolicy = LOCAL) -> EgressPolicy:
    return replace(policy, ports=frozenset({server.port}))


async def read(download: Download) -> bytes:
    parts = []
    while (piece := await download.receive()) is not None:
        assert 0 < len(piece) <= 16_384
        parts.append(piece)
    return b"".join(parts)


async def test_it_comes_in_pieces_with_its_type_and_size() -> None:
    film = bytes(range(256)) * 1_000
    given = answer(film, content_type="Video/MP4; codecs=x")
    async with open_webserver({"/a": moved("/b"), "/b": given}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        async with open_download(url, policy_for(server)) as download:
            assert (download.content_type, download.size_bytes) == ("video/mp4", len(film))
            assert await read(download) == film
            assert await download.receive() is None

    assert b"accept: */*\r\n" in server.heads[0]


async def test_what_was_packed_has_no_known_size() -> None:
    film = bytes(100_000)
    given = answer(gzip.compress(film), "video/mp4", content_encoding="gzip")
    async with open_webserver({"/a": given}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        parts = []
        async with open_download(url, policy_for(server)) as download:
            assert download.size_bytes is None
            while (piece := await download.receive()) is not None:
                parts.append(piece)

    assert b"".join(parts) == film


async def test_who_does_not_read_is_waited_for() -> None:
    sent = 0

    async def flood(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 100_000)
            sent += 100_000

    async with open_webserver({"/a": flood}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        async with open_download(url, policy_for(server)) as download:
            await download.receive()
            await wait_all_tasks_blocked(0.05)
            assert sent < 20_000_000  # what the kernel's buffers hold, and no more


async def test_its_end_is_told_from_a_break() -> None:
    short = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: 9\r\n\r\nshort"
    async with open_webserver({"/a": short}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        async with open_download(url, policy_for(server)) as download:
            assert await download.receive() == b"short"
            with pytest.raises(EgressFailedError, match="broke off"):
                await download.receive()


async def test_one_that_says_no_size_is_bounded_too() -> None:
    given = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\n" + bytes(1_001)
    async with open_webserver({"/a": given}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        with pytest.raises(EgressRefusedError, match="larger than 1000 bytes"):
            async with open_download(url, replace(policy_for(server), max_bytes=1_000)) as download:
                await read(download)


async def test_one_that_trickles_is_given_up(autojump_clock: MockClock) -> None:
    async def trickle(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\n")
        while True:
            await trio.sleep(4)
            await stream.send_all(b"x")

    async with open_webserver({"/a": trickle}) as server:
        autojump_clock.autojump_threshold = 0.02  # sockets are real: give them a moment
        started = trio.current_time()
        url = f"http://127.0.0.1:{server.port}/a"
        with pytest.raises(EgressFailedError, match="too slow"):
            async with open_download(url, replace(policy_for(server), timeout_s=30)) as download:
                await read(download)

    assert trio.current_time() - started == pytest.approx(30, abs=0.01)
