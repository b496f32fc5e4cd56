"""The pool: who gets which connection, who waits, and what a cancelled waiter leaves behind."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from engine.errors import UpstreamUnreachableError
from engine.upstream.errors import NoStreamInTimeError
from engine.upstream.pool import Pool, PoolSettings, UpstreamStream, open_pool
from engine.wire.http2 import ErrorCodes, Http2Limits, MalformedFieldsError

from .peer import Collector, Peer, open_peer, request_head


async def ask(
    pool: Pool, peer: Peer, body: bytes = b"{}", **fields: object
) -> tuple[UpstreamStream, Collector]:
    provider, collector = peer.provider(**fields), Collector()
    stream = await pool.open_stream(provider, request_head(provider), body, collector)
    return stream, collector


async def test_streams_share_a_connection() -> None:
    async with open_peer() as peer, open_pool() as pool:
        for n in range(5):
            _, collector = await ask(pool, peer)
            (await peer.next_request()).answer(b"%d" % n, ended=True)
            assert (await collector.wait_over()).data == b"%d" % n
        assert len(peer.connections) == 1
        statistics = pool.statistics()
        assert (statistics.dials, statistics.streams) == (1, 5)
        assert statistics.origins[0].open_streams == 0


async def test_a_burst_before_the_first_connection_is_one_dial() -> None:
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask, pool, peer)
        for _ in range(50):
            await peer.next_request()
        assert pool.statistics().dials == 1


async def test_past_its_fill_a_connection_gets_company() -> None:
    settings = PoolSettings(fill_streams=2)
    async with open_peer() as peer, open_pool(settings) as pool:
        for _ in range(2):
            await ask(pool, peer)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(peer.connections) == 2
        for _ in range(2):
            await ask(pool, peer)
        for _ in range(4):
            await peer.next_request()
        assert [len(c.requests) for c in peer.connections] == [2, 2]  # the least loaded one


async def test_the_peers_limit_is_kept_by_opening_another_connection() -> None:
    async with open_peer(Http2Limits(streams_max=3)) as peer, open_pool() as pool:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask, pool, peer)
        for _ in range(10):
            await peer.next_request()
        assert all(len(c.requests) <= 3 for c in peer.connections)
        assert len(peer.connections) >= 4


async def test_waiters_go_in_turn_when_no_more_connections_may_open() -> None:
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        await ask(pool, peer, b"0")
        order: list[int] = []

        async def wait_turn(n: int) -> None:
            await ask(pool, peer, b"%d" % n)
            order.append(n)

        async with trio.open_nursery() as nursery:
            for n in range(1, 4):
                nursery.start_soon(wait_turn, n)
                await trio.testing.wait_all_tasks_blocked()
            assert pool.statistics().origins[0].waiting == 3
            for _ in range(4):
                request = await peer.next_request()
                await request.wait_ended()
                request.answer(ended=True)
        assert order == [1, 2, 3]


async def test_a_free_stream_is_taken_without_a_wait() -> None:
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=2)) as peer, open_pool(settings) as pool:
        provider, collector = peer.provider(), Collector()
        head = request_head(provider)
        assert pool.open_stream_nowait(provider, head, b"{}", collector) is None
        assert pool.statistics().dials == 0  # nothing was done
        await ask(pool, peer)
        assert pool.open_stream_nowait(provider, head, b"{}", collector) is not None
        assert pool.open_stream_nowait(provider, head, b"{}", Collector()) is None
        await peer.next_request()
        (await peer.next_request()).answer(b"now", ended=True)
        assert (await collector.wait_over()).data == b"now"
        with pytest.raises(MalformedFieldsError):
            pool.open_stream_nowait(provider, [(b"connection", b"close")], b"", Collector())


async def test_a_freed_stream_belongs_to_the_waiter() -> None:
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        first, _ = await ask(pool, peer)
        got: list[str] = []

        async def want(name: str) -> None:
            stream, _ = await ask(pool, peer)
            got.append(name)
            stream.reset_nowait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(want, "waiter")
            await trio.testing.wait_all_tasks_blocked()
            first.reset_nowait()  # the waiter is woken, and has not run
            await want("newcomer")
        assert got == ["waiter", "newcomer"]


async def test_cancelled_waiters_leave_nothing_behind() -> None:
    """Cancelled before, while and just after a stream becomes theirs, for many interleavings."""
    seed = 20_261_121
    chance = random.Random(seed)
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=2)) as peer, open_pool(settings) as pool:
        for _ in range(200):
            held = [(await ask(pool, peer))[0] for _ in range(2)]
            async with trio.open_nursery() as nursery:
                scopes = [trio.CancelScope() for _ in range(4)]

                async def use(scope: trio.CancelScope) -> None:
                    with scope:
                        stream, _ = await ask(pool, peer)
                        try:
                            await trio.lowlevel.checkpoint()
                        finally:
                            stream.reset_nowait()

                for scope in scopes:
                    nursery.start_soon(use, scope)
                await trio.testing.wait_all_tasks_blocked()
                steps: list[Callable[[], None]] = [
                    *(s.cancel for s in scopes[:3]),
                    *(s.reset_nowait for s in held),
                ]
                chance.shuffle(steps)
                for step in steps:
                    step()
                    if chance.random() < 0.3:
                        await trio.lowlevel.checkpoint()
            [origin] = pool.statistics().origins
            assert (origin.open_streams, origin.waiting) == (0, 0), seed
            assert origin.free_streams == 2, seed


async def test_a_cancelled_caller_opens_nothing() -> None:
    async with open_peer() as peer, open_pool() as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ask(pool, peer)
        assert scope.cancelled_caught
        assert pool.statistics().dials == 0


async def test_a_failed_dial_reaches_every_waiter_and_the_next_caller_dials_again() -> None:
    async with open_peer() as peer:
        provider = peer.provider()
    failures = 0
    async with open_pool() as pool:

        async def fail() -> None:
            nonlocal failures
            with pytest.raises(UpstreamUnreachableError):
                await pool.open_stream(provider, request_head(provider), b"", Collector())
            failures += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(fail)
        assert failures == 10
        assert pool.statistics().dials == pool.statistics().dials_failed == 1
        await fail()
        assert pool.statistics().dials == 2


async def test_a_drained_connection_is_replaced() -> None:
    async with open_peer() as peer, open_pool() as pool:
        _, old = await ask(pool, peer)
        request = await peer.next_request()
        request.connection.http2.goaway()
        request.answer(b"so far")
        await old.wait_bytes(1)
        _, new = await ask(pool, peer)
        (await peer.next_request()).answer(b"elsewhere", ended=True)
        assert (await new.wait_over()).data == b"elsewhere"
        request.send(b", and no further", ended=True)
        assert (await old.wait_over()).data == b"so far, and no further"
        await request.connection.closed.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(peer.connections) == 2
        assert pool.statistics().origins[0].connections == 1


async def test_waiters_outlive_the_connection_they_waited_for() -> None:
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        _, first = await ask(pool, peer)
        request = await peer.next_request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, pool, peer)
            await trio.testing.wait_all_tasks_blocked()
            request.connection.drop()
        await first.wait_over()
        await peer.next_request()
        assert len(peer.connections) == 2


async def test_waiting_has_a_bound(autojump_clock: trio.testing.MockClock) -> None:
    settings = PoolSettings(connections_max=1, waiters_max=1, wait_timeout_s=5)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        await ask(pool, peer)

        async def wait_in_vain() -> None:
            with pytest.raises(NoStreamInTimeError):
                await ask(pool, peer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_vain)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(UpstreamUnreachableError, match="Too many"):
                await ask(pool, peer)
        assert pool.statistics().origins[0].waiting == 0


async def test_leaving_the_pool_resets_what_is_open() -> None:
    async with open_peer() as peer:
        async with open_pool() as pool:
            _, collector = await ask(pool, peer)
            request = await peer.next_request()
        assert collector.error is not None
        assert await request.wait_reset() == ErrorCodes.CANCEL


async def test_an_error_in_the_pools_block_comes_out_alone() -> None:
    async def use_and_fail(peer: Peer) -> None:
        async with open_pool() as pool:
            await ask(pool, peer)
            raise KeyError

    async with open_peer() as peer:
        with pytest.raises(KeyError):
            await use_and_fail(peer)


async def test_a_malformed_head_costs_nobody_a_slot() -> None:
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        first, _ = await ask(pool, peer)
        got: list[str] = []

        async def malformed() -> None:
            with pytest.raises(MalformedFieldsError):
                await pool.open_stream(peer.provider(), [(b":path", b"/\r\n")], b"", Collector())
            got.append("malformed")

        async def sound() -> None:
            await ask(pool, peer)
            got.append("sound")

        async with trio.open_nursery() as nursery:
            for task in (malformed, sound):
                nursery.start_soon(task)
                await trio.testing.wait_all_tasks_blocked()
            first.reset_nowait()
        assert got == ["malformed", "sound"]


async def test_a_sent_body_is_let_go() -> None:
    async with open_peer() as peer, open_pool() as pool:
        stream, _ = await ask(pool, peer, bytes(1_000_000))
        await (await peer.next_request()).wait_ended()
        assert stream.body.obj == b""


async def test_waiters_do_not_wait_for_a_connection_to_drain() -> None:
    settings = PoolSettings(connections_max=1)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        _, first = await ask(pool, peer)
        old = await peer.next_request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, pool, peer)
            await trio.testing.wait_all_tasks_blocked()
            old.connection.http2.goaway()
            old.connection.flush()
            new = await peer.next_request()
        assert new.connection is not old.connection
        assert not first.over


async def test_a_failed_dial_is_not_repeated_while_other_connections_serve() -> None:
    settings = PoolSettings(connections_max=2)
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool(settings) as pool:
        first, _ = await ask(pool, peer)
        peer.accepting.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, pool, peer)
            await trio.testing.wait_all_tasks_blocked(0.05)
            statistics = pool.statistics()
            assert (statistics.dials, statistics.dials_failed) == (2, 1)
            assert statistics.origins[0].waiting == 1
            first.reset_nowait()
        assert pool.statistics().origins[0].open_streams == 1
