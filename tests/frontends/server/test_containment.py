"""One connection cannot end the process, nor be noticed by another one."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h2.events
import hyperframe.frame
import pytest
import trio

from frontends.server import Server, open_server
from tests.frontends.server.apps import (
    Probe,
    bounds,
    dial,
    get,
    headers,
    open_http2,
    open_probe,
    read_all,
    read_until,
)

pytestmark = pytest.mark.usefixtures("each_server")

REFUSED = h2.events.StreamReset | h2.events.StreamEnded
"""By a reset, or by an answer that says why."""
Killer = Callable[[Server], Awaitable[None]]


async def path_outside_ascii(server: Server) -> None:
    async with open_http2(server) as client:
        await client.request(1, headers(b"/\xff"))
        assert await client.wait_for(REFUSED, 1)


async def method_outside_ascii(server: Server) -> None:
    async with open_http2(server) as client:
        await client.request(1, headers(method=b"G\xff"))
        assert await client.wait_for(REFUSED, 1)


async def connect_without_path(server: Server) -> None:
    async with open_http2(server) as client:
        await client.request(1, [(b":method", b"CONNECT"), (b":authority", b"a")], ended=False)
        assert await client.wait_for(h2.events.StreamReset, 1)


async def data_after_an_early_answer(server: Server) -> None:
    async with open_http2(server) as client:
        await client.request(1, headers(b"/deny", b"POST"), ended=False)
        assert await client.wait_for(h2.events.StreamEnded, 1)
        await client.stream.send_all(hyperframe.frame.DataFrame(1, b"x" * 1_000).serialize())
        assert await client.wait_for(h2.events.StreamReset, 1)
        await client.request(3, headers())
        assert await client.wait_for(h2.events.StreamEnded, 3), "the connection goes on"


async def many_priority_frames(server: Server) -> None:
    async with open_http2(server) as client:
        frames = (
            hyperframe.frame.PriorityFrame(2 * number + 1, depends_on=0, stream_weight=5)
            for number in range(1, 1_500)
        )
        await client.stream.send_all(b"".join(frame.serialize() for frame in frames))
        await client.wait_for(h2.events.StreamEnded)
        assert client.ended


async def websocket_upgrade_and_a_byte(server: Server) -> None:
    async with await dial(server) as stream:
        await stream.send_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\nx"
        )
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 ")


async def host_outside_ascii(server: Server) -> None:
    async with await dial(server) as stream:
        await stream.send_all(b"GET /%ff%fe HTTP/1.1\r\nHost: \xff\r\n\r\n")
        assert await read_until(stream, b"\r\n\r\n")


async def upgrade_to_h2c(server: Server) -> None:
    async with await dial(server) as stream:
        await stream.send_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"HTTP2-Settings: !!!\r\n\r\n"
        )
        assert (await read_until(stream, b"ok")).startswith(b"HTTP/1.1 200")


async def not_http(server: Server) -> None:
    async with await dial(server) as stream:
        await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400")


async def header_without_end(server: Server) -> None:
    async with await dial(server) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: " + b"a" * 40_000)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 431")


async def reset_at_once(server: Server) -> None:
    stream = await dial(server)
    stream.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER 0: close is a reset
    await stream.send_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
    await stream.aclose()


async def http2_that_is_not(server: Server) -> None:
    async with await dial(server) as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100)
        await read_all(stream)


KILLERS: list[Killer] = [
    path_outside_ascii,
    method_outside_ascii,
    connect_without_path,
    data_after_an_early_answer,
    many_priority_frames,
    websocket_upgrade_and_a_byte,
    host_outside_ascii,
    upgrade_to_h2c,
    not_http,
    header_without_end,
    reset_at_once,
    http2_that_is_not,
]


@asynccontextmanager
async def bystander(probe: Probe, server: Server) -> AsyncIterator[None]:
    """A stream that is under way meanwhile, and ends as it should afterwards."""
    async with await dial(server) as stream:
        await stream.send_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        await read_until(stream, b"tick\n")
        yield
        probe.release.set()
        assert (await read_until(stream, b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
    assert probe.outcome == "completed"


@pytest.mark.parametrize("killer", KILLERS, ids=lambda killer: killer.__name__)
async def test_no_connection_harms_another(killer: Killer) -> None:
    async with open_probe() as (probe, server), bystander(probe, server):
        with trio.fail_after(30):
            await killer(server)
        assert (await get(server)).endswith(b"ok")


async def test_an_exception_of_the_app_is_logged_and_ends_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("a planted fault")

    with caplog.at_level(logging.ERROR, "parshall.server"):
        async with open_server(app, ["127.0.0.1:0"], bounds()) as server:
            assert b" 500 " in await get(server)
            assert b" 500 " in await get(server)

    assert caplog.text.count("a planted fault") >= 2


async def test_a_flood_of_resets_ends_the_connection() -> None:
    async with open_probe() as (_, server), open_http2(server) as client:
        for number in range(300):
            stream_id = 2 * number + 1
            client.state.send_headers(stream_id, headers(b"/stream"), end_stream=True)
            client.state.reset_stream(stream_id)
        await client.flush()
        ended = await client.wait_for(h2.events.ConnectionTerminated)

        assert ended is None or ended.error_code == 0xB  # ENHANCE_YOUR_CALM
        assert (await get(server)).endswith(b"ok")


async def test_a_server_stays_up_under_garbage() -> None:
    seed = time.time_ns()
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    openings = [b"", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    async with open_probe() as (_, server):
        for _ in range(30):
            async with await dial(server) as stream:
                try:
                    await stream.send_all(chance.choice(openings) + chance.randbytes(300))
                    await stream.send_eof()
                except trio.BrokenResourceError:
                    continue
                await read_all(stream)
        assert (await get(server)).endswith(b"ok")
