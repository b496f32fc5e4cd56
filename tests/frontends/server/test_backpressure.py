"""HTTP/2 under clients that read slowly, in odd pieces, or not at all: bounded memory, and nothing
lost, doubled or counted as delivered that was not."""

from __future__ import annotations

from typing import Any

import h2.events
import h2.settings
import pytest
import trio
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from frontends.server.asgi import SINK
from frontends.server.http2 import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from frontends.server.http2_outbound import HELD_MAX_BYTES
from tests.frontends.server.apps import RawHttp2, headers, open_http2
from tests.frontends.server.http2_served import Http2Served, answer, read_body, serve_http2

INITIAL_WINDOW_SIZE = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
WINDOW_MAX = 2**31 - 1
KERNEL_BYTES = 8 * 1024 * 1024
"""More than the two socket buffers of a connection hold."""


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.005)


async def open_wide(client: RawHttp2, initial_bytes: int = WINDOW_MAX) -> None:
    """Windows of a client that would take everything."""
    client.state.update_settings({INITIAL_WINDOW_SIZE: initial_bytes})
    client.state.increment_flow_control_window(WINDOW_MAX - 65_535)
    await client.flush()
    await client.wait_for(h2.events.SettingsAcknowledged)


# -- answers ----------------------------------------------------------------------------------


