"""The sink: bytes past the app's tasks, in order, bounded, for whoever is still there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2.events
import pytest
import trio
from trio.testing import MockClock

from frontends.server import SINK, Server, open_server
from frontends.server.hypercorn.sink import ChunkSink
from tests.frontends.server.apps import bounds, dial, headers, open_http2, read_all, read_until

pytestmark = pytest.mark.usefixtures("each_server")

Body = Callable[[ChunkSink], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.01)


def app_of(body: Body) -> Any:
    """An ASGI app that pushes its body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        open_sink = scope["extensions"].get(SINK)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if open_sink is None:
            await send({"type": "http.response.body", "body": b"sent", "more_body": False})
            return
        await body(open_sink())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


@asynccontextmanager
async def open_pushing(body: Body, **settings: Any) -> AsyncIterator[Server]:

    async with open_server(app_of(body), ["127.0.0.1:0"], bounds(**settings)) as server:
        yield server


def unframed(data: bytes) -> bytes:
    """The body out of chunks; fails on anything that is not one."""
    at = data.index(b"\r\n\r\n") + 4
    parts = []
    while True:
        end = data.index(b"\r\n", at)
        length = int(data[at:end], 16)
        at = end + 2 + length
        parts.append(data[end + 2 : at])
        assert data[at : at + 2] == b"\r\n"
        at += 2
        if length == 0:
            assert at == len(data)
            return b"".join(parts)


async def test_what_is_pushed_arrives_in_chunks_and_the_connection_goes_on() -> None:
    async def body(sink: ChunkSink) -> None:
        for word in (b"one ", b"", b"two ", b"three"):
            assert sink.send_nowait(word)
        await sink.wait_drained()
        assert sink.delivered_bytes == 13

    async with open_pushing(body) as server, await dial(server) as stream:
        for _ in range(2):
            await stream.send_all(REQUEST)
            data = await read_until(stream, b"0\r\n\r\n")
            assert unframed(data) == b"one two three"


async def test_a_slow_client_is_waited_for_within_the_high_water_mark() -> None:
    piece = b"0123456789abcdef" * 256
    count = 3_000  # more than the kernel buffers
    most_waiting = 0

    async def body(sink: ChunkSink) -> None:
        nonlocal most_waiting
        for number in range(count):
            if not sink.send_nowait(piece):
                await sink.wait_drained()
            most_waiting = max(most_waiting, (number + 1) * len(piece) - sink.delivered_bytes)
        await sink.wait_drained()
        assert sink.delivered_bytes == count * len(piece)

    async with (
        open_pushing(body, sink_high_water_bytes=10_000) as server,
        await dial(server) as stream,
    ):
        await stream.send_all(REQUEST)
        data = bytearray(await stream.receive_some(1))
        await trio.testing.wait_all_tasks_blocked(0.05)  # until the client holds it up
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await stream.receive_some(65_536)

    assert unframed(bytes(data)) == piece * count
    assert 0 < most_waiting < 10_000 + 2 * len(piece)


async def test_a_client_that_leaves_is_seen() -> None:
    seen = trio.Event()

    async def body(sink: ChunkSink) -> None:
        try:
            while not sink.gone:
                sink.send_nowait(b"x" * 1_000)
                await trio.lowlevel.checkpoint()
            assert not sink.send_nowait(b"more") or sink.gone
            await sink.wait_drained()
        finally:
            seen.set()

    async with open_pushing(body) as server:
        async with await dial(server) as stream:
            await stream.send_all(REQUEST)
            await stream.receive_some(1_000)
        with trio.fail_after(30):
            await seen.wait()


async def test_a_client_that_stalls_is_cut(clock: MockClock) -> None:
    seen = trio.Event()

    async def body(sink: ChunkSink) -> None:
        try:
            while sink.send_nowait(b"x" * 10_000):
                pass
            await sink.wait_drained()
            assert sink.gone
        finally:
            seen.set()

    async with open_pushing(body, write_stall_s=5) as server, await dial(server) as stream:
        await stream.send_all(REQUEST)
        await seen.wait()


async def test_an_app_can_cut_its_client() -> None:
    async def body(sink: ChunkSink) -> None:
        sink.send_nowait(b"half")
        sink.abort()
        await sink.wait_drained()

    async with open_pushing(body) as server, await dial(server) as stream:
        await stream.send_all(REQUEST)
        assert not (await read_all(stream)).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("each_server", ["hypercorn"], indirect=True)
@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.0", b"HEAD / HTTP/1.1"])
async def test_without_chunks_there_is_no_sink(request_line: bytes) -> None:
    async def body(sink: ChunkSink) -> None:
        raise AssertionError

    async with open_pushing(body) as server, await dial(server) as stream:
        await stream.send_all(request_line + b"\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = await read_all(stream)

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"sent") or request_line.startswith(b"HEAD")


@pytest.mark.parametrize("each_server", ["hypercorn"], indirect=True)
async def test_http2_has_no_sink() -> None:
    async def body(sink: ChunkSink) -> None:
        raise AssertionError

    async with open_pushing(body) as server, open_http2(server) as client:
        await client.request(1, headers())
        assert await client.wait_for(h2.events.StreamEnded, 1)
