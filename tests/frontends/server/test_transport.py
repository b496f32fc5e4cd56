"""The socket under every protocol: what is written arrives once and in order, or the client is
cut; what waits is bounded in time and in bytes."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from frontends.server import ServerSettings
from frontends.server.interfaces import Peer, Wire
from frontends.server.transport import OutputBudget, Transport

PEER = Peer("127.0.0.1", 1, "http", local=True)


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Our end and the client's, with little room in the kernel: what is not read shows early."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    return ours, client


@asynccontextmanager
async def open_pair(
    pair: Callable[[], tuple[socket.socket, socket.socket]] = tcp_pair,
    budget: OutputBudget | None = None,
    **settings: float,
) -> AsyncIterator[tuple[Transport, trio.SocketStream]]:
    """Our side of a connection, checked once a second, and the client's."""
    ours, client = pair()
    ours.setblocking(False)
    client.setblocking(False)
    async with trio.open_nursery() as nursery:
        transport = Transport(
            ours,
            PEER,
            ("127.0.0.1", 80),
            ServerSettings(**settings),  # type: ignore[arg-type]
            nursery,
            budget or OutputBudget(1 << 30),
        )

        async def check() -> None:
            while True:
                await trio.sleep(1)
                transport.check(trio.current_time())

        nursery.start_soon(check)
        try:
            yield transport, trio.SocketStream(trio.socket.from_stdlib_socket(client))
        finally:
            transport.abort()
            client.close()
            nursery.cancel_scope.cancel()


async def read_all(stream: trio.SocketStream) -> bytes:
    """Bytes until the end of the connection; raises where it was reset."""
    data = bytearray()
    while more := await stream.receive_some(65_536):
        data += more
    return bytes(data)


def fill(wire: Wire) -> None:
    """Write far more than the kernel takes."""
    wire.write(b"x" * 500_000)
    assert wire.written_bytes < 250_000


async def test_what_is_written_in_any_pieces_arrives_whole_and_in_order() -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    sent = bytearray()
    async with open_pair() as (transport, client), trio.open_nursery() as nursery:
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await read_all(client))

        nursery.start_soon(receive)
        for _ in range(100):
            piece = chance.randbytes(chance.choice([0, 1, 200, 16_384, 200_000]))
            sent += piece
            drained = trio.Event()
            if not transport.write(piece):
                transport.on_drained(drained.set)
                await drained.wait()
            assert transport.written_bytes <= transport.accepted_bytes == len(sent)
        transport.end()
    assert received == [bytes(sent)], f"seed {seed}"


async def test_a_client_that_reads_nothing_is_cut(autojump_clock: MockClock) -> None:
    async with open_pair(write_stall_s=30.0) as (transport, client):
        fill(transport)
        drained = trio.Event()
        transport.on_drained(drained.set)
        await drained.wait()
        assert transport.gone
        assert 30 <= trio.current_time() <= 32
        with pytest.raises(trio.BrokenResourceError):
            await read_all(client)


async def test_a_client_that_reads_a_trickle_is_cut(autojump_clock: MockClock) -> None:
    # A Unix socket: TCP's timers do not follow the test's clock.
    async with open_pair(socket.socketpair, write_stall_s=30.0) as (transport, client):
        for _ in range(1_000):
            transport.write(b"x" * 1_000)
        while not transport.gone:
            await trio.sleep(5)
            await client.receive_some(500)
        assert 60 <= trio.current_time() <= 130


async def test_a_slow_client_that_reads_on_is_served(autojump_clock: MockClock) -> None:
    async with open_pair(socket.socketpair, write_stall_s=30.0) as (transport, client):
        fill(transport)
        transport.end()
        read = 0
        while data := await client.receive_some(65_536):
            read += len(data)
            await trio.sleep(20)
        assert read == transport.accepted_bytes == transport.written_bytes
        assert trio.current_time() > 60


async def test_the_connection_that_holds_most_is_cut_when_all_hold_too_much() -> None:
    budget = OutputBudget(1_000_000)
    async with open_pair(budget=budget) as (small, _), open_pair(budget=budget) as (large, _):
        fill(small)
        fill(large)
        while not large.gone:
            large.write(b"x" * 100_000)
            assert budget.used_bytes <= 1_000_000
        assert not small.gone
        assert budget.used_bytes == small.buffered_bytes > 0
        assert large.buffered_bytes == 0
    assert budget.used_bytes == 0


async def test_what_a_protocol_holds_counts_for_its_connection() -> None:
    budget = OutputBudget(1_000_000)
    async with open_pair(budget=budget) as (small, _), open_pair(budget=budget) as (large, _):
        fill(small)
        large.hold(500_000)
        large.hold(-100_000)
        before = large.gone
        large.hold(400_000)
        assert (before, large.gone) == (False, True)
        large.hold(-800_000)
        assert budget.used_bytes == small.waiting_bytes > 0
        small.hold(10)
        small.hold(-10)
        assert not small.gone
    assert budget.used_bytes == 0


async def test_reading_is_held_and_goes_on() -> None:
    async with open_pair() as (transport, client):
        transport.pause()
        await client.send_all(b"request")
        with trio.move_on_after(0.01) as waiting:
            await transport.receive()
        assert waiting.cancelled_caught
        transport.resume()
        assert await transport.receive() == b"request"
        transport.push_back(b"read too far")
        assert await transport.receive() == b"read too far"


async def test_a_reset_is_heard_by_whoever_reads_and_writes() -> None:
    async with open_pair() as (transport, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.socket.close()
        assert await transport.receive() == b""
        assert transport.gone
        assert transport.write(b"to nobody")
        assert transport.accepted_bytes == 0
