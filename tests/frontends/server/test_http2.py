"""Our HTTP/2 over real sockets: requests, answers, ends, and one stream's faults its own."""

from __future__ import annotations

import shutil
from typing import Any

import h2.events
import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from trio.testing import MockClock, wait_all_tasks_blocked

from frontends.server.asgi import SINK
from tests.frontends.server.apps import headers, make_probe, open_http2
from tests.frontends.server.http2_served import (
    Http2Served,
    answer,
    echo,
    read_body,
    serve_http2,
)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.005)


def client_of(served: Http2Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(http1=False, http2=True, base_url=f"http://{served.addresses[0]}")


# -- requests and answers ---------------------------------------------------------------------


async def test_requests_of_an_ordinary_client() -> None:
    async with serve_http2(make_probe().app) as served, client_of(served) as client:
        response = await client.get("/")
        assert (response.http_version, response.status_code, response.text) == ("HTTP/2", 200, "ok")
        assert "date" in response.headers
        large = bytes(range(256)) * 4_000
        assert (await client.post("/echo", content=large)).content == large
        head = await client.head("/")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "2", b"")
        assert (await client.get("/none")).status_code == 404
        assert served.protocols[0].idle
        assert len(served.protocols) == 1


async def test_many_requests_at_once() -> None:
    async with serve_http2(echo) as served, client_of(served) as client:
        answers: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            body = bytes([number]) * number * 100
            answers[number] = (await client.post("/", content=body)).content

        await client.get("/")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
        assert answers == {number: bytes([number]) * number * 100 for number in range(20)}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl() -> None:
    async with serve_http2(make_probe().app) as served:
        url = f"http://{served.addresses[0]}/echo"
        command = ["curl", "-s", "--http2-prior-knowledge", "-d", "hello", "-w", " %{http_version}"]
        done = await trio.run_process([*command, url], capture_stdout=True)
        assert done.stdout == b"hello 2"


async def test_what_the_app_is_told() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await answer(send)

    async with serve_http2(app) as served, open_http2(served) as client:
        fields = [*headers(b"/a%20b?c=d"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
        await client.request(1, fields)
        await client.wait_for(h2.events.StreamEnded, 1)
    [scope] = seen
    assert scope["http_version"] == "2"
    assert (scope["path"], scope["raw_path"]) == ("/a b", b"/a%20b")
    assert scope["query_string"] == b"c=d"
    assert scope["headers"] == [(b"host", b"a"), (b"cookie", b"a=1; b=2")]
    assert scope["client"][0] == "127.0.0.1"


async def test_a_client_that_waits_for_100_continue() -> None:
    async with serve_http2(echo) as served, open_http2(served) as client:
        fields = [*headers(method=b"POST"), (b"expect", b"100-continue")]
        await client.request(1, fields, ended=False)
        informed = await client.wait_for(h2.events.InformationalResponseReceived, 1)
        assert informed.headers == [(b":status", b"100")]
        client.state.send_data(1, b"body", end_stream=True)
        await client.flush()
        assert (await client.wait_for(h2.events.DataReceived, 1)).data == b"body"


async def test_trailers_of_a_request_are_dropped() -> None:
    async with serve_http2(echo) as served, open_http2(served) as client:
        await client.request(1, headers(method=b"POST"), ended=False)
        client.state.send_data(1, b"body")
        client.state.send_headers(1, [(b"x-sum", b"1")], end_stream=True)
        await client.flush()
        assert (await client.wait_for(h2.events.DataReceived, 1)).data == b"body"


async def test_padding_is_no_part_of_a_body_and_costs_no_window() -> None:
    async with serve_http2(echo) as served, open_http2(served) as client:
        await client.request(1, headers(method=b"POST"), ended=False)
        for _ in range(600):  # 150 KB of nothing
            if client.state.local_flow_control_window(1) < 256:
                await client.wait_for(h2.events.WindowUpdated, 1)
                client.events.clear()
            client.state.send_data(1, b"x", pad_length=250)
            await client.flush()
        client.state.end_stream(1)
        await client.flush()
        assert (await client.wait_for(h2.events.DataReceived, 1)).data == b"x" * 600


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, headers(b"/a\xff")),
        (400, headers(b"/v1/%2e%2e/metrics")),
        (400, [*headers(), (b"host", b"evil")]),
        (400, [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]),
        (501, [(b":method", b"CONNECT"), (b":authority", b"a:1")]),
        (431, [*headers(), (b"x", b"y" * 40_000)]),
    ],
)
async def test_a_head_that_is_refused_is_answered_and_the_connection_goes_on(
    status: int, fields: list[tuple[bytes, bytes]]
) -> None:
    async with serve_http2(echo) as served, open_http2(served) as client:
        await client.request(1, fields)
        response = await client.wait_for(h2.events.ResponseReceived, 1)
        assert dict(response.headers)[b":status"] == b"%d" % status
        await client.request(3, headers())
        assert await client.wait_for(h2.events.StreamEnded, 3)


# -- faults -----------------------------------------------------------------------------------


async def test_an_app_that_fails_midway_resets_its_stream_only() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fail":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("a planted fault")
        await answer(send)

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.request(1, headers(b"/fail"))
        reset = await client.wait_for(h2.events.StreamReset, 1)
        assert reset.error_code == ErrorCodes.INTERNAL_ERROR
        await client.request(3, headers())
        assert await client.wait_for(h2.events.StreamEnded, 3)