async def test_an_app_waits_for_a_window_that_is_shut() -> None:
    sent = [0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
            sent[0] += 10_000

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.request(1, headers())
        await wait_all_tasks_blocked(0.05)
        high_water_bytes = 65_536
        assert 65_535 < sent[0] <= 65_535 + high_water_bytes + 10_000
        assert served.transports[0].buffered_bytes == 0


async def test_streams_of_a_client_that_does_not_read_hold_little_together(
    clock: MockClock,
) -> None:
    """Its windows are open, its socket is full: bytes wait in one place, within the bound."""
    piece = bytes(4_096)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async with serve_http2(app, send_buffer_bytes=16_384) as served, open_http2(served) as client:
        await open_wide(client)
        for stream_id in range(1, 201, 2):
            client.state.send_headers(stream_id, headers(), end_stream=True)
        await client.flush()
        await wait_all_tasks_blocked(0.05)
        [protocol], [transport] = served.protocols, served.transports
        held_bytes = sum(len(stream.buffer) for stream in protocol._streams.values())
        assert held_bytes == protocol._held_bytes
        assert HELD_MAX_BYTES // 2 < held_bytes < HELD_MAX_BYTES + 100 * 2 * len(piece)
        assert transport.buffered_bytes < 3 * 65_536
        assert abs(transport.waiting_bytes - transport.buffered_bytes - held_bytes) < 16_384
        await trio.sleep(500)  # the kernel's acknowledgements take time of their own
        assert transport.gone
        assert protocol.idle
        assert protocol._held_bytes == 0


async def test_heads_wait_too_when_the_socket_is_full() -> None:
    """An answer without a body has no window to stop it."""
    answers = [0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fill":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
        fields = [(b"x-%d" % number, b"y" * 2_000) for number in range(8)]
        await send({"type": "http.response.start", "status": 204, "headers": fields})
        await send({"type": "http.response.body"})
        answers[0] += 1

    async with serve_http2(app, send_buffer_bytes=16_384) as served, open_http2(served) as client:
        await open_wide(client)
        await client.request(1, headers(b"/fill"))
        await wait_all_tasks_blocked(0.05)
        [transport] = served.transports
        for stream_id in range(3, 201, 2):
            client.state.send_headers(stream_id, headers(), end_stream=True)
        await client.flush()
        await wait_all_tasks_blocked(0.05)
        assert answers == [99]
        most_bytes = transport.buffered_bytes
        ended: set[int] = set()
        while not ended.issuperset(range(3, 201, 2)):  # it reads after all
            for event in client.state.receive_data(await client.stream.receive_some(16_384)):
                if isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
            most_bytes = max(most_bytes, transport.buffered_bytes)
        assert most_bytes < 3 * 65_536, "of 1.6 MB"


async def test_what_a_client_has_not_taken_is_not_delivered() -> None:
    sinks: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sinks.append(scope["extensions"][SINK]())
        await trio.sleep_forever()

    async with serve_http2(app, send_buffer_bytes=16_384) as served, open_http2(served) as client:
        await open_wide(client)
        await client.request(1, headers())
        await client.wait_for(h2.events.ResponseReceived, 1)
        [sink] = sinks
        sent_bytes = 0
        while sink.send_nowait(bytes(20_000)):
            sent_bytes += 20_000
            await wait_all_tasks_blocked()
            assert sent_bytes < KERNEL_BYTES, "the socket is full"
        sent_bytes += 20_000
        with trio.move_on_after(0.05) as waiting:
            await sink.wait_drained()
        assert waiting.cancelled_caught
        delivered_bytes = sink.delivered_bytes
        [transport] = served.transports
        assert sent_bytes > transport.written_bytes >= delivered_bytes > 0
        assert transport.written_bytes - delivered_bytes < 65_536 + 20_000
        served.transports[0].abort()
        await sink.wait_drained()
        assert sink.gone
        assert sink.delivered_bytes == delivered_bytes


@example_settings(max_examples=25, deadline=None)
@given(
    window_bytes=st.sampled_from([1, 7, 1_000, 65_535, 1_000_000]),
    streams=st.lists(
        st.lists(st.integers(1, 3_000) | st.integers(1, 70_000), max_size=12),
        min_size=1,
        max_size=5,
    ),
    reads=st.lists(st.integers(1, 50_000), max_size=9).map(lambda sizes: [*sizes, 20_000]),
    by_sink=st.booleans(),
)
async def test_nothing_is_lost_or_doubled(
    window_bytes: int, streams: list[list[int]], reads: list[int], by_sink: bool
) -> None:
    """Whatever is sent, however small the windows and the client's reads are."""
    if window_bytes < 1_000:  # more frames of so few bytes would count as a flood
        streams = [[size % 5 for size in sizes] for sizes in streams]
    bodies = [
        b"".join(bytes([number % 251]) * size for number, size in enumerate(sizes))
        for sizes in streams
    ]
    delivered: dict[int, int] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        index = int(scope["path"][1:])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sink = scope["extensions"][SINK]()
        for number, size in enumerate(streams[index]):
            piece = bytes([number % 251]) * size
            if by_sink:
                if not sink.send_nowait(piece):
                    await sink.wait_drained()
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await sink.wait_drained()
        delivered[index] = sink.delivered_bytes
        await send({"type": "http.response.body"})

    async with serve_http2(app, send_buffer_bytes=16_384) as served, open_http2(served) as client:
        client.state.update_settings({INITIAL_WINDOW_SIZE: window_bytes})
        for index in range(len(streams)):
            client.state.send_headers(2 * index + 1, headers(b"/%d" % index), end_stream=True)
        await client.flush()
        taken = await take_all(client, len(streams), reads)
    assert taken == bodies
    assert delivered == {index: len(body) for index, body in enumerate(bodies)}


async def take_all(client: RawHttp2, streams: int, reads: list[int]) -> list[bytes]:
    """Read in pieces of these sizes, giving back what was read."""
    bodies = [b""] * streams
    ended: set[int] = set()
    turn = 0
    while len(ended) < streams:
        events: list[Any] = client.state.receive_data(
            await client.stream.receive_some(reads[turn % len(reads)])
        )
        turn += 1
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id // 2] += event.data
            elif isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id // 2)
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.data:
                client.state.increment_flow_control_window(len(event.data))
                if event.stream_id // 2 not in ended:
                    client.state.increment_flow_control_window(len(event.data), event.stream_id)
        await client.flush()
    return bodies


# -- requests ---------------------------------------------------------------------------------


async def test_bodies_that_nobody_reads_fill_their_windows_and_no_more() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, b"%d" % len(await read_body(receive)))

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.wait_for(h2.events.SettingsAcknowledged)
        sent: dict[int, int] = {}
        for stream_id in range(1, 41, 2):
            await client.request(stream_id, headers(method=b"POST"), ended=False)
            sent[stream_id] = 0
            while room_bytes := client.state.local_flow_control_window(stream_id):
                client.state.send_data(stream_id, bytes(min(room_bytes, 16_384)))
                sent[stream_id] += min(room_bytes, 16_384)
            await client.flush()
        await wait_all_tasks_blocked(0.05)
        assert max(sent.values()) == STREAM_WINDOW_BYTES
        assert sum(sent.values()) == CONNECTION_WINDOW_BYTES
        release.set()
        for stream_id, size in sent.items():
            client.state.end_stream(stream_id)
            await client.flush()
            data = await client.wait_for(h2.events.DataReceived, stream_id)
            assert data.data == b"%d" % size


async def test_a_body_arrives_as_the_app_takes_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        total = 0
        while True:
            message = await receive()
            total += len(message["body"])
            if not message["more_body"]:
                break
        await answer(send, b"%d" % total)

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.request(1, headers(method=b"POST"), ended=False)
        left_bytes = 2_000_000
        while left_bytes:
            room_bytes = client.state.local_flow_control_window(1)
            size = min(room_bytes, left_bytes, 16_384)
            if not size:
                client.events.clear()
                await client.wait_for(h2.events.WindowUpdated)
                continue
            client.state.send_data(1, bytes(size))
            await client.flush()
            left_bytes -= size
        client.state.end_stream(1)
        await client.flush()
        assert (await client.wait_for(h2.events.DataReceived, 1)).data == b"2000000"
        assert _protocol(served)._h2.windows().receive_bytes > CONNECTION_WINDOW_BYTES // 2


def _protocol(served: Http2Served) -> Any:
    [protocol] = served.protocols
    return protocol
