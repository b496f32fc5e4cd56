"""Servers that others have written: hundreds of streams over two connections, every byte right."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import pytest
import trio

from engine.upstream.pool import Pool, PoolSettings, StreamLostError, UpstreamStream, open_pool
from engine.upstream.providers import Provider
from engine.wire.http import Delivery, Headers

from .peer import Collector
from .third_party import FILES, SERVERS, open_server

TWO = PoolSettings(connections_max=2, fill_streams=1)
WITHIN_S = 120.0
TRIES = 3

servers = pytest.mark.parametrize("server", SERVERS)
ways = pytest.mark.parametrize("tls", [False, True], ids=["cleartext", "TLS"])
amounts = pytest.mark.parametrize(
    "streams", [300, pytest.param(1_000, marks=pytest.mark.long)], ids=["300", "1000"]
)


class Consumer(Collector):
    """Acknowledges all it gets; keeps a digest and the size of it."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self.size = 0
        self.stream: UpstreamStream | None = None
        self._owed = 0

    def deliver(self, delivery: Delivery) -> None:
        super().deliver(delivery)
        self.digest.update(self.data)
        self.size += len(self.data)
        self.data = b""
        self._owed += delivery.flow_bytes
        self.acknowledge()

    def acknowledge(self) -> None:
        if self.stream is not None:
            self.stream.acknowledge(self._owed)
            self._owed = 0


async def fetch(pool: Pool, provider: Provider, path: str, body: bytes = b"") -> Consumer:
    """One request to its end; sent again elsewhere if the server never acted on it."""
    method = b"GET" if not body else b"PUT" if provider.name == "nginx" else b"POST"
    head: Headers = [
        (b":method", method),
        (b":scheme", provider.origin.scheme.encode()),
        (b":authority", provider.origin.authority.encode()),
        (b":path", path.encode()),
    ]
    for _ in range(TRIES):
        consumer = Consumer()
        consumer.stream = await pool.open_stream(provider, head, body, consumer)
        try:
            await consumer.wait_over()
        finally:
            consumer.stream.reset_nowait()
        if consumer.ended:
            return consumer
        refused = consumer.unprocessed or (
            isinstance(consumer.error, StreamLostError) and consumer.error.unprocessed
        )
        assert refused, (path, consumer.reset_code, consumer.error)
    raise AssertionError(f"{path}: refused {TRIES} times")


def assert_right(consumer: Consumer, expected: bytes, status: bytes = b"200") -> None:
    assert dict(consumer.head or [])[b":status"] == status
    assert consumer.size == len(expected)
    assert consumer.digest.digest() == hashlib.sha256(expected).digest()


@servers
@ways
@amounts
async def test_many_streams(server: str, tls: bool, streams: int, tmp_path: Path) -> None:
    """All at once; nginx also drains a connection every 400 requests, which nobody notices."""
    names = list(FILES)
    done = 0

    async def download(n: int) -> None:
        nonlocal done
        name = names[n % len(names)]
        assert_right(await fetch(pool, provider, f"/{name}"), FILES[name])
        done += 1

    with trio.fail_after(WITHIN_S):
        async with (
            open_server(server, tmp_path, tls=tls) as provider,
            open_pool(TWO) as pool,
        ):
            for name in names[:2]:  # both connections are open before the crowd comes
                assert_right(await fetch(pool, provider, f"/{name}"), FILES[name])
            async with trio.open_nursery() as nursery:
                for n in range(streams):
                    nursery.start_soon(download, n)
            statistics = pool.statistics()
            assert statistics.dials_failed == 0
            assert statistics.origins[0].open_streams == 0
            assert statistics.dials == 2 or server == "nginx"
    assert done == streams


@servers
@ways
async def test_uploads(server: str, tls: bool, tmp_path: Path) -> None:
    """Bodies above frame and window, many at once; nghttpd and Node send them back."""
    bodies = [hashlib.shake_256(bytes([n])).digest(30_000 * n + 1) for n in range(20)]

    async def upload(n: int) -> None:
        consumer = await fetch(pool, provider, f"/up/{n}", bodies[n])
        if server == "nginx":
            assert dict(consumer.head or [])[b":status"] == b"201"
            assert (tmp_path / "www" / "up" / str(n)).read_bytes() == bodies[n]
        else:
            assert_right(consumer, bodies[n])

    with trio.fail_after(WITHIN_S):
        async with (
            open_server(server, tmp_path, tls=tls) as provider,
            open_pool(TWO) as pool,
            trio.open_nursery() as nursery,
        ):
            for n in range(len(bodies)):
                nursery.start_soon(partial(upload, n))


@servers
@ways
async def test_cancelled_streams_hold_up_nobody(server: str, tls: bool, tmp_path: Path) -> None:
    """Half of the streams are reset after their first bytes; the other half are whole."""
    name = "300000.bin"

    async def leave() -> None:
        head: Headers = [
            (b":method", b"GET"),
            (b":scheme", provider.origin.scheme.encode()),
            (b":authority", provider.origin.authority.encode()),
            (b":path", f"/{name}".encode()),
        ]
        collector = Collector()
        stream = await pool.open_stream(provider, head, b"", collector)
        try:
            await collector.wait_bytes(1)
        finally:
            stream.reset_nowait()

    async def stay() -> None:
        assert_right(await fetch(pool, provider, f"/{name}"), FILES[name])

    with trio.fail_after(WITHIN_S):
        async with (
            open_server(server, tmp_path, tls=tls) as provider,
            open_pool(TWO) as pool,
        ):
            async with trio.open_nursery() as nursery:
                for n in range(80):
                    nursery.start_soon(leave if n % 2 else stay)
            assert pool.statistics().origins[0].open_streams == 0
