"""How HTTP/2 connections and streams end: by the client, by time, by a stop, by a fault."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from typing import Any

import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import GoAwayFrame, HeadersFrame
from trio.testing import MockClock

from engine.wire.http2_limits import DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE
from tests.frontends.server.apps import (
    dial,
    headers,
    make_probe,
    open_http2,
    open_probe,
    read_all,
)
from tests.frontends.server.http2_served import Http2Served, answer, echo, serve_http2


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.005)


@pytest.mark.parametrize("by", ["reset", "fin"])
async def test_a_client_that_leaves_is_heard_at_once(by: str) -> None:
    probe = make_probe()
    async with serve_http2(probe.app) as served, open_http2(served) as client:
        await client.request(1, headers(b"/stream"))
        await client.wait_for(h2.events.DataReceived, 1)
        if by == "reset":
            client.state.reset_stream(1, ErrorCodes.CANCEL)
            await client.flush()
        else:
            await client.stream.send_eof()
        await probe.ended.wait()
        assert probe.outcome != "completed"
        assert served.protocols[0].idle


async def test_a_request_that_is_taken_back_at_once_never_reaches_the_app() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await answer(send)

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.wait_for(h2.events.SettingsAcknowledged)
        client.state.send_headers(1, headers(b"/taken-back"))
        client.state.reset_stream(1)
        await client.request(3, headers(b"/kept"))
        await client.wait_for(h2.events.StreamEnded, 3)
    assert seen == ["/kept"]


@pytest.mark.parametrize(("requests", "after_s"), [(0, 7.0), (1, 11.0)])
async def test_an_idle_connection_ends_with_goaway(
    clock: MockClock, requests: int, after_s: float
) -> None:
    timeouts: dict[str, Any] = {"header_timeout_s": 7.0, "keep_alive_s": 11.0}
    async with serve_http2(echo, **timeouts) as served, open_http2(served) as client:
        began_s = trio.current_time()
        for number in range(requests):
            await client.request(2 * number + 1, headers())
        goaway = await client.wait_for(h2.events.ConnectionTerminated)
        assert goaway.error_code == ErrorCodes.NO_ERROR
        assert goaway.last_stream_id == requests
        assert trio.current_time() - began_s == pytest.approx(after_s, abs=1.1)
        assert await client.wait_for(h2.events.PriorityUpdated) is None  # it ends


async def test_a_header_block_that_is_not_ended_in_time_ends_the_connection(
    clock: MockClock,
) -> None:
    probe = make_probe()
    async with serve_http2(probe.app, header_timeout_s=5) as served, open_http2(served) as client:
        await client.request(1, headers(b"/stream"))
        await client.wait_for(h2.events.DataReceived, 1)
        block = Encoder().encode(headers())
        await client.stream.send_all(HeadersFrame(3, data=block).serialize())
        began_s = trio.current_time()
        assert await client.wait_for(h2.events.ConnectionTerminated)
        assert trio.current_time() - began_s == pytest.approx(5, abs=1.1)
        await probe.ended.wait()


async def test_a_stop_says_goodbye_to_an_idle_connection() -> None:
    async with serve_http2(echo) as served, open_http2(served) as client:
        await client.request(1, headers())
        await client.wait_for(h2.events.StreamEnded, 1)
        served.stop()
        goaway = await client.wait_for(h2.events.ConnectionTerminated)
        assert (goaway.error_code, goaway.last_stream_id) == (ErrorCodes.NO_ERROR, 1)
        assert await client.wait_for(h2.events.PriorityUpdated) is None


async def test_a_stop_lets_open_streams_end_and_takes_what_crosses_it(clock: MockClock) -> None:
    probe = make_probe()
    async with serve_http2(probe.app) as served, open_http2(served) as client:
        await client.request(1, headers(b"/stream"))
        await client.wait_for(h2.events.DataReceived, 1)
        served.stop()
        client.state.send_headers(3, headers(), end_stream=True)  # it has not heard yet
        await client.flush()
        client.state._frame_dispatch_table[GoAwayFrame] = _goaway_event
        assert (await client.wait_for(h2.events.ConnectionTerminated)).last_stream_id == 2**31 - 1
        assert await client.wait_for(h2.events.StreamEnded, 3)
        client.events.clear()
        assert (await client.wait_for(h2.events.ConnectionTerminated)).last_stream_id == 3
        await client.request(5, headers())  # too late, and it was told
        probe.release.set()
        assert await client.wait_for(h2.events.StreamEnded, 1)
        assert probe.outcome == "completed"
        assert await client.wait_for(h2.events.ResponseReceived, 5) is None


def _goaway_event(frame: GoAwayFrame) -> Any:
    """h2 would take GOAWAY for the end of the connection (RFC 9113 section 6.8 does not)."""
    event = h2.events.ConnectionTerminated()
    event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
    return [], [event]


async def test_a_protocol_error_is_told_and_ends_the_connection() -> None:
    async with serve_http2(echo) as served, await dial_raw(served) as stream:
        await stream.send_all(b"\0\0\x08\x06\0\0\0\0\1" + bytes(8))  # PING on a stream
        data = await read_all(stream)
    assert data.endswith(b"\0\0\0\1")  # GOAWAY's code: PROTOCOL_ERROR


async def dial_raw(served: Http2Served) -> trio.SocketStream:
    stream = await dial(served)
    await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    return stream


async def test_what_an_app_says_when_the_grace_is_over_still_arrives(clock: MockClock) -> None:
    async with open_probe() as (probe, server), open_http2(server) as client:
        client.state._frame_dispatch_table[GoAwayFrame] = _goaway_event
        await client.request(1, headers(b"/stream"))
        await client.wait_for(h2.events.DataReceived, 1)

        async def end_answers() -> None:
            probe.release.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.stop, 7.0, end_answers)
            assert await client.wait_for(h2.events.StreamEnded, 1)
            assert trio.current_time() >= 7
            assert await client.wait_for(h2.events.PriorityUpdated) is None
        assert probe.outcome == "completed"


async def test_a_stop_does_not_wait_for_a_client_that_only_stays(clock: MockClock) -> None:
    async with open_probe(linger_s=3) as (_, server), open_http2(server) as client:
        await client.request(1, headers())
        await client.wait_for(h2.events.StreamEnded, 1)
        began_s = trio.current_time()
        await server.stop()
        assert trio.current_time() - began_s == pytest.approx(3, abs=1.1)


async def test_whatever_frames_come_only_their_connection_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    async with serve_http2(make_probe().app) as served:
        for _ in range(60):
            async with await dial_raw(served) as stream:
                try:
                    for frame in random_frames(chance):
                        await stream.send_all(frame)
                    await stream.send_eof()
                except trio.BrokenResourceError:
                    continue
                await read_all(stream)
        async with open_http2(served) as client:
            await client.request(1, headers())
            assert await client.wait_for(h2.events.StreamEnded, 1)
        assert all(protocol.idle for protocol in served.protocols)
    faults = [record for record in caplog.records if record.name == "parshall.server"]
    assert not [record for record in faults if record.levelno >= logging.ERROR]


def random_frames(chance: random.Random) -> Iterator[bytes]:
    """Requests, bodies, resets and windows in no order, and a few frames that are none."""
    encoder = Encoder()
    for _ in range(chance.randrange(1, 30)):
        stream_id = chance.choice([1, 1, 3, 5, 7, 0, 2])
        path = chance.choice([b"/", b"/echo", b"/stream", b"/deny", b"/\xff"])
        method = chance.choice([b"GET", b"POST", b"HEAD"])
        kind, flags, body = chance.choice(
            [
                (HEADERS, chance.choice([0, 4, 5, 5]), encoder.encode(headers(path, method))),
                (DATA, chance.choice([0, 1, 8]), bytes(chance.randrange(3_000))),
                (RST_STREAM, 0, bytes(4)),
                (WINDOW_UPDATE, 0, chance.choice([b"\0\0\0\1", b"\0\1\0\0", b"\x7f\xff\xff\xff"])),
                (SETTINGS, 0, chance.choice([b"", b"\0\4\0\0\0\0", b"\0\4\x7f\xff\xff\xff"])),
                (chance.randrange(256), chance.randrange(256), chance.randbytes(9)),
            ]
        )
        head = len(body).to_bytes(3, "big") + bytes([kind, flags])
        yield head + stream_id.to_bytes(4, "big") + body
