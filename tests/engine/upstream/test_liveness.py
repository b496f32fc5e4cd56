"""Peers that are silent, idle, deaf, absent, or speak something else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from engine.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from engine.upstream.connection import open_connection
from engine.upstream.errors import StreamLostError

from .peer import LENIENT, Peer, open_peer
from .test_connection import start


async def test_a_silent_peer_is_found_by_ping(autojump_clock: trio.testing.MockClock) -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        (await peer.next_request()).answer(b"some")
        await collector.wait_bytes(4)
        await trio.sleep(100)  # an idle peer that answers pings is alive
        assert not collector.over
        peer.deaf = True
        await collector.wait_over()
        assert isinstance(collector.error, StreamLostError)
        await connection.wait_finished()


async def test_an_idle_connection_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        started = trio.current_time()
        await connection.wait_finished()
        assert 120 <= trio.current_time() - started <= 140
        assert connection.draining


async def test_a_peer_that_does_not_read_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = LENIENT
    async with open_peer(limits) as peer, open_connection(peer.provider().origin) as connection:
        connection._http2._machine.outbound_flow_control_window = 1 << 30
        connection._http2._machine.remote_settings.initial_window_size = 1 << 30
        connection._http2._machine.remote_settings.acknowledge()
        await trio.testing.wait_all_tasks_blocked()
        peer.connections[0].reading = trio.Event()
        start(connection, peer, b"")  # the peer's last read
        _, collector = start(connection, peer, bytes(64_000_000))
        await collector.wait_over()
        assert isinstance(collector.error, UpstreamError)


async def test_nobody_listens() -> None:
    async with open_peer() as peer:
        provider = peer.provider()
    with pytest.raises(UpstreamUnreachableError):
        async with open_connection(provider.origin):
            pass


async def test_a_peer_that_accepts_and_says_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, silent, 0)
        port = listeners[0].socket.getsockname()[1]
        provider = Peer(LENIENT).provider(base_url=f"http://127.0.0.1:{port}")
        with pytest.raises(UpstreamTimeoutError):
            async with open_connection(provider.origin):
                pass
        nursery.cancel_scope.cancel()


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_a_peer_that_speaks_http1() -> None:
    async def http1(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, http1, 0)
        port = listeners[0].socket.getsockname()[1]
        provider = Peer(LENIENT).provider(base_url=f"http://127.0.0.1:{port}")
        with pytest.raises(UpstreamUnreachableError, match="HTTP/2"):
            async with open_connection(provider.origin):
                pass
        nursery.cancel_scope.cancel()


async def test_cleartext_needs_to_be_asked_for() -> None:
    async with open_peer() as peer:
        with pytest.raises(UpstreamUnreachableError, match=r"HTTP/2 is needed"):
            async with open_connection(peer.provider(http2="alpn").origin):
                pass
