"""Thousands of requests that are cancelled: memory and descriptors return to where they were."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from engine.upstream.pool import Pool, PoolSettings, open_pool
from tests.engine.upstream.peer import Collector, Peer, Request, open_peer, request_head

from .quiet import count

CLIENTS = 20
WARM_UP = 1_500
"""Past what a connection remembers of streams that are closed."""
BLOCKS_MAX = 2_000
"""Python objects, some 100 kB: less than one a cycle."""


async def serve(peer: Peer, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer with a head and an endless stream, as the window lets it; forget what is over."""

    async def answer(request: Request) -> None:
        connection = request.connection
        if connection.http2.is_open(request.stream_id):
            request.answer(bytes(20_000))
            await request.wait_reset()
        del connection.requests[request.stream_id]
        connection.order.clear()

    async with trio.open_nursery() as nursery:
        task_status.started()
        while True:
            nursery.start_soon(answer, await peer.next_request())


async def cycle(pool: Pool, peer: Peer, chance: random.Random) -> None:
    """One request, cancelled before, during or after its answer."""
    provider, collector = peer.provider(), Collector()
    patience = chance.randrange(4)
    with trio.CancelScope() as scope:
        if patience == 0:
            scope.cancel()
        stream = await pool.open_stream(
            provider, request_head(provider), bytes(chance.choice([0, 100, 50_000])), collector
        )
        try:
            if patience >= 2:
                await collector.wait_bytes(1 if patience == 2 else 20_000)
            scope.cancel()
            await trio.sleep_forever()
        finally:
            stream.reset_nowait()


async def run_cycles(pool: Pool, peer: Peer, cycles: int, chance: random.Random) -> None:
    left = cycles

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await cycle(pool, peer, chance)

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)


@asynccontextmanager
async def open_served_pool() -> AsyncIterator[tuple[Pool, Peer]]:
    settings = PoolSettings(connections_max=1)
    async with open_peer() as peer, trio.open_nursery() as nursery:
        await nursery.start(serve, peer)
        async with open_pool(settings) as pool:
            yield pool, peer
        nursery.cancel_scope.cancel()


def blocks() -> int:
    """How many blocks of memory Python's objects take."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize(
    "cycles", [2_000, pytest.param(10_000, marks=pytest.mark.long)], ids=["2000", "10000"]
)
async def test_cancelled_requests_leave_nothing(cycles: int, say: Callable[[str], None]) -> None:
    seed = 20_261_121
    chance = random.Random(seed)
    async with open_served_pool() as (pool, peer):
        await run_cycles(pool, peer, WARM_UP, chance)
        await trio.testing.wait_all_tasks_blocked(0.02)
        baseline, before = count(), blocks()
        await run_cycles(pool, peer, cycles, chance)
        await trio.testing.wait_all_tasks_blocked(0.02)
        await baseline.wait_restored()
        for origin in pool.statistics().origins:
            assert (origin.open_streams, origin.waiting, origin.dialing) == (0, 0, 0)
        grown = blocks() - before
        say(f"{cycles} cancelled requests: {grown} blocks more than before, seed {seed}")
        assert grown < BLOCKS_MAX
