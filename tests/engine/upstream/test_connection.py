"""One connection, over a real socket."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import trio
import trio.testing

from engine.upstream.connection import Connection, ConnectionSettings, open_connection
from engine.upstream.errors import StreamLostError
from engine.upstream.streams import UpstreamStream
from engine.wire.http import Delivery
from engine.wire.http2 import ErrorCodes, Http2Limits, Http2StreamLimit

from .peer import Collector, Peer, open_peer, request_head


def start(
    connection: Connection, peer: Peer, body: bytes = b"{}"
) -> tuple[UpstreamStream, Collector]:
    collector = Collector()
    head = request_head(peer.provider())
    return connection.open_stream_nowait(head, body, collector), collector


async def test_request_and_answer() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        _, collector = start(connection, peer, b'{"stream":true}')
        request = await peer.next_request()
        assert await request.wait_ended() == b'{"stream":true}'
        assert dict(request.head)[b":path"] == b"/v1/chat/completions"
        request.answer(b"data: 1\n\n")
        assert await collector.wait_bytes(9) == b"data: 1\n\n"
        assert dict(collector.head or [])[b":status"] == b"200"
        request.send(b"data: 2\n\n", ended=True)
        await collector.wait_over()
        assert collector.data == b"data: 1\n\ndata: 2\n\n"
        assert connection.open_streams == 0


async def test_many_streams_over_one_connection() -> None:
    origin_streams = 200
    async with open_peer() as peer:
        provider = peer.provider(max_streams_per_connection=origin_streams)
        async with open_connection(provider.origin) as connection:
            collectors = [
                start(connection, peer, str(n).encode())[1] for n in range(origin_streams)
            ]
            assert connection.free_streams == 0
            for _ in range(origin_streams):
                request = await peer.next_request()
                request.answer(b"answer to " + await request.wait_ended(), ended=True)
            for n, collector in enumerate(collectors):
                assert (await collector.wait_over()).data == f"answer to {n}".encode()
        assert len(peer.connections) == 1


async def test_reset_reaches_the_provider_and_silences_the_stream() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        stream, collector = start(connection, peer)
        request = await peer.next_request()
        request.answer(b"first")
        await collector.wait_bytes(5)
        request.send(b"in flight")
        stream.reset_nowait()
        stream.reset_nowait()
        assert await request.wait_reset() == ErrorCodes.CANCEL
        assert collector.data == b"first"
        assert not collector.over
        assert connection.open_streams == 0


async def test_late_data_is_credited_to_the_connection() -> None:
    """Ten cancelled streams leave more in flight than the connection's window holds."""
    settings = ConnectionSettings(connection_window_bytes=100_000)
    async with open_peer() as peer, open_connection(peer.provider().origin, settings) as connection:
        for _ in range(10):
            stream, collector = start(connection, peer)
            request = await peer.next_request()
            assert request.answer(bytes(50_000)) == 50_000
            await collector.wait_bytes(1)
            stream.reset_nowait()
            await request.wait_reset()
        _, collector = start(connection, peer)
        request = await peer.next_request()
        request.answer(bytes(60_000), ended=True)
        await collector.wait_over()


async def test_a_slow_consumer_stops_its_own_stream_only() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        stream, slow = start(connection, peer)
        slow_request = await peer.next_request()
        slow_request.answer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(slow_request.send_all, bytes(300_000), ended=True))
            await slow.wait_bytes(65_536)
            _, quick = start(connection, peer)
            request = await peer.next_request()
            request.answer(b"not held up", ended=True)
            await quick.wait_over()
            assert len(slow.data) == 65_536
            acknowledged = 0
            while not slow.ended:
                await slow.wait_bytes(acknowledged + 1)
                stream.acknowledge(slow.flow_bytes - acknowledged)
                acknowledged = slow.flow_bytes
            assert len(slow.data) == 300_000


async def test_large_bodies_take_turns() -> None:
    """Bodies over the peer's window go out as it opens, interleaved frame by frame."""
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        bodies = [bytes([n]) * 400_000 for n in range(1, 4)]
        for body in bodies:
            start(connection, peer, body)
        requests = [await peer.next_request() for _ in bodies]
        small = b"a small one is not queued behind them"
        start(connection, peer, small)
        late = await peer.next_request()
        assert await late.wait_ended() == small
        assert not any(request.ended for request in requests)
        for request, body in zip(requests, bodies, strict=True):
            assert await request.wait_ended() == body
        order = peer.connections[0].order
        turns = sum(a != b for a, b in itertools.pairwise(order))
        assert turns > 20


async def test_a_stalled_body_holds_up_nobody() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        peer.acknowledges = False
        stream, _ = start(connection, peer, bytes(100_000))
        stalled = await peer.next_request()
        _, collector = start(connection, peer, b"")
        (await peer.next_request()).answer(b"ok", ended=True)
        await collector.wait_over()
        assert not stalled.ended
        stream.reset_nowait()
        assert await stalled.wait_reset() == ErrorCodes.CANCEL


async def test_an_answer_before_the_request_is_sent_ends_both() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        peer.acknowledges = False
        _, collector = start(connection, peer, bytes(1_000_000))
        request = await peer.next_request()
        request.answer(b"too large", ended=True)
        await collector.wait_over()
        assert collector.data == b"too large"
        await request.wait_reset()
        assert connection.open_streams == 0


