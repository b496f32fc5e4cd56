"""Large request bodies, from memory and from a spool file, beside streams that must not wait."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from engine.errors import UpstreamError
from engine.upstream.bodies import SPOOL_PIECE_BYTES, Body, SpooledBody
from engine.upstream.connection import open_connection
from engine.wire.http2 import ErrorCodes

from .peer import Collector, Peer, Request, open_peer, request_head

LARGE_BYTES = 50 * 1024 * 1024


class Digest(bytearray):
    """Stands in for a request's body at the peer: counts and hashes, keeps nothing."""

    def __init__(self, begun: bytes) -> None:
        super().__init__()
        self.size_bytes = len(begun)
        self.sha256 = hashlib.sha256(begun)

    def __iadd__(self, data: object) -> Digest:
        assert isinstance(data, bytes)
        self.size_bytes += len(data)
        self.sha256.update(data)
        return self


def pattern(size_bytes: int) -> bytes:
    """Bytes in which a piece that is lost, doubled or misplaced shows."""
    line = b"".join(b"%08x" % n for n in range(1 << 17))
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


@pytest.fixture
def large(tmp_path: Path) -> tuple[Path, str]:
    """A file of 50 MB, and its digest."""
    path, content = tmp_path / "spool", pattern(LARGE_BYTES)
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


async def upload_beside_small_streams(peer: Peer, body: Body) -> tuple[Request, Digest]:
    """Send `body`, and while it is under way 50 requests that are answered at once."""
    async with open_connection(peer.provider().origin) as connection:
        head = request_head(peer.provider())
        large = Collector()
        connection.open_stream_nowait(head, body, large)
        upload = await peer.next_request()
        upload.body = digest = Digest(bytes(upload.body))
        for n in range(50):
            small = Collector()
            connection.open_stream_nowait(head, b"%d" % n, small)
            request = await peer.next_request()
            assert await request.wait_ended() == b"%d" % n
            request.answer(b"answer %d" % n, ended=True)
            assert (await small.wait_over()).data == b"answer %d" % n
        assert not upload.ended, "the small ones did not wait for the large one"
        await upload.wait_ended()
        upload.answer(b"received", ended=True)
        assert (await large.wait_over()).data == b"received"
    return upload, digest


async def test_a_large_body_from_memory(large: tuple[Path, str]) -> None:
    path, sha256 = large
    async with open_peer() as peer:
        _, digest = await upload_beside_small_streams(peer, path.read_bytes())
    assert digest.size_bytes == LARGE_BYTES
    assert digest.sha256.hexdigest() == sha256


async def test_a_large_body_from_a_spool_file(large: tuple[Path, str]) -> None:
    """It is in memory a piece at a time."""
    path, sha256 = large
    async with open_peer() as peer:
        tracemalloc.start()
        try:
            _, digest = await upload_beside_small_streams(peer, SpooledBody(path, LARGE_BYTES))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert digest.size_bytes == LARGE_BYTES
    assert digest.sha256.hexdigest() == sha256
    assert peak_bytes < 8 * 1024 * 1024


@pytest.mark.parametrize(
    "size_bytes", [0, 1, SPOOL_PIECE_BYTES - 1, SPOOL_PIECE_BYTES, SPOOL_PIECE_BYTES + 1, 65_535]
)
async def test_a_spool_file_of_any_size(tmp_path: Path, size_bytes: int) -> None:
    content = pattern(size_bytes)
    (tmp_path / "spool").write_bytes(content)
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        body = SpooledBody(tmp_path / "spool", size_bytes)
        connection.open_stream_nowait(request_head(peer.provider()), body, Collector())
        assert await (await peer.next_request()).wait_ended() == content


async def test_many_spooled_bodies_interleave(tmp_path: Path) -> None:
    contents = [pattern(400_000 + n) for n in range(8)]
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        for n, content in enumerate(contents):
            path = tmp_path / str(n)
            path.write_bytes(content)
            connection.open_stream_nowait(
                request_head(peer.provider()), SpooledBody(path, len(content)), Collector()
            )
        requests = [await peer.next_request() for _ in contents]
        for request, content in zip(requests, contents, strict=True):
            assert await request.wait_ended() == content
        [accepted] = peer.connections
        first_of_last = accepted.order.index(requests[-1].stream_id)
        last_of_first = len(accepted.order) - accepted.order[::-1].index(requests[0].stream_id)
        assert first_of_last < last_of_first


@pytest.mark.parametrize("written", [None, 0, 200_000])
async def test_a_spool_file_that_cannot_be_read_ends_its_stream_only(
    tmp_path: Path, written: int | None
) -> None:
    """Not there, or shorter than it was said to be."""
    path = tmp_path / "spool"
    if written is not None:
        path.write_bytes(bytes(written))
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        head = request_head(peer.provider())
        beside, collector = Collector(), Collector()
        connection.open_stream_nowait(head, b"", beside)
        connection.open_stream_nowait(head, SpooledBody(path, 300_000), collector)
        sound, short = await peer.next_request(), await peer.next_request()
        await collector.wait_over()
        assert isinstance(collector.error, UpstreamError)
        assert "body" in collector.error.message
        assert await short.wait_reset() == ErrorCodes.CANCEL
        sound.answer(b"as if nothing had happened", ended=True)
        assert (await beside.wait_over()).ended


async def test_an_abandoned_upload_reads_no_further(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(pattern(1_000_000))
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        peer.acknowledges = False  # the upload stops at the peer's window
        stream = connection.open_stream_nowait(
            request_head(peer.provider()), SpooledBody(path, 1_000_000), Collector()
        )
        request = await peer.next_request()
        stream.reset_nowait()
        assert await request.wait_reset() == ErrorCodes.CANCEL
        assert (len(stream.body), stream.spooled) == (0, None)
        assert connection.open_streams == 0


async def test_an_early_answer_ends_a_spooled_upload(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(pattern(1_000_000))
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        peer.acknowledges = False
        collector = Collector()
        connection.open_stream_nowait(
            request_head(peer.provider()), SpooledBody(path, 1_000_000), collector
        )
        request = await peer.next_request()
        request.answer(b"too long for me", ended=True)
        assert (await collector.wait_over()).data == b"too long for me"
        assert await request.wait_reset() == ErrorCodes.CANCEL


async def test_leaving_in_the_middle_of_a_read_waits_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(pattern(1_000_000))
    async with open_peer() as peer:
        async with open_connection(peer.provider().origin) as connection:
            collector = Collector()
            stream = connection.open_stream_nowait(
                request_head(peer.provider()), SpooledBody(path, 1_000_000), collector
            )
            assert stream.reading
        assert isinstance(collector.error, UpstreamError)
