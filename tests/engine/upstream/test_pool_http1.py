"""The pool over HTTP/1.1: which connection is used again, how many there are, who waits."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing
import trustme

from engine.errors import UpstreamError, UpstreamUnreachableError
from engine.upstream.errors import NoStreamInTimeError
from engine.upstream.pool import Pool, PoolSettings, UpstreamStream, open_pool
from engine.wire.http2_fields import MalformedFieldsError

from .peer import Collector, request_head
from .peer_http1 import STREAM, Peer, Request, chunk, open_peer, plain


async def ask(
    pool: Pool, peer: Peer, body: bytes = b"{}", **fields: object
) -> tuple[UpstreamStream, Collector]:
    provider, collector = peer.provider(**fields), Collector()
    stream = await pool.open_stream(provider, request_head(provider), body, collector)
    return stream, collector


async def echo(peer: Peer, *fields: bytes) -> None:
    """Answer every request with its body."""

    async def answer(request: Request) -> None:
        body = await request.wait_ended()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await request.send(plain(body, *fields))

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(answer, await peer.next_request())


async def ask_and_check(pool: Pool, peer: Peer, n: int, **fields: object) -> None:
    body = b"%d " % n * (n % 50 + 1)
    _, collector = await ask(pool, peer, body, **fields)
    assert (await collector.wait_over()).data == body
    assert collector.ended


# ---- which connection ----------------------------------------------------------------------------


async def test_requests_in_turn_share_a_connection() -> None:
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer)
        for n in range(20):
            await ask_and_check(pool, peer, n)
        assert len(peer.connections) == pool.statistics().dials == 1
        nursery.cancel_scope.cancel()


async def test_the_connection_used_last_is_used_next() -> None:
    async with open_peer() as peer, open_pool() as pool:
        asked = [await ask(pool, peer, b"%d" % n) for n in range(3)]
        requests = [await peer.next_request() for _ in asked]
        for request in (requests[2], requests[0], requests[1]):
            await request.send(plain(b""))
            await trio.testing.wait_all_tasks_blocked(0.01)
        for expected in (requests[1], requests[0], requests[2]):
            await ask(pool, peer)
            assert (await peer.next_request()).connection is expected.connection


@pytest.mark.parametrize("cap", [8, 256])
async def test_hundreds_at_once(cap: int) -> None:
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer)
        async with trio.open_nursery() as clients:
            for n in range(400):
                clients.start_soon(partial(ask_and_check, pool, peer, n, connections_max=cap))
        assert 1 < len(peer.connections) <= cap
        [origin] = pool.statistics().origins
        assert (origin.waiting, origin.open_streams) == (0, 0)
        nursery.cancel_scope.cancel()


async def test_servers_that_close_after_each_answer() -> None:
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer, b"connection: close")
        async with trio.open_nursery() as clients:
            for n in range(40):
                clients.start_soon(partial(ask_and_check, pool, peer, n, connections_max=3))
        assert len(peer.connections) == 40
        nursery.cancel_scope.cancel()


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    """Also when our reader has not run since."""
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer)
        for n in range(30):
            await ask_and_check(pool, peer, n)
            peer.connections[-1].close_nowait(reset=n % 2 == 0)
            if n % 3 == 0:
                await trio.testing.wait_all_tasks_blocked()
        assert len(peer.connections) == 30
        nursery.cancel_scope.cancel()


async def test_several_stale_connections_are_passed_over() -> None:
    async with open_peer() as peer, open_pool() as pool:
        asked = [await ask(pool, peer) for _ in range(4)]
        for _ in asked:
            await (await peer.next_request()).send(plain(b""))
        for _, collector in asked:
            await collector.wait_over()
        await trio.testing.wait_all_tasks_blocked()
        for connection in peer.connections[:3]:
            connection.close_nowait()
        await ask(pool, peer)
        assert (await peer.next_request()).connection is peer.connections[3]


async def test_alpn_may_say_http1_to_a_burst(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with open_peer(tls) as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer)
        for _ in range(2):
            async with trio.open_nursery() as clients:
                for n in range(30):
                    clients.start_soon(
                        partial(ask_and_check, pool, peer, n, ca_file=tmp_path / "ca.pem")
                    )
        assert 1 < len(peer.connections) <= 30
        nursery.cancel_scope.cancel()


# ---- who waits -----------------------------------------------------------------------------------


async def test_waiters_go_in_turn_when_no_more_connections_may_open() -> None:
    async with open_peer() as peer, open_pool() as pool:
        await ask(pool, peer, b"0", connections_max=1)
        order: list[int] = []

        async def wait_turn(n: int) -> None:
            await ask(pool, peer, b"%d" % n, connections_max=1)
            order.append(n)

        async with trio.open_nursery() as nursery:
            for n in range(1, 4):
                nursery.start_soon(wait_turn, n)
                await trio.testing.wait_all_tasks_blocked()
            assert pool.statistics().origins[0].waiting == 3
            for n in range(4):
                request = await peer.next_request()
                assert await request.wait_ended() == b"%d" % n
                await request.send(plain(b""))
        assert order == [1, 2, 3]
        assert len(peer.connections) == 1


async def test_a_freed_connection_belongs_to_the_waiter() -> None:
    async with open_peer() as peer, open_pool() as pool:
        first, _ = await ask(pool, peer, connections_max=1)
        got: list[str] = []

        async def want(name: str) -> None:
            stream, _ = await ask(pool, peer, connections_max=1)
            got.append(name)
            stream.reset_nowait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(want, "waiter")
            await trio.testing.wait_all_tasks_blocked()
            first.reset_nowait()
            await want("newcomer")
        assert got == ["waiter", "newcomer"]


async def test_a_waiter_gets_a_new_connection_when_the_one_it_waits_for_is_lost() -> None:
    async with open_peer() as peer, open_pool() as pool:
        for fate in ("reset by us", "cut by the server"):
            stream, _ = await ask(pool, peer, connections_max=1)
            request = await peer.next_request()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(ask, pool, peer, connections_max=1))
                await trio.testing.wait_all_tasks_blocked()
                if fate == "reset by us":
                    stream.reset_nowait()
                else:
                    request.connection.close_nowait()
                other = await peer.next_request()
            assert other.connection is not request.connection
            await other.send(plain(b""))
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_cancelled_waiters_leave_nothing_behind() -> None:
    """Cancelled before, while and just after a connection becomes theirs."""
    seed = 20_261_122
    chance = random.Random(seed)
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer)
        for _ in range(100):
            held = [await ask(pool, peer, connections_max=2) for _ in range(2)]
            async with trio.open_nursery() as users:
                scopes = [trio.CancelScope() for _ in range(4)]

                async def use(scope: trio.CancelScope) -> None:
                    with scope:
                        stream, _ = await ask(pool, peer, connections_max=2)
                        try:
                            await trio.lowlevel.checkpoint()
                        finally:
                            stream.reset_nowait()

                for scope in scopes:
                    users.start_soon(use, scope)
                await trio.testing.wait_all_tasks_blocked()
                steps: list[Callable[[], None]] = [
                    *(s.cancel for s in scopes[:3]),
                    *(s.reset_nowait for s, _ in held),
                ]
                chance.shuffle(steps)
                for step in steps:
                    step()
                    if chance.random() < 0.3:
                        await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            [origin] = pool.statistics().origins
            assert (origin.open_streams, origin.waiting) == (0, 0), seed
            assert origin.connections == origin.free_streams <= 2, seed
        nursery.cancel_scope.cancel()


async def test_when_nobody_listens_every_waiter_is_told() -> None:
    async with open_peer() as peer:
        provider = peer.provider()
    failures = 0
    async with open_pool() as pool:

        async def fail() -> None:
            nonlocal failures
            with pytest.raises(UpstreamUnreachableError):
                await pool.open_stream(provider, request_head(provider), b"", Collector())
            failures += 1

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(300):
                    nursery.start_soon(fail)
        assert failures == 300
        assert pool.statistics().dials <= 64
        assert pool.statistics().dials == pool.statistics().dials_failed
        await fail()


async def test_waiting_has_a_bound(autojump_clock: trio.testing.MockClock) -> None:
    settings = PoolSettings(waiters_max=1, wait_timeout_s=5)
    async with open_peer() as peer, open_pool(settings) as pool:
        await ask(pool, peer, connections_max=1)

        async def wait_in_vain() -> None:
            with pytest.raises(NoStreamInTimeError):
                await ask(pool, peer, connections_max=1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_vain)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(UpstreamUnreachableError, match="Too many"):
                await ask(pool, peer, connections_max=1)


async def test_a_malformed_head_costs_nobody_a_connection() -> None:
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(echo, peer)
        for n in range(3):
            with pytest.raises(MalformedFieldsError):
                await pool.open_stream(peer.provider(), [(b":path", b"/\r\n")], b"", Collector())
            await ask_and_check(pool, peer, n)
        assert len(peer.connections) == 1
        nursery.cancel_scope.cancel()


async def test_leaving_the_pool_resets_what_is_open() -> None:
    async with open_peer() as peer:
        async with open_pool() as pool:
            _, collector = await ask(pool, peer)
            request = await peer.next_request()
        assert collector.error is not None
        await request.connection.closed.wait()


# ---- everything at once --------------------------------------------------------------------------


async def serve_by_chance(peer: Peer, chance: random.Random) -> None:
    async def answer(request: Request) -> None:
        fate = chance.random()
        if fate < 0.1:
            request.connection.close_nowait(reset=fate < 0.05)
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if fate < 0.2:
                await request.send(plain(b"early"))
                return
            await request.wait_ended()
            if fate < 0.3:
                await request.send(plain(b"last", b"connection: close"))
                request.connection.close_nowait()
                return
            await request.send(STREAM)
            for _ in range(chance.randrange(8)):
                await request.send(chunk(bytes(chance.choice([1, 100, 40_000]))))
                await trio.sleep(chance.choice([0, 0.001]))
                if chance.random() < 0.02:
                    request.connection.close_nowait()
                    return
            await request.send(chunk(b""))

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(answer, await peer.next_request())


async def client(pool: Pool, peer: Peer, chance: random.Random) -> str:
    collector, provider = Collector(), peer.provider(connections_max=12)
    body = bytes(chance.choice([0, 10, 400_000]))
    leaves_at = chance.choice([None, None, 0, 1, 30_000])
    with trio.move_on_after(chance.choice([60, 60, 60, 0.001])) as scope:
        try:
            stream = await pool.open_stream(provider, request_head(provider), body, collector)
        except UpstreamError:
            return "refused"
        acknowledged = 0
        try:
            while not collector.over and (leaves_at is None or len(collector.data) < leaves_at):
                await collector.wait_bytes(acknowledged + 1)
                stream.acknowledge(collector.flow_bytes - acknowledged)
                acknowledged = collector.flow_bytes
        finally:
            over, data = collector.over, collector.data
            stream.reset_nowait()
        await trio.lowlevel.checkpoint()
        assert collector.data == data, "a reset stream is silent"
        return "over" if over else "left"
    assert scope.cancelled_caught
    return "cancelled"


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_left_over(seed: int) -> None:
    chance = random.Random(seed)
    outcomes: list[str] = []
    async with open_peer() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(serve_by_chance, peer, random.Random(seed + 1))
        async with open_pool() as pool:

            async def run() -> None:
                outcomes.append(await client(pool, peer, chance))

            with trio.fail_after(60):
                async with trio.open_nursery() as clients:
                    for _ in range(300):
                        clients.start_soon(run)
                        await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.02)
            [origin] = pool.statistics().origins
            assert (origin.open_streams, origin.waiting) == (0, 0), seed
            assert origin.connections == origin.free_streams <= 12, seed
            [group] = pool._groups.values()
            assert group.woken == 0
        with trio.fail_after(30):
            for served in peer.connections:
                await served.closed.wait()
        nursery.cancel_scope.cancel()
    assert len(outcomes) == 300
    assert {"over", "left"} <= set(outcomes), seed
