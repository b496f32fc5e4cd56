"""Leaving, stalling, idling, stopping: when a connection ends, and what ends with it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h2.events
import pytest
import trio
from trio.testing import MockClock

from frontends.server import BindError, open_server
from tests.frontends.server.apps import (
    bounds,
    dial,
    get,
    headers,
    make_probe,
    open_http2,
    open_probe,
    read_all,
    read_until,
)

pytestmark = pytest.mark.usefixtures("each_server")

STREAM = b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n"
ROOT = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture
def clock() -> MockClock:
    """Jumps when nothing happens on loopback for 10 ms."""
    return MockClock(autojump_threshold=0.01)


def small_buffers(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


async def leave_by_closing(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def leave_by_half_closing(stream: trio.SocketStream) -> None:
    await stream.send_eof()


async def leave_after_a_pipelined_request(stream: trio.SocketStream) -> None:
    await stream.send_all(ROOT)
    await stream.aclose()


@pytest.mark.parametrize(
    "leave",
    [leave_by_closing, leave_by_half_closing, leave_after_a_pipelined_request],
    ids=lambda leave: leave.__name__,
)
async def test_a_client_that_leaves_cancels_its_request(leave: Callable[..., object]) -> None:
    async with open_probe() as (probe, server):
        stream = await dial(server)
        await stream.send_all(STREAM)
        await read_until(stream, b"tick\n")
        await leave(stream)  # type: ignore[misc]
        with trio.fail_after(30):
            await probe.ended.wait()
        await stream.aclose()

        assert probe.outcome in {"Cancelled", "GeneratorExit"}


async def test_an_http2_reset_cancels_its_request_only() -> None:
    async with open_probe() as (probe, server), open_http2(server) as client:
        await client.request(1, headers(b"/stream"))
        await client.wait_for(h2.events.DataReceived, 1)
        client.state.reset_stream(1)
        await client.request(3, headers())
        with trio.fail_after(30):
            await probe.ended.wait()
            assert await client.wait_for(h2.events.StreamEnded, 3)

        assert probe.outcome in {"Cancelled", "GeneratorExit"}


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with open_probe() as (probe, server), await dial(server) as stream:
        await stream.send_all(STREAM + ROOT + ROOT)
        await read_until(stream, b"tick\n")
        probe.release.set()
        data = await read_until(stream, b"0\r\n\r\n")
        while data.count(b"ok") < 2:
            data += await stream.receive_some(65_536)

        assert probe.outcome == "completed"
        assert data.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("each_server", ["hypercorn"], indirect=True)
async def test_too_much_ahead_of_the_answer_ends_the_connection() -> None:
    async with open_probe(pipelined_max_bytes=1_000) as (probe, server):
        async with await dial(server) as stream:
            await stream.send_all(STREAM)
            await read_until(stream, b"tick\n")
            await stream.send_all(ROOT * 100)
            await read_all(stream)
        with trio.fail_after(30):
            await probe.ended.wait()


@pytest.mark.parametrize("each_server", ["parshall"], indirect=True)
async def test_what_is_ahead_of_the_answer_waits_and_leaving_is_heard(clock: MockClock) -> None:
    async with open_probe(pipelined_max_bytes=1_000) as (probe, server):
        async with await dial(server) as stream:
            await stream.send_all(STREAM + ROOT * 2_000)
            await read_until(stream, b"tick\n")
        await probe.ended.wait()
        assert probe.outcome in {"Cancelled", "GeneratorExit"}


async def test_keep_alive_serves_many_requests_on_one_connection() -> None:
    async with open_probe() as (_, server), await dial(server) as stream:
        for _ in range(1_100):  # Hypercorn would stop at 1,000
            await stream.send_all(ROOT)
            assert (await read_until(stream, b"ok")).startswith(b"HTTP/1.1 200")


async def test_connection_close_is_honoured() -> None:
    async with open_probe() as (_, server):
        with trio.fail_after(30):
            answer = await get(server)

        assert answer.endswith(b"ok")
        assert b"connection: close" in answer.lower()


async def test_a_reader_that_stalls_is_cut(clock: MockClock) -> None:
    async with open_probe(write_stall_s=7) as (probe, server), await dial(server) as stream:
        small_buffers(stream)
        await stream.send_all(b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n")
        started = trio.current_time()
        await probe.ended.wait()

        assert trio.current_time() - started >= 7
        assert probe.sent_bytes < 20_000_000


async def test_an_http2_reader_that_stalls_costs_no_memory_and_is_reset(clock: MockClock) -> None:
    async with open_probe(write_stall_s=7) as (probe, server), open_http2(server) as client:
        client.state.increment_flow_control_window(1_000_000)  # the connection's, no stream's
        await client.request(1, headers(b"/flood"))
        await client.request(3, headers())
        while not any(isinstance(event, h2.events.StreamEnded) for event in client.events):
            client.events += client.state.receive_data(await client.stream.receive_some(65_536))
        await probe.ended.wait()

        assert probe.sent_bytes < 250_000
        assert await client.wait_for(h2.events.StreamReset, 1)


async def test_a_slow_head_is_timed_out(clock: MockClock) -> None:
    async with open_probe(header_timeout_s=5) as (_, server), await dial(server) as stream:
        for byte in b"GET / HT":
            await stream.send_all(bytes([byte]))
            await trio.sleep(1)  # on the mock clock: one byte a second
            if trio.current_time() > 5:
                break
        answer = await read_all(stream)
        assert answer in {b"", b"<reset>"} or answer.startswith(b"HTTP/1.1 408")


async def test_an_idle_connection_is_closed(clock: MockClock) -> None:
    async with open_probe(keep_alive_s=60) as (_, server), await dial(server) as stream:
        await stream.send_all(ROOT)
        await read_until(stream, b"ok")
        answered = trio.current_time()
        assert await read_all(stream) == b""

        assert trio.current_time() - answered >= 60


async def test_a_quiet_stream_is_not_idle(clock: MockClock) -> None:
    bounds = {"keep_alive_s": 5, "header_timeout_s": 5, "write_stall_s": 5}
    async with open_probe(**bounds) as (probe, server), await dial(server) as stream:
        await stream.send_all(STREAM)
        await read_until(stream, b"tick\n")
        await trio.sleep(100)
        probe.release.set()
        assert (await read_until(stream, b"0\r\n\r\n")).endswith(b"0\r\n\r\n")


async def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    body = b"x" * 8_000_000
    head = b"POST /deny HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with open_probe() as (_, server), await dial(server) as stream:
        with trio.fail_after(30):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(head + body)
            answer = await read_all(stream)

        assert answer.startswith(b"HTTP/1.1 401")


async def test_an_answer_ahead_of_the_body_says_that_it_is_the_last() -> None:
    async with open_probe() as (_, server), await dial(server) as stream:
        await stream.send_all(b"POST /deny HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n")
        head = await read_until(stream, b"\r\n\r\nno")
        await stream.send_all(b"{}")

        assert b"connection: close\r\n" in head.lower()
        assert await read_all(stream) == b""


async def test_a_body_larger_than_any_buffer_arrives() -> None:
    body = b"0123456789abcdef" * 100_000
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with open_probe() as (_, server), await dial(server) as stream:
        await stream.send_all(head + body)
        data = await read_until(stream, b"\r\n\r\n")
        data = data.partition(b"\r\n\r\n")[2]
        while len(data) < len(body):
            data += await stream.receive_some(65_536)

        assert data == body


async def test_stop_lets_streams_end_and_closes_idle_connections() -> None:
    async with (
        open_probe() as (probe, server),
        await dial(server) as idle,
        await dial(server) as busy,
        trio.open_nursery() as nursery,
    ):
        await idle.send_all(ROOT)
        await read_until(idle, b"ok")
        await busy.send_all(STREAM)
        await read_until(busy, b"tick\n")

        nursery.start_soon(server.stop)
        assert await read_all(idle) == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await dial(server)
        probe.release.set()
        rest = await read_all(busy)

        assert rest.endswith(b"0\r\n\r\n")
        assert probe.outcome == "completed"


async def test_stop_cuts_what_does_not_end_in_time(clock: MockClock) -> None:
    async with (
        open_probe(write_stall_s=1_000) as (probe, server),
        await dial(server) as quiet,
        await dial(server) as stalled,
    ):
        small_buffers(stalled)
        await quiet.send_all(STREAM)
        await read_until(quiet, b"tick\n")
        await stalled.send_all(b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n")
        await probe.release.wait()
        started = trio.current_time()
        await server.stop(grace_s=3)
        await probe.ended.wait()

        assert 3 <= trio.current_time() - started < 10
    assert server.open_connections == 0


async def test_leaving_the_block_cuts_everything_at_once(clock: MockClock) -> None:
    async with open_probe() as (probe, server), await dial(server) as stream:
        await stream.send_all(STREAM)
        await read_until(stream, b"tick\n")
        started = trio.current_time()

    assert probe.ended.is_set()
    assert trio.current_time() - started < 1


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with open_probe():
            raise KeyError("mine")


async def test_connections_past_the_bound_are_refused_with_an_answer() -> None:
    async with open_probe(connections_max=2) as (_, server):
        first, second = await dial(server), await dial(server)
        await first.send_all(ROOT)
        await read_until(first, b"ok")
        await second.send_all(ROOT)
        await read_until(second, b"ok")

        async with await dial(server) as third:
            assert (await read_all(third)).startswith(b"HTTP/1.1 503")
        assert server.refused_connections == 1
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)  # the server notices
        assert (await get(server)).endswith(b"ok")
        await second.aclose()


async def test_expect_continue_waits_until_the_body_is_wanted() -> None:
    head = b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    async with open_probe() as (_, server), await dial(server) as stream:
        await stream.send_all(head % b"/echo")
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"hi")
        assert (await read_until(stream, b"hi")).startswith(b"HTTP/1.1 200")


async def test_unix_sockets_are_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    probe = make_probe()
    async with open_server(probe.app, [f"unix:{path}"], bounds()) as server:
        assert server.addresses == (f"unix:{path}",)
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(ROOT)
            assert (await read_until(stream, b"ok")).endswith(b"ok")
        with pytest.raises(BindError, match="in use"):
            async with open_server(probe.app, [f"unix:{path}"], bounds()):
                pass
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    async with open_server(make_probe().app, [f"unix:{path}"], bounds()):
        assert path.is_socket()


async def test_a_file_is_never_taken_for_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="not a socket"):
        async with open_server(make_probe().app, [f"unix:{path}"], bounds()):
            pass
    assert path.read_text() == "data"


async def test_a_taken_port_is_named() -> None:
    async with open_probe() as (probe, server):
        with pytest.raises(BindError, match=server.addresses[0]):
            async with open_server(probe.app, server.addresses, bounds()):
                pass


async def test_several_addresses_share_one_app() -> None:
    probe = make_probe()
    async with open_server(probe.app, ["127.0.0.1:0", "127.0.0.1:0"], bounds()) as server:
        assert len(set(server.addresses)) == 2
