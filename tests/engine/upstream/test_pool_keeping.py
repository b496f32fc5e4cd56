"""What the pool keeps: warm connections, none too old, no more than the cap; and its figures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from engine.errors import UpstreamUnreachableError
from engine.upstream.pool import OriginStatistics, Pool, PoolSettings, open_pool
from engine.upstream.providers import Provider
from engine.upstream.settings import ConnectionSettings
from engine.upstream.statistics import RoundTrip
from engine.wire.http2 import Http2Limits

from .peer import Collector, Peer, open_peer, request_head
from .proxy import open_proxy, open_server
from .test_dial_hosts import ALIVE, NAME, REFUSING, resolve_to


async def ask(pool: Pool, provider: Provider, body: bytes = b"") -> Collector:
    collector = Collector()
    await pool.open_stream(provider, request_head(provider), body, collector)
    return collector


async def wait(peer: Peer, condition: Callable[[], bool]) -> None:
    """Wait for what happens at the other end of a socket."""
    with trio.fail_after(30):
        while not condition():
            await trio.testing.wait_all_tasks_blocked(0.001)


def origin_of(pool: Pool) -> OriginStatistics:
    [origin] = pool.statistics().origins
    return origin


# ---- warm connections --------------------------------------------------------------------------


async def test_warm_connections_are_there_before_the_first_request() -> None:
    async with open_peer() as peer, open_pool() as pool:
        provider = peer.provider(warm_connections=3)
        pool.keep_warm(provider)
        pool.keep_warm(provider)  # once is enough
        await wait(peer, lambda: origin_of(pool).connections == 3)
        dials = pool.statistics().dials
        for _ in range(20):
            await ask(pool, provider)
        assert dials == pool.statistics().dials == 3
        await peer.next_request()


async def test_warm_connections_are_not_closed_for_being_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_pool(PoolSettings(fill_streams=1)) as pool:
        provider = peer.provider(warm_connections=2, connection_max_age_s=10_000)
        pool.keep_warm(provider)
        for _ in range(5):
            (await ask(pool, provider), await peer.next_request())
        for connection in peer.connections:
            for request in connection.requests.values():
                request.answer(ended=True)
        await trio.sleep(1_000)
        assert origin_of(pool).connections == 2
        assert sum(1 for c in peer.connections if not c.closed.is_set()) == 2


@pytest.mark.parametrize("how", ["drop", "goaway"])
async def test_a_warm_connection_that_ends_is_replaced(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_peer() as peer, open_pool() as pool:
        pool.keep_warm(peer.provider(warm_connections=2))
        await trio.sleep(5)
        [first, _] = peer.connections
        if how == "drop":
            first.drop()
        else:
            first.http2.goaway()
            first.flush()
        await trio.sleep(5)
        assert len(peer.connections) == 3
        assert origin_of(pool).connections == 2


async def test_what_is_not_used_any_more_grows_cold(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_pool() as pool:
        old, new = peer.provider(warm_connections=1), peer.provider(warm_connections=2)
        pool.keep_warm(old)
        await trio.sleep(5)
        pool.keep_warm(new)
        pool.let_cool([new])
        await trio.sleep(5)
        assert [origin.connections for origin in pool.statistics().origins] == [1, 2]
        for connection in peer.connections:
            connection.drop()
        await trio.sleep(5)
        assert [origin.connections for origin in pool.statistics().origins] == [0, 2]
        pool.let_cool([new])
        assert origin_of(pool).connections == 2, "and of the other nothing is known any more"
        pool.keep_warm(old)
        await trio.sleep(5)
        assert [origin.connections for origin in pool.statistics().origins] == [2, 1]


async def test_a_provider_that_hangs_up_at_once_is_not_stormed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    accepted = 0

    async def hang_up(stream: trio.SocketStream) -> None:
        nonlocal accepted
        accepted += 1
        await stream.send_all(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS: the dial succeeds

    async with open_server(hang_up) as port, open_pool() as pool:
        url = f"http://127.0.0.1:{port}"
        row = Provider("p", "openai", url, http2="prior-knowledge", warm_connections=1)
        pool.keep_warm(row)
        await trio.sleep(100)
        assert 2 <= accepted <= 101


async def test_a_provider_that_is_away_is_tried_less_and_less(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer:
        provider = peer.provider(warm_connections=1)
    async with open_pool() as pool:
        pool.keep_warm(provider)
        await trio.sleep(600)
        origin = origin_of(pool)
        assert 10 <= origin.dials_failed == origin.dials <= 30
        assert origin.last_failure == "The provider cannot be reached."


async def test_no_more_is_kept_warm_than_may_be_open() -> None:
    settings = PoolSettings(connections_max=2)
    async with open_peer() as peer, open_pool(settings) as pool:
        pool.keep_warm(peer.provider(warm_connections=5))
        await wait(peer, lambda: origin_of(pool).connections == 2)
        assert pool.statistics().dials == 2


# ---- the cap -----------------------------------------------------------------------------------


async def test_a_providers_own_cap() -> None:
    async with open_peer(Http2Limits(streams_max=1)) as peer, open_pool() as pool:
        provider = peer.provider(connections_max=2)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, pool, provider)
            await trio.testing.wait_all_tasks_blocked()
            await wait(peer, lambda: origin_of(pool).open_streams == 2)
            assert origin_of(pool).waiting == 2
            for _ in range(4):
                (await peer.next_request()).answer(ended=True)
        assert len(peer.connections) == 2


# ---- age ---------------------------------------------------------------------------------------


async def test_a_connection_in_use_is_replaced_before_it_goes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_pool() as pool:
        provider = peer.provider(connection_max_age_s=100)
        long = await ask(pool, provider)
        request = await peer.next_request()
        request.answer(b"begun")
        await long.wait_bytes(5)
        await trio.sleep(101)
        assert origin_of(pool).connections == 2
        [old, new] = sorted(origin_of(pool).connection_statistics, key=lambda c: -c.age_s)
        assert (old.state, old.open_streams, new.state) == ("draining", 1, "open")
        dials = pool.statistics().dials
        await ask(pool, provider)
        assert (await peer.next_request()).connection is peer.connections[1]
        assert pool.statistics().dials == dials, "its successor was there already"
        request.send(b", and ended in peace", ended=True)
        assert (await long.wait_over()).data == b"begun, and ended in peace"
        await peer.connections[0].closed.wait()


async def test_an_idle_connection_goes_at_its_age_and_has_no_successor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_pool() as pool:
        provider = peer.provider(connection_max_age_s=50)
        await ask(pool, provider)
        (await peer.next_request()).answer(ended=True)
        await trio.sleep(51)
        assert (origin_of(pool).connections, pool.statistics().dials) == (0, 1)


async def test_connections_opened_together_are_not_replaced_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_pool() as pool:
        pool.keep_warm(peer.provider(warm_connections=8, connection_max_age_s=1_000))
        await trio.sleep(1)
        assert len(peer.connections) == 8
        replaced_at: list[float] = []
        started = trio.current_time()
        for connection in list(peer.connections):

            async def note(closed: trio.Event = connection.closed) -> None:
                await closed.wait()
                replaced_at.append(trio.current_time() - started)

            trio.lowlevel.spawn_system_task(note)
        await trio.sleep(1_000)
        assert len(replaced_at) == 8
        gaps = [b - a for a, b in itertools.pairwise(replaced_at)]
        assert min(replaced_at) > 700
        assert min(gaps) > 10
        assert origin_of(pool).connections == 8


async def test_a_change_in_dns_is_followed(autojump_clock: trio.testing.MockClock) -> None:
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(open_peer())
        new = await stack.enter_async_context(open_peer(host="127.0.0.4", port=old.port))
        resolve_to(ALIVE)
        pool = await stack.enter_async_context(open_pool())
        provider = old.provider(
            base_url=f"http://{NAME}:{old.port}/v1", connection_max_age_s=60, warm_connections=1
        )
        pool.keep_warm(provider)
        await ask(pool, provider)
        (await old.next_request()).answer(ended=True)
        resolve_to("127.0.0.4")
        await trio.sleep(65)
        await ask(pool, provider)
        (await new.next_request()).answer(ended=True)
        assert old.connections[0].closed.is_set()


async def test_while_dns_fails_the_old_connection_serves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_pool() as pool:
        resolver = resolve_to(ALIVE)
        provider = peer.provider(
            base_url=f"http://{NAME}:{peer.port}/v1", connection_max_age_s=60, warm_connections=1
        )
        pool.keep_warm(provider)
        await ask(pool, provider)
        (await peer.next_request()).answer(ended=True)
        resolver.addresses = ()
        await trio.sleep(200)
        await ask(pool, provider)
        (await peer.next_request()).answer(ended=True)
        assert len(peer.connections) == 1
        resolver.addresses = (REFUSING, ALIVE)
        await trio.sleep(20)
        assert len(peer.connections) == 2
        assert peer.connections[0].closed.is_set()


# ---- figures -----------------------------------------------------------------------------------


async def test_the_figures_of_a_connection() -> None:
    settings = PoolSettings(ConnectionSettings(ping_interval_s=0.05))
    async with open_peer() as peer, open_pool(settings) as pool:
        provider = peer.provider()
        peer.acknowledges = False
        collector = await ask(pool, provider, bytes(100_000))
        request = await peer.next_request()
        await ask(pool, provider)
        await peer.next_request()
        request.answer(b"x" * 1_000)
        await collector.wait_bytes(1_000)
        await wait(
            peer, lambda: origin_of(pool).connection_statistics[0].round_trip_last_s is not None
        )
        [connection] = origin_of(pool).connection_statistics
        assert (connection.protocol, connection.state) == ("h2", "open")
        assert (connection.open_streams, connection.streams, connection.uploads) == (2, 2, 1)
        assert connection.stream_send_window_min_bytes == 0
        assert connection.stream_receive_window_min_bytes == 65_536 - 1_000
        assert connection.receive_window_bytes == 16 * 1024 * 1024 - 1_000
        assert connection.send_window_bytes is not None
        assert connection.round_trip_last_s is not None
        assert 0 < connection.round_trip_last_s < 5
        assert connection.round_trip_smoothed_s is not None
        assert connection.age_s > 0


def test_the_round_trip_is_smoothed_and_late_answers_do_not_count() -> None:
    round_trip = RoundTrip()
    round_trip.end(b"unasked!", 1.0)
    assert (round_trip.last_s, round_trip.smoothed_s) == (None, None)
    first = round_trip.begin(10.0)
    round_trip.end(first, 10.5)
    round_trip.end(first, 99.0)
    assert (round_trip.last_s, round_trip.smoothed_s) == (0.5, 0.5)
    late, second = round_trip.begin(20.0), round_trip.begin(30.0)
    assert len({first, late, second}) == 3
    assert len(second) == 8
    round_trip.end(late, 30.1)
    round_trip.end(second, 31.3)
    assert round_trip.last_s == pytest.approx(1.3)
    assert round_trip.smoothed_s == pytest.approx(0.5 + 0.8 / 8)


async def test_the_figures_of_an_origin() -> None:
    async with open_peer() as peer, open_pool() as pool, open_proxy() as proxy:
        provider = peer.provider(proxy=proxy.url("ann:secret"))
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        with pytest.raises(UpstreamUnreachableError):
            await ask(pool, provider)
        origin = origin_of(pool)
        assert origin.proxy == f"127.0.0.1:{proxy.port}"
        assert (origin.dials, origin.dials_failed, origin.connections) == (1, 1, 0)
        assert origin.last_failure == "The proxy refused a tunnel to the provider (403)."
        assert "secret" not in repr(pool.statistics())
        proxy.answer = None
        await ask(pool, provider)
        origin = origin_of(pool)
        assert (origin.dials, origin.dials_failed, origin.last_failure) == (2, 1, None)
