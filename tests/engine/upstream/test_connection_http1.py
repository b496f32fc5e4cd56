"""One HTTP/1.1 connection, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from engine.upstream.bodies import SpooledBody
from engine.upstream.connection_http1 import SerialConnection
from engine.upstream.errors import StreamLostError
from engine.upstream.opening import open_any_connection
from engine.upstream.providers import Origin
from engine.upstream.settings import ConnectionSettings
from engine.upstream.streams import UpstreamStream
from engine.wire.http import Delivery
from engine.wire.http1 import Http1Busy

from .peer import Collector, request_head
from .peer_http1 import STREAM, Peer, chunk, open_peer, plain

WINDOW = ConnectionSettings().stream_window_bytes


@asynccontextmanager
async def open_serial(origin: Origin) -> AsyncIterator[SerialConnection]:
    async with open_any_connection(origin, ConnectionSettings()) as connection:
        assert isinstance(connection, SerialConnection)
        yield connection


def start(
    connection: SerialConnection,
    peer: Peer,
    body: bytes | SpooledBody = b"{}",
    *,
    method: bytes = b"POST",
    collector: Collector | None = None,
) -> tuple[UpstreamStream, Collector]:
    collector = collector or Collector()
    head = request_head(peer.provider(), method=method)
    return connection.open_stream_nowait(head, body, collector), collector


async def answered(connection: SerialConnection, peer: Peer) -> None:
    """One request to its end, so that the connection is a reused one."""
    _, collector = start(connection, peer)
    await (await peer.next_request()).send(plain(b"ok"))
    await collector.wait_over()


# ---- requests and answers ----------------------------------------------------------------------


async def test_a_request_and_its_answer() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, b'{"stream":true}')
        request = await peer.next_request()
        assert (request.method, request.url) == (b"POST", b"/v1/chat/completions")
        assert dict(request.fields)[b"host"] == b"127.0.0.1:%d" % peer.port
        assert await request.wait_ended() == b'{"stream":true}'
        await request.send(STREAM, chunk(b"to"))
        assert await collector.wait_bytes(2) == b"to"
        assert collector.head is not None
        assert collector.head[0] == (b":status", b"200")
        assert not collector.over
        await request.send(chunk(b"kens"), chunk(b""))
        assert (await collector.wait_over()).data == b"tokens"
        assert collector.ended
        assert connection.free_streams == 1


async def test_a_connection_is_kept_alive() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        for n in range(200):
            body = bytes(n * 1_000)
            _, collector = start(connection, peer, body)
            with pytest.raises(Http1Busy):
                start(connection, peer)
            request = await peer.next_request()
            assert await request.wait_ended() == body
            await request.send(plain(b"%d" % n))
            assert (await collector.wait_over()).data == b"%d" % n
            await trio.testing.wait_all_tasks_blocked()
            assert connection.free_streams == 1
        assert len(peer.connections) == 1
        statistics = connection.statistics()
        assert (statistics.protocol, statistics.streams) == ("http/1.1", 200)


async def test_interim_answers_are_passed_over() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        await request.send(b"HTTP/1.1 100 Continue\r\n\r\n", plain(b"after all"))
        assert (await collector.wait_over()).data == b"after all"


async def test_an_answer_to_head_has_no_body() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, b"", method=b"HEAD")
        await (await peer.next_request()).send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        assert (await collector.wait_over()).data == b""
        await answered(connection, peer)


async def test_an_answer_may_end_with_the_connection() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        await request.send(b"HTTP/1.0 200 OK\r\n\r\nall there is")
        await request.connection.send_eof()
        assert (await collector.wait_over()).data == b"all there is"
        assert collector.ended
        await connection.wait_finished()


async def test_a_server_that_says_close_is_asked_once() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        await (await peer.next_request()).send(plain(b"bye", b"connection: close"))
        await collector.wait_over()
        assert connection.free_streams == 0
        await connection.wait_finished()


async def test_a_body_larger_than_any_buffer() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        body = bytes(range(256)) * 40_000
        stream, collector = start(connection, peer, body)
        request = await peer.next_request()
        assert await request.wait_ended() == body
        await request.send(plain(b"ok"))
        await collector.wait_over()
        assert stream.body.obj == b"", "what was sent is let go"


async def test_a_body_from_a_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2_000
    (tmp_path / "spool").write_bytes(data)
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, SpooledBody(tmp_path / "spool", len(data)))
        request = await peer.next_request()
        assert await request.wait_ended() == data
        await request.send(plain(b"ok"))
        await collector.wait_over()
        await answered(connection, peer)


async def test_a_body_from_a_file_that_is_too_short(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(bytes(200_000))
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, SpooledBody(tmp_path / "spool", 300_000))
        await collector.wait_over()
        assert isinstance(collector.error, StreamLostError)
        await peer.connections[0].closed.wait()
        assert not peer.connections[0].requests[0].ended.is_set()


# ---- flow ----------------------------------------------------------------------------------------


async def test_what_is_not_acknowledged_stops_the_reader() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        stream, collector = start(connection, peer)
        request = await peer.next_request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.send, plain(bytes(4_000_000)))
            await collector.wait_bytes(WINDOW - 1_000)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert WINDOW - 1_000 < len(collector.data) <= WINDOW
            acknowledged = 0
            while not collector.over:
                stream.acknowledge(collector.flow_bytes - acknowledged)
                acknowledged = collector.flow_bytes
                await collector.wait_bytes(acknowledged + 1)
                assert collector.flow_bytes - acknowledged <= WINDOW
        assert len(collector.data) == 4_000_000
        stream.acknowledge(1)  # too late: no-op
        await answered(connection, peer)


async def test_what_is_read_is_acknowledged_at_once() -> None:
    """A server may wait for that before it sends its next small piece."""
    if not hasattr(trio.socket, "TCP_QUICKACK"):
        pytest.skip("only Linux has TCP_QUICKACK")
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        assert isinstance(connection._transport, trio.SocketStream)
        socket = connection._transport.socket
        for _ in range(5):
            _, collector = start(connection, peer)
            request = await peer.next_request()
            await trio.testing.wait_all_tasks_blocked()
            assert socket.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_QUICKACK) == 1
            await request.send(plain(b"ok"))
            await collector.wait_over()


async def test_unread_bytes_of_one_answer_do_not_burden_the_next() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        for _ in range(3):
            _, collector = start(connection, peer)
            await (await peer.next_request()).send(plain(bytes(WINDOW - 1_000)))
            await collector.wait_over()


async def test_an_answer_before_the_request_is_sent_ends_both() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, bytes(50_000_000))
        request = await peer.next_request()
        request.connection.reading = trio.Event()
        await request.send(plain(b"too large", status=b"413 Content Too Large"))
        await collector.wait_over()
        assert collector.data == b"too large"
        assert connection.free_streams == 0
        await connection.wait_finished()
        request.connection.reading.set()
        await request.connection.closed.wait()
        assert not request.ended.is_set()


async def test_an_early_head_does_not_stop_the_body() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, bytes(10_000_000))
        request = await peer.next_request()
        await request.send(STREAM)
        assert len(await request.wait_ended()) == 10_000_000
        await request.send(chunk(b""))
        await collector.wait_over()


# ---- leaving -------------------------------------------------------------------------------------


async def test_reset_closes_the_connection() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        stream, collector = start(connection, peer)
        request = await peer.next_request()
        await request.send(STREAM, chunk(b"some"))
        await collector.wait_bytes(4)
        stream.reset_nowait()
        stream.reset_nowait()
        assert (connection.open_streams, connection.free_streams) == (0, 0)
        await request.connection.closed.wait()
        assert request.connection.was_reset
        await connection.wait_finished()
        assert not collector.over, "a reset stream is silent"


async def test_reset_of_a_body_that_nobody_reads() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        stream, _ = start(connection, peer, bytes(50_000_000))
        request = await peer.next_request()
        request.connection.reading = trio.Event()
        await trio.testing.wait_all_tasks_blocked(0.01)
        stream.reset_nowait()
        await connection.wait_finished()


async def test_a_request_that_has_not_left_costs_no_connection() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        for _ in range(3):
            stream, _ = start(connection, peer)
            stream.reset_nowait()
            assert connection.free_streams == 1
        await answered(connection, peer)
        assert len(peer.connections[0].requests) == 1


async def test_leaving_the_block_resets_what_is_open() -> None:
    async with open_peer() as peer:
        async with open_serial(peer.provider().origin) as connection:
            _, collector = start(connection, peer)
            request = await peer.next_request()
        assert isinstance(collector.error, StreamLostError)
        assert not collector.error.unprocessed
        await request.connection.closed.wait()
        assert request.connection.was_reset


async def test_leaving_the_block_ends_an_idle_connection_in_order() -> None:
    async with open_peer() as peer:
        async with open_serial(peer.provider().origin) as connection:
            await answered(connection, peer)
        await peer.connections[0].closed.wait()
        assert not peer.connections[0].was_reset


async def test_cancelling_the_block_resets_what_is_open() -> None:
    async with open_peer() as peer, trio.open_nursery() as nursery:

        async def hold() -> None:
            async with open_serial(peer.provider().origin) as connection:
                start(connection, peer, bytes(50_000_000))
                await trio.sleep_forever()

        nursery.start_soon(hold)
        request = await peer.next_request()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(30):
            await request.connection.closed.wait()


async def test_an_error_in_the_block_comes_out_alone() -> None:
    async with open_peer() as peer:
        with pytest.raises(KeyError):
            async with open_serial(peer.provider().origin):
                raise KeyError


async def test_a_retired_connection_ends_after_its_answer() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        connection.retire_nowait()
        assert connection.draining
        await request.send(plain(b"the last"))
        assert (await collector.wait_over()).data == b"the last"
        await connection.wait_finished()
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        connection.retire_nowait()
        await connection.wait_finished()


class Faulty(Collector):
    """Fails on the second delivery."""

    def deliver(self, delivery: Delivery) -> None:
        if self.data:
            raise ZeroDivisionError("a fault in a relay")
        super().deliver(delivery)


@pytest.mark.parametrize("second", [chunk(b"two"), chunk(b"two") + chunk(b"")])
async def test_a_receivers_fault_ends_its_stream(
    caplog: pytest.LogCaptureFixture, second: bytes
) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, faulty = start(connection, peer, collector=Faulty())
        request = await peer.next_request()
        await request.send(STREAM, chunk(b"one"))
        await faulty.wait_bytes(3)
        await request.send(second)
        await faulty.wait_over()
        assert isinstance(faulty.error, StreamLostError)
        assert not faulty.error.unprocessed
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [ZeroDivisionError]


async def test_a_receiver_may_reset_its_stream_as_it_is_called() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:

        class Leaving(Collector):
            stream: UpstreamStream

            def deliver(self, delivery: Delivery) -> None:
                super().deliver(delivery)
                self.stream.reset_nowait()

        leaving = Leaving()
        leaving.stream, _ = start(connection, peer, collector=leaving)
        request = await peer.next_request()
        await request.send(STREAM, chunk(b"enough"))
        await request.connection.closed.wait()
        assert leaving.data == b"enough"


async def test_many_large_bodies_at_once() -> None:
    async with open_peer() as peer, trio.open_nursery() as nursery:

        async def ask(n: int) -> None:
            async with open_serial(peer.provider().origin) as connection:
                _, collector = start(connection, peer, bytes([n]) * 500_000)
                assert (await collector.wait_over()).data == b"%d" % n

        for n in range(20):
            nursery.start_soon(partial(ask, n))
        for _ in range(20):
            request = await peer.next_request()
            body = await request.wait_ended()
            await request.send(plain(b"%d" % body[0]))
