"""The pool behind a bad line: deadlines hold, bytes are right, and it recovers by itself."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing

from engine.errors import UpstreamTimeoutError, UpstreamUnreachableError
from engine.upstream.connection import ConnectionSettings
from engine.upstream.errors import StreamLostError
from engine.upstream.pool import Pool, PoolSettings, UpstreamStream, open_pool
from engine.upstream.providers import Provider
from tests.engine.upstream.peer import Collector, Peer, Request, open_peer, request_head

from .proxy import Proxy, open_proxy

QUICK = PoolSettings(
    connection=ConnectionSettings(ping_interval_s=0.15, ping_timeout_s=0.15), wait_timeout_s=30
)
SLOW_S = 30.0
"""Far more than any deadline here."""


class Consumer(Collector):
    """Acknowledges what it gets."""

    stream: UpstreamStream | None = None

    def deliver(self, delivery: Any) -> None:
        super().deliver(delivery)
        if self.stream is not None:
            self.stream.acknowledge(self.flow_bytes)
            self.flow_bytes = 0


@dataclass
class Line:
    """A pool, a proxy, a peer."""

    pool: Pool
    proxy: Proxy
    peer: Peer
    provider: Provider

    async def ask(self, body: bytes = b"{}") -> Consumer:
        """Open a stream."""
        consumer = Consumer()
        head = request_head(self.provider)
        consumer.stream = await self.pool.open_stream(self.provider, head, body, consumer)
        return consumer

    async def answered(self, data: bytes = b"so far") -> tuple[Consumer, Request]:
        """A stream that has been answered with a first piece."""
        consumer = await self.ask()
        request = await self.peer.next_request()
        request.answer(data)
        with trio.fail_after(SLOW_S):
            await consumer.wait_bytes(len(data))
        return consumer, request

    async def assert_recovered(self) -> None:
        """Without help, the next request is served."""
        with trio.fail_after(SLOW_S):
            consumer = await self.ask()
            request = await self.peer.next_request()
            request.answer(b"again", ended=True)
            assert (await consumer.wait_over()).data == b"again"
        await trio.testing.wait_all_tasks_blocked(0.01)
        [origin] = self.pool.statistics().origins
        assert (origin.open_streams, origin.waiting, origin.dialing) == (0, 0, 0)
        assert origin.connections == 1


@asynccontextmanager
async def open_line(
    settings: PoolSettings = QUICK, *, connect_timeout_s: float = 10, **faults: Any
) -> AsyncIterator[Line]:
    async with open_peer() as peer, open_proxy(peer.port, **faults) as proxy:
        provider = peer.provider(base_url=f"{proxy.url}/v1", connect_timeout_s=connect_timeout_s)
        async with open_pool(settings) as pool:
            yield Line(pool, proxy, peer, provider)


async def serve(peer: Peer) -> None:
    """Answer each request with its own body, and the end."""

    async def echo(request: Request) -> None:
        body = await request.wait_ended()
        request.answer()
        await request.send_all(body, ended=True)

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(echo, await peer.next_request())


@pytest.mark.parametrize(
    ("size", "faults"),
    [
        (3_000, {"piece_bytes": 1}),
        (20_000, {"piece_bytes": 7}),
        (200_000, {"latency_s": 0.2}),
        (100_000, {"piece_bytes": 1_000, "latency_s": 0.01}),
    ],
    ids=["1-byte reads", "7-byte reads", "200 ms", "small and late"],
)
async def test_every_byte_arrives(size: int, faults: dict[str, float]) -> None:
    chance = random.Random(size)
    bodies = [chance.randbytes(size) for _ in range(3)]
    slow = PoolSettings()
    async with (
        open_line(slow, **faults) as line,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serve, line.peer)
        with trio.fail_after(60):
            consumers = [await line.ask(body) for body in bodies]
            for consumer, body in zip(consumers, bodies, strict=True):
                assert (await consumer.wait_over()).data == body
        assert len(line.proxy.links) == 1
        nursery.cancel_scope.cancel()


async def test_a_blackhole_after_connect_meets_the_connect_deadline() -> None:
    async with open_line(PoolSettings(), connect_timeout_s=0.5, blackhole=True) as line:
        with trio.fail_after(SLOW_S), pytest.raises(UpstreamTimeoutError):
            await line.ask()
        line.proxy.faults.blackhole = False
        await line.assert_recovered()


async def test_latency_above_the_connect_deadline() -> None:
    async with open_line(PoolSettings(), connect_timeout_s=0.5, latency_s=2.0) as line:
        with trio.fail_after(SLOW_S), pytest.raises(UpstreamTimeoutError):
            await line.ask()
        line.proxy.faults.latency_s = 0
        await line.assert_recovered()


async def test_connections_that_are_reset_at_once() -> None:
    async with open_line(refuse=True) as line:
        with trio.fail_after(SLOW_S), pytest.raises(UpstreamUnreachableError):
            await line.ask()
        line.proxy.faults.refuse = False
        await line.assert_recovered()


async def test_a_blackhole_in_mid_stream_is_found_by_ping() -> None:
    async with open_line() as line:
        streams = [(await line.answered())[0] for _ in range(3)]
        line.proxy.faults.blackhole = True
        for consumer in streams:
            with trio.fail_after(SLOW_S):
                await consumer.wait_over()
            assert isinstance(consumer.error, StreamLostError)
            assert consumer.data == b"so far"
        line.proxy.faults.blackhole = False
        await line.assert_recovered()


async def test_latency_below_the_ping_deadline_cuts_nothing() -> None:
    settings = PoolSettings(connection=ConnectionSettings(ping_interval_s=0.1, ping_timeout_s=10))
    async with open_line(settings) as line:
        consumer, request = await line.answered()
        line.proxy.faults.latency_s = 0.1
        with trio.move_on_after(0.8):
            await consumer.wait_over()
        assert not consumer.over
        request.send(b", and on", ended=True)
        with trio.fail_after(SLOW_S):
            assert (await consumer.wait_over()).data == b"so far, and on"


@pytest.mark.parametrize("end", ["client", "server"])
async def test_a_half_close_ends_the_connection(end: str) -> None:
    """HTTP/2 has no use for half a connection, whichever half is left."""
    async with open_line() as line:
        consumer, _ = await line.answered()
        line.proxy.latest.close_half(end)
        with trio.fail_after(SLOW_S):
            await consumer.wait_over()
        assert isinstance(consumer.error, StreamLostError)
        assert not consumer.error.unprocessed
        await line.assert_recovered()
        assert len(line.proxy.links) == 2


async def test_a_reset_in_mid_stream() -> None:
    async with open_line() as line:
        consumer, _ = await line.answered()
        line.proxy.latest.reset()
        with trio.fail_after(SLOW_S):
            await consumer.wait_over()
        assert isinstance(consumer.error, StreamLostError)
        await line.assert_recovered()


async def test_waiters_get_the_next_connection() -> None:
    """Twenty requests wait for a dial that a dead line delays; the next dial serves them."""
    settings = PoolSettings(wait_timeout_s=30)
    async with open_line(settings, latency_s=0.05) as line:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(line.ask)
            for _ in range(20):
                await line.peer.next_request()
        assert len(line.proxy.links) == 1