async def test_goaway_drains() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        _, kept = start(connection, peer)
        first = await peer.next_request()
        _, above = start(connection, peer)
        await peer.next_request()
        first.answer(b"half, ")
        first.connection.http2.goaway(last_stream_id=first.stream_id)
        first.connection.flush()
        await above.wait_over()
        assert isinstance(above.error, StreamLostError)
        assert above.error.unprocessed
        assert connection.draining
        assert connection.free_streams == 0
        with pytest.raises(Http2StreamLimit):
            start(connection, peer)
        assert not kept.over
        first.send(b"and the other half", ended=True)
        assert (await kept.wait_over()).data == b"half, and the other half"
        await connection.wait_finished()


async def test_refused_stream_is_unprocessed() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        _, refused = start(connection, peer)
        (await peer.next_request()).reset(ErrorCodes.REFUSED_STREAM)
        await refused.wait_over()
        assert (refused.reset_code, refused.unprocessed) == (ErrorCodes.REFUSED_STREAM, True)
        _, broken = start(connection, peer)
        (await peer.next_request()).reset(ErrorCodes.INTERNAL_ERROR)
        await broken.wait_over()
        assert (broken.reset_code, broken.unprocessed) == (ErrorCodes.INTERNAL_ERROR, False)


async def test_a_lost_connection_loses_its_streams() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        request.answer(b"some")
        await collector.wait_bytes(4)
        request.connection.drop()
        await collector.wait_over()
        assert isinstance(collector.error, StreamLostError)
        assert not collector.error.unprocessed
        await connection.wait_finished()
        assert connection.free_streams == 0


async def test_a_request_that_never_left_is_unprocessed() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        # Closed in the same step as opened: the writer has had no turn.
        _, collector = start(connection, peer)
        connection._fail("lost", OSError("for the test"))
        assert isinstance(collector.error, StreamLostError)
        assert collector.error.unprocessed


async def test_protocol_errors_end_the_connection_but_what_came_counts() -> None:
    async with open_peer() as peer:
        async with open_connection(peer.provider().origin) as connection:
            _, collector = start(connection, peer)
            request = await peer.next_request()
            request.answer(b"tokens")
            empty_ping = b"\0\0\0\x06\0\0\0\0\0"
            request.connection.http2._machine._data_to_send += empty_ping
            request.connection.flush()
            await collector.wait_over()
            assert collector.data == b"tokens"
            assert collector.error is not None
            await connection.wait_finished()
        await request.connection.closed.wait()
        assert request.connection.http2.goaway_code == ErrorCodes.FRAME_SIZE_ERROR


class Faulty(Collector):
    """Fails on the second delivery."""

    def deliver(self, delivery: Delivery) -> None:
        if self.data:
            raise ZeroDivisionError("a fault in a relay")
        super().deliver(delivery)


async def test_a_receivers_fault_ends_its_stream_only(caplog: pytest.LogCaptureFixture) -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        faulty = Faulty()
        connection.open_stream_nowait(request_head(peer.provider()), b"", faulty)
        bad = await peer.next_request()
        _, collector = start(connection, peer)
        good = await peer.next_request()
        bad.answer(b"one")
        await faulty.wait_bytes(3)
        bad.send(b"two")
        assert await bad.wait_reset() == ErrorCodes.CANCEL
        assert isinstance(faulty.error, StreamLostError)
        assert not faulty.error.unprocessed
        good.answer(b"unharmed", ended=True)
        assert (await collector.wait_over()).data == b"unharmed"
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [ZeroDivisionError]


async def test_one_receiver_may_reset_another_in_the_same_read() -> None:
    async with open_peer() as peer, open_connection(peer.provider().origin) as connection:
        other, other_collector = start(connection, peer)
        other_request = await peer.next_request()

        class Jealous(Collector):
            def deliver(self, delivery: Delivery) -> None:
                other.reset_nowait()
                super().deliver(delivery)

        jealous = Jealous()
        connection.open_stream_nowait(request_head(peer.provider()), b"", jealous)
        request = await peer.next_request()
        request.answer(b"mine", ended=True)
        other_request.answer(b"theirs")
        await jealous.wait_over()
        await other_request.wait_reset()
        assert other_collector.data == b""


async def test_leaving_the_block_resets_what_is_open() -> None:
    async with open_peer() as peer:
        async with open_connection(peer.provider().origin) as connection:
            _, collector = start(connection, peer)
            request = await peer.next_request()
        assert isinstance(collector.error, StreamLostError)
        assert await request.wait_reset() == ErrorCodes.CANCEL
        assert request.connection.http2.goaway_code == ErrorCodes.NO_ERROR


async def test_cancelling_the_block_resets_what_is_open() -> None:
    async with open_peer() as peer, trio.open_nursery() as nursery:

        async def hold() -> None:
            async with open_connection(peer.provider().origin) as connection:
                start(connection, peer)
                await trio.sleep_forever()

        nursery.start_soon(hold)
        request = await peer.next_request()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(30):
            assert await request.wait_reset() == ErrorCodes.CANCEL


async def test_an_error_in_the_block_comes_out_alone() -> None:
    async with open_peer() as peer:
        with pytest.raises(KeyError):
            async with open_connection(peer.provider().origin):
                raise KeyError


async def test_the_peers_limit_is_known_from_the_start_and_may_change() -> None:
    limits = Http2Limits(streams_max=2)
    async with open_peer(limits) as peer, open_connection(peer.provider().origin) as connection:
        assert connection.free_streams == 2
        start(connection, peer)
        await peer.next_request()
        changed = trio.Event()
        connection.on_change = changed.set
        served = peer.connections[0]
        served.http2._machine.update_settings({3: 0})
        served.flush()
        await changed.wait()
        assert connection.free_streams == 0
        assert connection.open_streams == 1
