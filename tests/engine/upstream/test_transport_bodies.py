"""What the httpx transport does with the bodies of requests."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from engine.wire.http2 import ErrorCodes

from .httpx_client import open_client, pieces, respond
from .peer import Request, open_peer

MEGABYTE = 1_000_000
WINDOW = 65_536


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def is_empty(folder: Path) -> bool:
    return list(folder.iterdir()) == []


def has_come(request: Request, size: int) -> bool:
    return len(request.body) >= size


async def test_big_bodies_both_ways() -> None:
    up, down = b"u" * (20 * MEGABYTE), b"d" * (20 * MEGABYTE)
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            digest = hashlib.sha256(await request.wait_ended()).hexdigest()
            request.connection.http2.send_headers(
                request.stream_id, [(b":status", b"200"), (b"x-digest", digest.encode())]
            )
            await request.send_all(down, ended=True)

        response = await client.post("/", content=up, timeout=60)
        assert response.headers["x-digest"] == hashlib.sha256(up).hexdigest()
        assert response.content == down


@pytest.mark.parametrize("count", [0, 5, 5_000])
async def test_a_body_from_an_iterator(count: int, spool: Path) -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            body = await request.wait_ended()
            assert body == b"".join([part async for part in pieces(count)])
            respond(request, 200)

        assert (await client.post("/", content=pieces(count))).status_code == 200
    assert is_empty(spool)


async def test_a_body_whose_iterator_fails_is_never_sent(spool: Path) -> None:
    async def faulty() -> AsyncIterator[bytes]:
        async for part in pieces(2_000):
            yield part
        raise LookupError("no more")

    async with open_peer() as peer, open_client(peer) as client:
        with pytest.raises(LookupError):
            await client.post("/", content=faulty())
        assert peer.connections == []
    assert is_empty(spool)


async def test_a_file_in_a_form(spool: Path) -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            for _ in range(2):  # the first is refused: the form goes out a second time
                request = await peer.next_request()
                body = await request.wait_ended()
                assert b"a" * 3_000_000 in body
                assert dict(request.head)[b"content-length"] == b"%d" % len(body)
                if len(peer.connections[0].requests) == 1:
                    request.reset(ErrorCodes.REFUSED_STREAM)
            respond(request, 200)

        with tempfile.SpooledTemporaryFile() as file:
            file.write(b"a" * 3_000_000)
            file.seek(0)
            response = await client.post("/", files={"file": ("a.bin", file)})
        assert response.status_code == 200
    assert is_empty(spool)


async def test_an_upload_that_is_not_taken_is_a_write_timeout() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:
        peer.acknowledges = False  # its window closes for good after 64 KiB
        reset: list[int] = []

        @nursery.start_soon
        async def serve() -> None:
            reset.append(await (await peer.next_request()).wait_reset())

        with pytest.raises(httpx.WriteTimeout):
            await client.post("/", content=b"x" * MEGABYTE, timeout=httpx.Timeout(30, write=0.1))
    assert reset == [ErrorCodes.CANCEL]


async def test_a_slow_upload_is_no_read_timeout() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:
        peer.acknowledges = False

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            for number in range(1, 5):
                await request.wait(partial(has_come, request, number * WINDOW))
                await trio.sleep(0.3)
                request.connection.http2.acknowledge(request.stream_id, WINDOW)
                request.connection.flush()
            await request.wait_ended()
            respond(request, 200)

        timeout = httpx.Timeout(30, read=1, write=30)
        response = await client.post("/", content=b"x" * 5 * WINDOW, timeout=timeout)
        assert response.status_code == 200
