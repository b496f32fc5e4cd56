"""Everything at once, by chance: what is left over must be nothing."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
import trio.lowlevel
import trio.testing

from engine.errors import UpstreamError
from engine.upstream.connection import Connection, ConnectionSettings
from engine.upstream.pool import Pool, PoolSettings, UpstreamStream, open_pool
from engine.wire.http import Delivery
from engine.wire.http2 import Http2Limits, Http2StreamClosed

from .peer import Collector, Peer, PeerConnection, Request, open_peer, request_head

REQUESTS = 300


class Consumer(Collector):
    """Acknowledges at once, or keeps its provider waiting for a while."""

    stream: UpstreamStream | None = None

    def __init__(self, lag_bytes: int) -> None:
        super().__init__()
        self._lag_bytes = lag_bytes
        self._acknowledged = 0

    def deliver(self, delivery: Delivery) -> None:
        super().deliver(delivery)
        assert self.stream is not None, "nothing is delivered before open_stream returns"
        due = self.flow_bytes - self._acknowledged
        if due > self._lag_bytes:
            self.stream.acknowledge(due)
            self._acknowledged += due


async def client(pool: Pool, peer: Peer, chance: random.Random) -> str:
    consumer = Consumer(lag_bytes=chance.choice([0, 0, 5_000]))
    provider = peer.provider()
    body = bytes(chance.choice([0, 10, 200_000]))
    leaves_at = chance.choice([None, None, 0, 1, 30_000])
    with trio.move_on_after(chance.choice([60, 60, 60, 0.001])) as scope:
        try:
            stream = await pool.open_stream(provider, request_head(provider), body, consumer)
        except UpstreamError:
            return "refused"
        consumer.stream = stream
        try:
            if leaves_at is None:
                await consumer.wait_over()
            else:
                await consumer.wait_bytes(leaves_at)
        finally:
            over = consumer.over
            stream.reset_nowait()
            data = consumer.data
        await trio.lowlevel.checkpoint()
        assert consumer.data == data, "a reset stream is silent"
        return "over" if over else "left"
    assert scope.cancelled_caught
    return "cancelled"


async def serve(peer: Peer, chance: random.Random) -> None:
    async def answer(request: Request) -> None:
        with suppress(Http2StreamClosed):
            fate = chance.random()
            if fate < 0.05:
                request.reset(7)
                return
            if fate < 0.08:
                request.connection.drop()
                return
            if fate < 0.12:
                request.connection.http2.goaway()
            request.answer()
            for _ in range(chance.randrange(8)):
                if not open_still(request):
                    return
                with trio.move_on_after(1):
                    await request.send_all(bytes(chance.choice([1, 100, 40_000])))
                await trio.sleep(chance.choice([0, 0.001]))
            request.send(b"", ended=True)

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(answer, await peer.next_request())


def open_still(request: Request) -> bool:
    connection: PeerConnection = request.connection
    return connection.http2.is_open(request.stream_id) and not connection.closed.is_set()


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_left_over(seed: int) -> None:
    chance = random.Random(seed)
    settings = PoolSettings(
        fill_streams=10,
        connections_max=4,
        connection=ConnectionSettings(stream_window_bytes=20_000, connection_window_bytes=100_000),
    )
    outcomes: list[str] = []
    limits = Http2Limits(streams_max=20, resets_max=100_000)
    async with open_peer(limits) as peer, trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer, random.Random(seed + 1))
        async with open_pool(settings) as pool:

            async def run() -> None:
                outcomes.append(await client(pool, peer, chance))

            with trio.fail_after(60):
                async with trio.open_nursery() as clients:
                    for _ in range(REQUESTS):
                        clients.start_soon(run)
                        await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.01)
            for origin in pool.statistics().origins:
                assert (origin.open_streams, origin.waiting) == (0, 0), seed
            [group] = pool._groups.values()
            assert group.woken == 0
            for connection in group.connections:
                assert isinstance(connection, Connection)
                manager = connection._http2._machine._inbound_flow_control_window_manager
                restored = manager.current_window_size + manager._bytes_processed
                assert restored == 100_000, seed
        with trio.fail_after(30):
            for served in peer.connections:
                await served.closed.wait()
        nursery.cancel_scope.cancel()
    assert len(outcomes) == REQUESTS
    assert {"over", "left"} <= set(outcomes), seed
