"""HTTP/1.1 as others speak it: uvicorn, and nginx in front of it, with and without TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from engine.upstream.pool import Pool, UpstreamStream, open_pool
from engine.upstream.providers import Provider
from tests.gateways import settled

from .asgi_app import chunk
from .peer import Collector, request_head
from .servers_http1 import open_nginx, open_uvicorn

KINDS = ["uvicorn", "nginx", "nginx-tls"]


def provider_at(port: int, **fields: object) -> Provider:
    row: dict[str, object] = {
        "name": "other",
        "protocol": "openai",
        "base_url": f"http://127.0.0.1:{port}",
        "http2": "off",
    }
    return Provider(**(row | fields))  # type: ignore[arg-type]


@asynccontextmanager
async def open_server(kind: str, folder: Path) -> AsyncIterator[Provider]:
    async with open_uvicorn() as port:
        if kind == "uvicorn":
            yield provider_at(port)
            return
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        async with open_nginx(folder, port, authority) as (plain_port, tls_port):
            if kind == "nginx":
                yield provider_at(plain_port)
            else:
                url = f"https://127.0.0.1:{tls_port}"
                yield provider_at(tls_port, base_url=url, ca_file=folder / "ca.pem")


class Consumer(Collector):
    """Acknowledges as it goes."""

    acknowledged = 0

    async def read(self, stream: UpstreamStream, count: int | None = None) -> bytes:
        while not self.over and (count is None or len(self.data) < count):
            await self.wait_bytes(self.acknowledged + 1)
            stream.acknowledge(self.flow_bytes - self.acknowledged)
            self.acknowledged = self.flow_bytes
        return self.data


async def ask(
    pool: Pool, provider: Provider, path: str, body: bytes = b"", method: bytes = b"POST"
) -> tuple[UpstreamStream, Consumer]:
    consumer = Consumer()
    head = [
        (name, path.encode() if name == b":path" else value)
        for name, value in request_head(provider, method=method)
    ]
    return await pool.open_stream(provider, head, body, consumer), consumer


async def fetch(
    pool: Pool, provider: Provider, path: str, body: bytes = b"", method: bytes = b"POST"
) -> bytes:
    stream, consumer = await ask(pool, provider, path, body, method)
    with trio.fail_after(60):
        data = await consumer.read(stream)
    assert consumer.error is None
    assert consumer.ended
    return data


def streamed(count: int) -> bytes:
    return b"".join(chunk(number) for number in range(count))


async def many(provider: Provider, requests: int) -> None:
    async with open_pool() as pool:

        async def check(n: int) -> None:
            if n % 3:
                assert await fetch(pool, provider, "/stream", b"%d" % (n % 40)) == streamed(n % 40)
            else:
                body = b"%d " % n * 5_000
                assert await fetch(pool, provider, "/echo", body) == body

        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for n in range(requests):
                    nursery.start_soon(check, n)
        statistics = pool.statistics()
        assert statistics.streams == requests
        assert statistics.dials <= provider.connections_max
        assert statistics.dials_failed == statistics.origins[0].open_streams == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_hundreds_at_once(kind: str, tmp_path: Path) -> None:
    async with open_server(kind, tmp_path) as provider:
        await many(provider, 300)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
async def test_a_thousand_at_once(kind: str, tmp_path: Path) -> None:
    async with open_server(kind, tmp_path) as provider:
        await many(provider, 1_000)


@pytest.mark.parametrize("kind", KINDS)
async def test_requests_in_turn(kind: str, tmp_path: Path) -> None:
    async with open_server(kind, tmp_path) as provider, open_pool() as pool:
        for n in range(24):
            assert await fetch(pool, provider, "/echo", b"%d" % n) == b"%d" % n
        # nginx lets a connection carry 10 requests
        assert pool.statistics().dials == (1 if kind == "uvicorn" else 3)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_body_there_and_back(kind: str, tmp_path: Path) -> None:
    async with open_server(kind, tmp_path) as provider, open_pool() as pool:
        body = bytes(range(256)) * 12_000
        assert await fetch(pool, provider, "/echo", body) == body


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_leaves_is_noticed(kind: str, tmp_path: Path) -> None:
    async with open_server(kind, tmp_path) as provider, open_pool() as pool:
        for _ in range(5):
            stream, consumer = await ask(pool, provider, "/stream", b"100000000")
            await consumer.read(stream, 10_000)
            stream.reset_nowait()
        left = b""
        with trio.fail_after(30):
            while left != b"5":
                left = await fetch(pool, provider, "/left")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_client_delays_nobody_else(kind: str, tmp_path: Path) -> None:
    async with open_server(kind, tmp_path) as provider, open_pool() as pool:
        slow, held_up = await ask(pool, provider, "/stream", b"10000")
        await held_up.wait_bytes(60_000)
        for n in range(10):
            assert await fetch(pool, provider, "/stream", b"%d" % n) == streamed(n)
        assert len(held_up.data) <= 65_536
        assert await held_up.read(slow) == streamed(10_000)


async def test_connections_that_uvicorn_closes_are_replaced() -> None:
    async with open_uvicorn(keep_alive_s=1) as port, open_pool() as pool:
        provider = provider_at(port)
        for n in range(1, 4):
            assert await fetch(pool, provider, "/echo", b"x") == b"x"
            assert pool.statistics().dials == n
            await settled(lambda: not pool.statistics().origins[0].connections)


async def test_answers_without_a_body_and_without_a_length(tmp_path: Path) -> None:
    async with open_server("nginx", tmp_path) as provider, open_pool() as pool:
        for _ in range(3):
            assert await fetch(pool, provider, "/nothing") == b""
            assert await fetch(pool, provider, "/echo", method=b"HEAD") == b""
        assert pool.statistics().dials == 1
        for _ in range(3):
            assert await fetch(pool, provider, "/close", method=b"GET") == b"closing"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert pool.statistics().origins[0].connections == 0


async def test_one_server_in_both_versions(tmp_path: Path) -> None:
    """The same nginx, by ALPN and with HTTP/2 turned off."""
    async with open_server("nginx-tls", tmp_path) as off, open_pool() as pool:
        alpn = provider_at(0, base_url=off.base_url, ca_file=off.ca_file, http2="alpn")
        async with trio.open_nursery() as nursery:
            for provider in (off, alpn):
                for n in range(9):
                    nursery.start_soon(partial(fetch, pool, provider, "/stream", b"%d" % n))
        spoken = {
            connection.protocol
            for origin in pool.statistics().origins
            for connection in origin.connection_statistics
        }
        assert spoken == {"h2", "http/1.1"}