@pytest.mark.parametrize(
    ("status", "fields"), [(200, [(b"x", b"a\r\nb: c")]), (200, [(b"X y", b"")]), (103, [])]
)
async def test_an_answer_that_http2_cannot_say_is_a_500(status: int, fields: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": fields})

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.request(1, headers())
        response = await client.wait_for(h2.events.ResponseReceived, 1)
        assert dict(response.headers)[b":status"] == b"500"


async def test_fields_of_http1_connections_are_left_out() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"Connection", b"close"), (b"transfer-encoding", b"chunked"), (b"X-A", b"b")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.request(1, headers())
        response = await client.wait_for(h2.events.ResponseReceived, 1)
        names = {name for name, _ in response.headers}
        assert names == {b":status", b"x-a", b"date"}


async def test_an_early_answer_and_the_rest_of_its_request(clock: MockClock) -> None:
    """It is dropped for a while, then refused; the answer stands."""
    async with serve_http2(make_probe().app) as served, open_http2(served) as client:
        await client.request(1, headers(b"/deny", b"POST"), ended=False)
        response = await client.wait_for(h2.events.ResponseReceived, 1)
        assert dict(response.headers)[b":status"] == b"401"
        assert await client.wait_for(h2.events.StreamEnded, 1)
        for _ in range(6):
            client.state.send_data(1, bytes(10_000))
            await client.flush()
        reset = await client.wait_for(h2.events.StreamReset, 1)
        assert reset.error_code == ErrorCodes.NO_ERROR
        await client.request(3, headers())
        assert await client.wait_for(h2.events.StreamEnded, 3)


async def test_a_client_that_sends_all_before_it_reads_gets_an_early_answer() -> None:
    async with serve_http2(make_probe().app) as served, client_of(served) as client:
        response = await client.post("/deny", content=bytes(500_000))
        assert (response.status_code, response.text) == (401, "no")


# -- one stream and the others ----------------------------------------------------------------


async def test_a_body_that_nobody_reads_holds_up_nobody_else() -> None:
    release = trio.Event()
    read = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await answer(send)
            return
        await release.wait()
        assert len(await read_body(receive)) == 65_535
        read.set()
        await answer(send)

    async with serve_http2(app) as served, open_http2(served) as client:
        await client.request(1, headers(b"/busy", b"POST"), ended=False)
        for _ in range(64):
            client.state.send_data(1, bytes(1_000))
        client.state.send_data(1, bytes(1_535), end_stream=True)
        assert client.state.local_flow_control_window(1) == 0
        await client.request(3, headers())
        assert await client.wait_for(h2.events.StreamEnded, 3)
        assert not read.is_set()
        release.set()
        assert await client.wait_for(h2.events.StreamEnded, 1)


async def test_streams_that_are_pushed_to_in_one_step_leave_in_one_write() -> None:
    sinks: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sinks.append(scope["extensions"][SINK]())
        await trio.sleep_forever()

    async with serve_http2(app) as served, open_http2(served) as client:
        streams = range(1, 101, 2)
        for stream_id in streams:
            await client.request(stream_id, headers())
        for stream_id in streams:
            await client.wait_for(h2.events.ResponseReceived, stream_id)
        await wait_all_tasks_blocked()
        for sink in sinks:
            assert sink.send_nowait(b"token")
        events: list[Any] = client.state.receive_data(await client.stream.receive_some(65_536))
        assert [event.data for event in events] == [b"token"] * 50
        await wait_all_tasks_blocked()
        assert [sink.delivered_bytes for sink in sinks] == [5] * 50


async def test_a_stream_whose_window_stays_shut_is_reset_and_99_others_complete(
    clock: MockClock,
) -> None:
    left = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(30):
                part = {"type": "http.response.body", "body": bytes(5_000), "more_body": True}
                await send(part)
            await send({"type": "http.response.body"})
        except trio.BrokenResourceError:
            left.set()

    async with serve_http2(app) as served, open_http2(served) as client:
        streams = range(1, 200, 2)
        for stream_id in streams:
            await client.request(stream_id, headers())
        taken = dict.fromkeys(streams, 0)
        ended = set()
        reset: set[int] = set()
        while not reset:
            to_credit = []
            for event in client.state.receive_data(bytes(await client.stream.receive_some(65_536))):
                match event:
                    case h2.events.DataReceived():
                        taken[event.stream_id] += len(event.data)
                        size = event.flow_controlled_length
                        if size:
                            client.state.increment_flow_control_window(size)
                            to_credit.append((size, event.stream_id))
                    case h2.events.StreamEnded():
                        ended.add(event.stream_id)
                    case h2.events.StreamReset():
                        assert event.error_code == ErrorCodes.CANCEL
                        reset.add(event.stream_id)
            for size, stream_id in to_credit:
                if stream_id not in ended | reset | {99}:
                    client.state.increment_flow_control_window(size, stream_id)
            await client.flush()
        assert reset == {99}
        assert ended == set(streams) - {99}
        assert {taken[stream_id] for stream_id in ended} == {150_000}
        assert taken[99] == 65_535
        await left.wait()
