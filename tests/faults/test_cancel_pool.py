"""A stream, and the wait for one, cancelled at every checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
import trio
import trio.testing

from engine.upstream.pool import Pool, PoolSettings, UpstreamStream, open_pool
from engine.wire.http2 import Http2Limits
from tests.engine.upstream.peer import Collector, Peer, Request, open_peer, request_head
from tests.gateways import settled

from .cancel_everywhere import CancelPoint, cancel_everywhere
from .quiet import Baseline, count

SEEDS: Final = (1, 20_261_121)
ONE = PoolSettings(connections_max=1)


async def ask(pool: Pool, peer: Peer, body: bytes = b"{}") -> tuple[UpstreamStream, Collector]:
    provider, collector = peer.provider(), Collector()
    stream = await pool.open_stream(provider, request_head(provider), body, collector)
    return stream, collector


async def serve(peer: Peer) -> None:
    """Answer each request in three pieces, with waits between them."""

    async def answer(request: Request) -> None:
        http2 = request.connection.http2
        for piece in (b"one", b"two", b"three"):
            await trio.testing.wait_all_tasks_blocked()
            if not http2.is_open(request.stream_id):
                return
            if piece == b"one":
                request.answer(piece)
            else:
                request.send(piece, ended=piece == b"three")

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(answer, await peer.next_request())


async def converse(pool: Pool, peer: Peer) -> None:
    """One stream, as an exchange uses it."""
    stream, collector = await ask(pool, peer, bytes(100_000))
    try:
        for size in (3, 6, 11):
            data = await collector.wait_bytes(size)
            assert b"onetwothree".startswith(data)
        await collector.wait_over()
    finally:
        stream.reset_nowait()


async def assert_nothing_left(pool: Pool, point: CancelPoint) -> None:
    def left() -> list[tuple[int, int, int]]:
        origins = pool.statistics().origins
        counts = [(o.open_streams, o.waiting, o.dialing) for o in origins]
        return [count for count in counts if count != (0, 0, 0)]

    try:
        await settled(lambda: not left())
    except trio.TooSlowError:
        raise AssertionError(f"{left()} left, {point}") from None


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_stream(seed: int, say: Callable[[str], None]) -> None:
    async with open_peer() as peer, trio.open_nursery() as nursery, open_pool(ONE) as pool:
        nursery.start_soon(serve, peer)
        await converse(pool, peer)
        await trio.testing.wait_all_tasks_blocked(0.01)
        baseline = count()

        async def check(point: CancelPoint) -> None:
            await assert_nothing_left(pool, point)
            await baseline.wait_restored(point)
            [origin] = pool.statistics().origins
            assert origin.connections == 1, point
            await converse(pool, peer)

        points = await cancel_everywhere(lambda: converse(pool, peer), check, seed=seed)
        say(f"a stream: {points} cancel points, seed {seed}")
        assert points > 20
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_wait_for_a_dial(seed: int, say: Callable[[str], None]) -> None:
    """The dial itself is the pool's, and goes on without the caller."""
    async with open_peer() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer)
        await trio.testing.wait_all_tasks_blocked()
        baseline = count()
        async with open_pool(ONE) as pool:
            await trio.testing.wait_all_tasks_blocked()

            async def check(point: CancelPoint) -> None:
                await assert_nothing_left(pool, point)
                await converse(pool, peer)
                peer.connections[-1].drop()  # so that the next one dials
                await settled(lambda: not pool.statistics().origins[0].connections)

            points = await cancel_everywhere(lambda: converse(pool, peer), check, seed=seed)
        await baseline.wait_restored()
        say(f"the wait for a dial: {points} cancel points, seed {seed}")
        assert points > 20
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_wait_for_a_slot(seed: int, say: Callable[[str], None]) -> None:
    """The only slot is another's, who gives it up while we wait; a third comes after us."""
    limits = Http2Limits(streams_max=1, resets_max=1_000_000)
    async with (
        open_peer(limits) as peer,
        open_pool(ONE) as pool,
        trio.open_nursery() as nursery,
    ):
        await from_first_to_last(pool, peer)
        await trio.testing.wait_all_tasks_blocked(0.01)
        baseline = count()
        served = 0

        async def give_up(holder: UpstreamStream) -> None:
            await trio.testing.wait_all_tasks_blocked()
            holder.reset_nowait()

        async def third() -> None:
            nonlocal served
            await from_first_to_last(pool, peer)
            served += 1

        async def scenario() -> None:
            with trio.CancelScope(shield=True):  # the slot is free: this does not wait
                holder, _ = await ask(pool, peer)
            nursery.start_soon(give_up, holder)  # neither is cancelled with us
            nursery.start_soon(third)
            await from_first_to_last(pool, peer)

        async def check(point: CancelPoint) -> None:
            await baseline.wait_restored(point)
            await assert_nothing_left(pool, point)
            assert pool.statistics().origins[0].free_streams == 1, point

        points = await cancel_everywhere(scenario, check, seed=seed)
        say(f"the wait for a slot: {points} cancel points, seed {seed}")
        assert points > 10
        assert served >= points


async def from_first_to_last(pool: Pool, peer: Peer) -> None:
    """A stream that is opened and reset at once."""
    stream, _ = await ask(pool, peer)
    stream.reset_nowait()


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_whole_pool(seed: int, say: Callable[[str], None]) -> None:
    """Opened, used and closed within the scope that is cancelled: dial, streams, farewell."""
    async with open_peer() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer)
        await trio.testing.wait_all_tasks_blocked()
        baseline: Baseline = count()

        async def scenario() -> None:
            async with open_pool(ONE) as pool:
                await converse(pool, peer)

        async def check(point: CancelPoint) -> None:
            await baseline.wait_restored(point)

        points = await cancel_everywhere(scenario, check, seed=seed)
        say(f"a whole pool: {points} cancel points, seed {seed}")
        assert points > 20
        nursery.cancel_scope.cancel()
