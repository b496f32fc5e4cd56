"""The task of one connection: the protocol it opens, when it is too late, what it contains."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from frontends.server import ServerSettings
from frontends.server.connection import PREFACE, Connection, HttpVersion
from frontends.server.interfaces import Peer
from frontends.server.transport import OutputBudget, Transport
from tests.frontends.server.apps import read_all, read_until


class Repeater:
    """A protocol: it says which one it is, then repeats what it hears."""

    def __init__(self, version: HttpVersion, transport: Transport) -> None:
        self.deadline_s = math.inf
        self.idle = True
        self.ends = 0
        self._transport = transport
        transport.write(version.encode() + b":")

    def receive(self, data: bytes) -> None:
        if b"fault" in data:
            raise ValueError("a planted fault")
        if b"soon" in data:
            self.deadline_s = trio.current_time() + 5
        self._transport.write(data)
        if b"bye" in data:
            self._transport.end()

    def receive_eof(self) -> None:
        self.ends += 1

    def timed_out(self) -> None:
        self._transport.write(b"late")

    def stop(self) -> None:
        raise ValueError("a fault in stopping")


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.01)


@asynccontextmanager
async def open_connection(
    opened: Callable[[Repeater], None] = lambda protocol: None,
) -> AsyncIterator[tuple[Connection, trio.SocketStream]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    settings = ServerSettings(header_timeout_s=10.0, linger_s=2.0)

    def open_protocol(version: HttpVersion, transport: Transport) -> Repeater:
        protocol = Repeater(version, transport)
        opened(protocol)
        return protocol

    async with trio.open_nursery() as nursery:
        peer = Peer("unix", 0, "http", local=True)
        budget = OutputBudget(1 << 30)
        transport = Transport(ours, peer, ("/run/p.sock", None), settings, nursery, budget)
        connection = Connection(transport, open_protocol, settings)
        nursery.start_soon(connection.run)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as client:
            yield connection, client


@pytest.mark.parametrize("cut", range(1, len(PREFACE)))
async def test_the_preface_opens_http2_however_it_is_cut(cut: int) -> None:
    async with open_connection() as (_, client):
        await client.send_all(PREFACE[:cut])
        await trio.testing.wait_all_tasks_blocked()
        await client.send_all(PREFACE[cut:] + b".")
        assert await read_until(client, b".") == b"h2:" + PREFACE + b"."


@pytest.mark.parametrize("opening", [b"G", b"POST", b"PRX", b"PRI * HTTP/1.1\r\n", b"\x16\x03"])
async def test_all_else_is_http1(opening: bytes) -> None:
    async with open_connection() as (_, client):
        await client.send_all(opening)
        expected = b"http/1.1:" + opening
        assert await read_until(client, expected) == expected


@pytest.mark.parametrize("opening", [b"", b"PRI * "])
async def test_a_client_that_opens_nothing_is_closed(opening: bytes, clock: MockClock) -> None:
    async with open_connection() as (_, client):
        await client.send_all(opening)
        assert await read_all(client) == b""
        assert 10 <= trio.current_time() < 11


async def test_a_deadline_that_moves_while_the_client_is_silent_is_followed(
    clock: MockClock,
) -> None:
    protocols: list[Repeater] = []
    async with open_connection(protocols.append) as (connection, client):
        await client.send_all(b"GET")
        await read_until(client, b"GET")
        protocols[0].deadline_s = trio.current_time() + 7
        connection.check(trio.current_time())
        assert await read_until(client, b"late") == b"late"
        assert 7 <= trio.current_time() < 8
        connection.check(trio.current_time())
        assert await read_all(client) == b""  # it did not end by itself, and was ended
    assert protocols[0].ends == 1


async def test_what_comes_after_the_end_is_dropped(clock: MockClock) -> None:
    async with open_connection() as (connection, client):
        await client.send_all(b"bye")
        assert await read_all(client) == b"http/1.1:bye"
        await client.send_all(b"fault")
        connection.check(trio.current_time())
        await trio.sleep(2)
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert connection.transport.gone


@pytest.mark.parametrize("fault", ["reading", "stopping"])
async def test_a_fault_ends_its_connection_and_is_logged(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    protocols: list[Repeater] = []
    with caplog.at_level(logging.ERROR, "parshall.server"):
        async with open_connection(protocols.append) as (connection, client):
            await client.send_all(b"GET")
            await read_until(client, b"GET")
            if fault == "reading":
                await client.send_all(b"fault")
            else:
                connection.stop_nowait()
            assert await read_all(client) in {b"", b"<reset>"}
    assert "fault" in caplog.text
    assert protocols[0].ends == 1
