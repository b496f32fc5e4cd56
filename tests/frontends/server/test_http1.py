"""HTTP/1.1 to real sockets: what follows what, what is waited for, and how a connection ends."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from frontends.server import SINK, ErrorBody
from frontends.server.interfaces import Responder
from tests.frontends.server.apps import read_all, read_until
from tests.frontends.server.http1_served import serve_http1

ROOT = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
def clock() -> MockClock:
    """Jumps when nothing happens on loopback for 10 ms."""
    return MockClock(autojump_threshold=0.01)


def post(body: bytes = b"", fields: bytes = b"", size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return b"POST / HTTP/1.1\r\nhost: a\r\n%bcontent-length: %d\r\n\r\n%b" % (fields, length, body)


async def read_body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
    return body


async def answer(send: Any, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the path and the body."""
    body = await read_body(receive)
    said = scope["path"].encode() + b" " + body
    await answer(send, said, length(len(said)))


async def deny(scope: Any, receive: Any, send: Any) -> None:
    """Answers without a look at the body."""
    await answer(send, b"no", length(2), status=401)


def bodies(data: bytes) -> list[bytes]:
    """The bodies of answers with a content-length, in order."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(data[:size])
        data = data[size:]
    return found


# -- one after the other -----------------------------------------------------------------------


async def test_a_thousand_requests_use_one_connection() -> None:
    async with serve_http1(echo) as served, served.connect() as stream:
        for _ in range(1_000):
            await stream.send_all(ROOT)
            assert (await read_until(stream, b"/ ")).startswith(b"HTTP/1.1 200 OK\r\n")
        await stream.send_all(LAST)
        assert (await read_all(stream)).endswith(b"/last ")


async def test_pipelined_requests_are_answered_in_order_one_write_each() -> None:
    paths = [b"/%d" % number for number in range(50)]
    requests = [
        b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx" % path for path in paths
    ]
    async with serve_http1(echo) as served, served.connect() as stream:
        await stream.send_all(b"".join(requests) + LAST)
        answers = await read_all(stream)
        assert bodies(answers) == [*(path + b" x" for path in paths), b"/last "]
        assert served.transports[0].writes == 51


async def test_a_client_far_ahead_is_held_and_not_cut() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await echo(scope, receive, send)

    body = b"x" * 300_000
    async with serve_http1(app) as served, served.connect() as stream, trio.open_nursery() as tasks:
        tasks.start_soon(stream.send_all, ROOT + post(body) + LAST)
        await wait_all_tasks_blocked(0.05)
        assert served.transports[0].was_paused
        release.set()
        assert bodies(await read_all(stream)) == [b"/ ", b"/ " + body, b"/last "]


async def test_a_body_that_the_app_does_not_read_holds_its_client_up() -> None:
    release = trio.Event()
    size = 30_000_000
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        total, more = 0, True
        while more:
            message = await receive()
            assert len(message["body"]) <= 2 * 65_536
            total += len(message["body"])
            more = message["more_body"]
        await answer(send, b"%d" % total)

    async with serve_http1(app) as served, served.connect(buffer_bytes=65_536) as stream:

        async def upload() -> None:
            nonlocal sent
            await stream.send_all(post(size=size))
            for _ in range(size // 100_000):
                await stream.send_all(b"x" * 100_000)
                sent += 100_000

        async with trio.open_nursery() as tasks:
            tasks.start_soon(upload)
            await wait_all_tasks_blocked(0.05)
            assert sent < size // 2
            release.set()
            assert b"%d\r\n" % size in await read_until(stream, b"0\r\n\r\n")


@pytest.mark.parametrize(
    "behind", [b"", b"x" * 20_000, post(b"x" * 100_000)], ids=["nothing", "a body", "requests"]
)
async def test_leaving_is_heard_whatever_waits_unread(behind: bytes, clock: MockClock) -> None:
    heard = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["parshall.cancel_on_leave"]()
        try:
            await trio.sleep(30)
        finally:
            heard.set()

    async with serve_http1(app) as served:
        stream = served.connect()
        request = post(behind, size=10_000_000) if behind[:1] == b"x" else ROOT + behind
        await stream.send_all(request)
        await wait_all_tasks_blocked(0.005)
        await stream.aclose()
        await heard.wait()
        assert trio.current_time() < 10


# -- bodies of requests ------------------------------------------------------------------------


async def test_a_chunked_body_is_given_as_it_comes() -> None:
    taken: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            taken.append(message["body"])
            more = message["more_body"]
        await answer(send, b"ok", length(2))

    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serve_http1(app) as served, served.connect() as stream:
        for piece in (
            head,
            b"3\r\nabc\r\n",
            b"2\r\nd",
            b"e\r\n1;x=y\r\nf\r\n",
            b"0\r\nX: y\r\n\r\n",
        ):
            await stream.send_all(piece)
            await wait_all_tasks_blocked(0.01)
        await read_until(stream, b"ok")
        await stream.send_all(LAST)
        assert (await read_all(stream)).endswith(b"ok")
    assert taken[:4] == [b"abc", b"d", b"ef", b""]


async def test_a_client_is_told_to_continue_once_the_app_asks_for_the_body() -> None:
    asked = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asked.wait()
        await echo(scope, receive, send)

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(post(size=2, fields=b"expect: 100-continue\r\n"))
        await wait_all_tasks_blocked(0.01)
        assert served.transports[0].writes == 0
        asked.set()
        assert await read_until(stream, b"\r\n\r\n") == CONTINUE
        await stream.send_all(b"hi" + LAST)
        assert bodies(await read_all(stream)) == [b"/ hi", b"/last "]


async def test_a_client_whose_body_has_come_is_not_told_to_continue() -> None:
    async with serve_http1(echo) as served, served.connect() as stream:
        await stream.send_all(post(b"hi", fields=b"expect: 100-continue\r\n") + LAST)
        assert bodies(await read_all(stream)) == [b"/ hi", b"/last "]


async def test_a_client_that_is_refused_before_its_body_is_not_told_to_continue() -> None:
    async with serve_http1(deny) as served, served.connect() as stream:
        await stream.send_all(post(size=2, fields=b"expect: 100-continue\r\n"))
        said = await read_all(stream)
        assert said.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close\r\n" in said


async def test_an_answer_ahead_of_the_body_is_the_last_and_reaches_who_is_still_sending() -> None:
    async with serve_http1(deny) as served, served.connect() as stream:
        await stream.send_all(post(size=8_000_000))
        said = await read_until(stream, b"no")
        await stream.send_all(b"x" * 100_000)
        assert b"connection: close\r\n" in said
        assert await read_all(stream) == b""


# -- bodies of answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [(b"HEAD / HTTP/1.1", 200, b""), (b"GET / HTTP/1.1", 204, b""), (b"GET / HTTP/1.1", 304, b"")],
)
async def test_where_no_body_belongs_there_is_none(
    request_line: bytes, status: int, body: bytes
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"body", (b"etag", b"x"), status=status)

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(request_line + b"\r\nhost: a\r\n\r\n" + LAST.replace(b"GET", b"HEAD"))
        answers = (await read_all(stream)).split(b"\r\n\r\n")
    assert [said.partition(b" ")[2][:3] for said in answers] == [b"%d" % status] * 2 + [b""]


async def test_a_body_of_no_known_length_comes_in_chunks_joined_by_the_step_of_a_task() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for word in (b"one ", b"two "):
            await send({"type": "http.response.body", "body": word, "more_body": True})
        await wait_all_tasks_blocked(0.01)
        await send({"type": "http.response.body", "body": b"three"})

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(ROOT)
        said = await read_until(stream, b"0\r\n\r\n")
        assert b"transfer-encoding: chunked\r\n" in said
        assert said.endswith(b"\r\n\r\n8\r\none two \r\n5\r\nthree\r\n0\r\n\r\n")
        assert served.transports[0].writes == 2, "the head leaves with the first bytes"


async def test_a_head_does_not_wait_for_a_body_that_comes_later() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await release.wait()
        await send({"type": "http.response.body", "body": b"late"})

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(ROOT)
        assert (await read_until(stream, b"\r\n\r\n")).endswith(b"\r\n\r\n")
        release.set()
        assert (await read_until(stream, b"0\r\n\r\n")) == b"4\r\nlate\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "end"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"connection: close\r\n"),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", b"connection: close\r\n"),
    ],
)
async def test_without_chunks_or_length_the_connection_ends_the_body(
    request_bytes: bytes, end: bytes
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"all of it")

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(request_bytes)
        said = await read_all(stream)
    assert end in said
    assert b"transfer-encoding" not in said
    assert said.endswith(b"\r\n\r\nall of it")


async def test_old_clients_keep_their_connection_where_they_ask_and_the_length_is_known() -> None:
    async with serve_http1(echo) as served, served.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert b"connection: keep-alive\r\n" in await read_until(stream, b"/ ")
        await stream.send_all(b"GET /2 HTTP/1.0\r\n\r\n")
        assert (await read_all(stream)).endswith(b"/2 ")


# -- answers that fail -------------------------------------------------------------------------


async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("a planted fault")


async def says_too_little(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"half", length(8))


async def cuts_its_sink(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    sink = scope["extensions"][SINK]()
    sink.send_nowait(b"half")
    sink.abort()
    assert sink.gone
    await sink.wait_drained()


@pytest.mark.parametrize("app", [breaks_off, says_too_little, cuts_its_sink])
async def test_half_an_answer_arrives_and_does_not_look_whole(
    app: Callable[..., Awaitable[None]],
) -> None:
    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(ROOT)
        said = await read_all(stream)
    assert b"half" in said
    assert not said.endswith((b"0\r\n\r\n", b"<reset>"))


async def test_half_an_answer_that_its_connection_ends_is_reset() -> None:
    async with serve_http1(breaks_off) as served, served.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        assert (await read_all(stream)).endswith(b"<reset>")


async def test_a_failed_request_is_answered_and_the_connection_goes_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a planted fault")

    async with (
        serve_http1(app, render_error=lambda status: ErrorBody([(b"x", b"y")], b"sorry")) as served,
        served.connect() as stream,
    ):
        await stream.send_all(ROOT + LAST)
        said = await read_all(stream)
    assert said.count(b"HTTP/1.1 500 Internal Server Error\r\nx: y\r\n") == 2
    assert bodies(said) == [b"sorry", b"sorry"]


@pytest.mark.parametrize(
    "header", [(b"x", b"a\r\nset-cookie: b"), (b"x\r\nset-cookie", b"b"), (b"x", b"a\0")]
)
async def test_an_app_cannot_be_made_to_break_its_answer_apart(header: tuple[bytes, bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"", header)

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(LAST)
        said = await read_all(stream)
    assert said.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in said


# -- ends --------------------------------------------------------------------------------------


def words(status: int) -> ErrorBody:
    return ErrorBody([(b"content-type", b"text/plain")], b"status %d" % status)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000, 414),
        (b"GET / HTTP/1.1\r\na: " + b"a" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nhost: a\r\nexpect: x\r\n\r\n", 417),
        (b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n", 501),
        (b"GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505),
        (post(fields=b"transfer-encoding: chunked\r\n"), 400),
    ],
)
async def test_what_is_not_served_is_answered_and_ended(raw: bytes, status: int) -> None:
    async with serve_http1(echo, render_error=words) as served, served.connect() as stream:
        await stream.send_all(raw)
        said = await read_all(stream)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close\r\n" in said
    assert said.endswith(b"\r\n\r\nstatus %d" % status)


async def test_a_body_that_breaks_off_into_nonsense_ends_its_request() -> None:
    left = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    async with serve_http1(app, render_error=words) as served, served.connect() as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        await wait_all_tasks_blocked(0.01)
        await stream.send_all(b"2\r\nabc")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400 ")
        await left.wait()


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", b""), (b"GET / HT", b"HTTP/1.1 408 "), (post(size=9), b"HTTP/1.1 408 ")],
)
async def test_a_client_that_is_late_is_told_if_it_has_begun(
    sent: bytes, status: bytes, clock: MockClock
) -> None:
    bounds = {"header_timeout_s": 4, "keep_alive_s": 5}
    async with serve_http1(echo, **bounds) as served, served.connect() as stream:
        if sent:
            await stream.send_all(sent)
        said = await read_all(stream)
        assert said.startswith(status)
        assert bool(said) == bool(status)
        assert 3.9 <= trio.current_time() <= 9


async def test_whoever_answers_already_may_have_a_client_that_sends_nothing(
    clock: MockClock,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await trio.sleep(12)
        await send({"type": "http.response.body", "body": b"all of it"})

    async with serve_http1(app, keep_alive_s=5) as served, served.connect() as stream:
        await stream.send_all(post(b"a", size=2))
        assert (await read_all(stream)).endswith(b"all of it\r\n0\r\n\r\n")


async def test_an_idle_connection_ends_in_silence(clock: MockClock) -> None:
    async with serve_http1(echo, keep_alive_s=6) as served, served.connect() as stream:
        await stream.send_all(ROOT)
        await read_until(stream, b"/ ")
        answered_s = trio.current_time()
        assert await read_all(stream) == b""
        assert 6 <= trio.current_time() - answered_s < 9


async def test_a_quiet_answer_is_not_idle(clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(15)
        await echo(scope, receive, send)

    bounds = {"keep_alive_s": 5, "header_timeout_s": 5, "write_stall_s": 5}
    async with serve_http1(app, **bounds) as served, served.connect() as stream:
        await stream.send_all(LAST)
        assert (await read_all(stream)).endswith(b"/last ")


async def test_a_stop_ends_idle_connections_and_says_so_on_the_others() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await echo(scope, receive, send)

    async with serve_http1(app) as served, served.connect() as idle, served.connect() as busy:
        await busy.send_all(ROOT + ROOT)
        await idle.send_all(b"GET")
        await wait_all_tasks_blocked(0.01)
        served.stop()
        assert await read_all(idle) == b""
        release.set()
        said = await read_all(busy)
    assert bodies(said) == [b"/ "]
    assert b"connection: close\r\n" in said


async def test_upgrades_are_ignored() -> None:
    upgrade = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: !!\r\n"
    async with serve_http1(echo) as served, served.connect() as stream:
        await stream.send_all(post(b"hi", fields=upgrade) + LAST)
        assert bodies(await read_all(stream)) == [b"/ hi", b"/last "]


# -- nothing is lost or doubled ----------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 2**32),
    st.sampled_from([b"1.1", b"1.0"]),
)
def test_whatever_fills_and_drains_every_byte_arrives_once(
    steps: list[tuple[int, bool]], seed: int, version: bytes
) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(sum(size for size, _ in steps))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sink: Responder = scope["extensions"][SINK]()
        sent = 0
        for size, patient in steps:
            writable = sink.send_nowait(data[sent : sent + size])
            sent += size
            assert sink.delivered_bytes <= sent
            if patient or not writable:
                await sink.wait_drained()
                assert sink.delivered_bytes == sent
        await send({"type": "http.response.body", "body": b""})

    async def main() -> bytes:
        async with serve_http1(app) as served, served.connect(buffer_bytes=4_096) as stream:
            await stream.send_all(
                b"GET / HTTP/%b\r\nhost: a\r\nconnection: close\r\n\r\n" % version
            )
            said = bytearray()
            while more := await stream.receive_some(chance.choice([1, 100, 5_000, 65_536])):
                said += more
                if chance.random() < 0.2:
                    await wait_all_tasks_blocked()
            return bytes(said)

    head, _, body = trio.run(main).partition(b"\r\n\r\n")
    assert (unchunked(body) if b"chunked" in head else body) == data


def unchunked(data: bytes) -> bytes:
    """The content of chunks; fails on anything that is none."""
    parts, at = [], 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        at = end + 2 + size
        parts.append(data[end + 2 : at])
        assert data[at : at + 2] == b"\r\n"
        at += 2
        if size == 0:
            assert at == len(data)
            return b"".join(parts)
