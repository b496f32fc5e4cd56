"""WebSockets by an ordinary client, and by ones that break rules: each ends alone, and is told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio_websocket
from quart import websocket
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.nurseries import open_tasks
from frontends.server.forwarded import PEER
from frontends.server.websocket import MESSAGE_MAX_BYTES, PING_INTERVAL_S, WAITING_MAX_BYTES
from tests.frontends.server.apps import read_all, read_until
from tests.frontends.server.http1_served import Served, serve_http1
from tests.gateways import settled

KEY = b"MDEyMzQ1Njc4OWFiY2RlZg=="
UPGRADE = (
    b"GET /echo?a=b HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n\r\n" % KEY
)


def masked(opcode: int, data: bytes, *, final: bool = True) -> bytes:
    """A client's frame, masked by zeros."""
    head = bytes([opcode | (0x80 if final else 0)])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 65_536:
        head += b"\xfe" + len(data).to_bytes(2, "big")
    else:
        head += b"\xff" + len(data).to_bytes(8, "big")
    return head + bytes(4) + data


def closing_code(frames: bytes) -> int:
    """Of the server's last words."""
    assert frames[:1] == b"\x88", frames
    return int.from_bytes(frames[2:4], "big")


def reason_of(closed: pytest.ExceptionInfo[trio_websocket.ConnectionClosed]) -> tuple[int, str]:
    reason = closed.value.reason
    assert reason is not None
    return reason.code, reason.reason or ""


class Sockets:
    """A Quart-Trio app; `/echo` answers, `/close` ends with 4321, `/late` is slow."""

    def __init__(self) -> None:
        self.app = QuartTrio(__name__)
        self.release = trio.Event()
        self.left = trio.Event()
        self.scopes: list[Any] = []
        self.app.websocket("/echo")(self.echo)
        self.app.websocket("/close")(self.close)
        self.app.websocket("/late")(self.late)

    async def echo(self) -> None:
        self.scopes.append(websocket.scope)
        try:
            while True:
                await websocket.send(await websocket.receive())
        finally:
            self.left.set()

    async def close(self) -> None:
        await websocket.accept()
        await websocket.close(4321, "enough")

    async def late(self) -> None:
        await self.release.wait()
        await self.echo()


@asynccontextmanager
async def open_sockets() -> AsyncIterator[tuple[Sockets, Served]]:
    sockets = Sockets()
    async with serve_http1(sockets.app) as served:
        yield sockets, served


@asynccontextmanager
async def open_client(
    served: Served, path: str = "/echo", **options: Any
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    async with served.connect() as stream, open_tasks() as nursery:
        client = await trio_websocket.wrap_client_stream(nursery, stream, "a", path, **options)
        try:
            yield client
        finally:
            await client.aclose()
            nursery.cancel_scope.cancel()


async def test_messages_both_ways() -> None:
    async with open_sockets() as (sockets, served), open_client(served, "/echo?a=b") as client:
        large = "x" * 300_000
        for message in ("hello", "", b"bytes", "\N{SNOWMAN}", large, large.encode()):
            await client.send_message(message)
            assert await client.get_message() == message
        [scope] = sockets.scopes
        assert (scope["scheme"], scope["path"], scope["query_string"]) == ("ws", "/echo", b"a=b")
        assert scope["client"] == ("127.0.0.1", 1)
        assert scope["extensions"][PEER].local


async def test_many_at_once() -> None:
    async with open_sockets() as (_, served):
        answers = []

        async def talk(number: int) -> None:
            async with open_client(served) as client:
                for turn in range(5):
                    await client.send_message(f"{number} {turn}")
                    answers.append(await client.get_message())

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(talk, number)
        assert sorted(answers) == sorted(f"{n} {turn}" for n in range(20) for turn in range(5))


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_the_app_is_told_the_clients_close_code(code: int) -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages.append(await receive())
        await send({"type": "websocket.accept"})
        messages.append(await receive())

    async with serve_http1(app) as served, open_client(served) as client:
        await client.aclose(code)
        assert client.closed is not None
        assert client.closed.code == code
        await wait_all_tasks_blocked()
    assert messages == [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": code},
    ]


async def test_the_client_is_told_the_apps_close_code() -> None:
    async with open_sockets() as (_, served), open_client(served, "/close") as client:
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await client.get_message()
        assert reason_of(caught) == (4321, "enough")


async def test_an_app_that_raises_ends_its_websocket_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        if scope["path"] == "/fail":
            raise RuntimeError("a planted fault")
        await send({"type": "websocket.send", "text": message["text"]})

    async with serve_http1(app) as served, open_client(served) as other:
        with caplog.at_level(logging.ERROR):
            async with open_client(served, "/fail") as client:
                await client.send_message("hello")
                with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                    await client.get_message()
        assert reason_of(caught)[0] == 1011
        assert "a planted fault" in caplog.text
        await other.send_message("still here")
        assert await other.get_message() == "still here"


async def test_an_app_that_does_not_want_it_answers_in_http() -> None:
    async with open_sockets() as (_, served):
        with pytest.raises(trio_websocket.ConnectionRejected) as caught:
            async with open_client(served, "/none"):
                pass
        assert caught.value.status_code in {403, 404}


@pytest.mark.parametrize("fields", [[(b"x", b"a\r\nb: c")], [(b"x y", b"z")]])
async def test_fields_that_break_the_answer_apart_are_a_500(fields: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": fields})

    async with serve_http1(app) as served:
        with pytest.raises(trio_websocket.ConnectionRejected) as caught:
            async with open_client(served):
                pass
        assert caught.value.status_code == 500


async def test_a_subprotocol() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["subprotocols"] == ["one", "two"]
        await send({"type": "websocket.accept", "subprotocol": "two"})
        await receive()

    async with (
        serve_http1(app) as served,
        open_client(served, subprotocols=["one", "two"]) as client,
    ):
        assert client.subprotocol == "two"


# -- clients that break rules -------------------------------------------------------------------


async def test_bytes_before_the_app_has_accepted_wait() -> None:
    """They end Hypercorn's whole process."""
    async with open_sockets() as (sockets, served), served.connect() as stream:
        late = UPGRADE.replace(b"/echo", b"/late")
        await stream.send_all(late + masked(0x1, b"early"))
        await wait_all_tasks_blocked()
        sockets.release.set()
        answer = await read_until(stream, b"early")
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert answer.endswith(b"\x81\x05early")


async def test_what_waits_for_the_app_is_bounded() -> None:
    async with open_sockets() as (_, served):
        stream = served.connect(buffer_bytes=16_384)
        await stream.send_all(UPGRADE.replace(b"/echo", b"/late"))
        sent_bytes = 0

        async def send() -> None:
            nonlocal sent_bytes
            while True:
                await stream.send_all(masked(0x2, bytes(4_096)))
                sent_bytes += 4_096

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await settled(lambda: any(each.was_paused for each in served.transports))
            await wait_all_tasks_blocked(0.01)  # what is on its way is full, too
            nursery.cancel_scope.cancel()
        assert WAITING_MAX_BYTES < sent_bytes < WAITING_MAX_BYTES + 1_000_000
        await stream.aclose()


async def test_a_client_that_vanishes_is_heard_by_the_app() -> None:
    async with open_sockets() as (sockets, served), served.connect() as stream:
        await stream.send_all(UPGRADE)
        await read_until(stream, b"\r\n\r\n")
        await stream.aclose()
        await sockets.left.wait()


async def test_an_app_that_does_not_hear_a_leaving_is_cancelled(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serve_http1(app) as served, served.connect() as stream:
        await stream.send_all(UPGRADE)
        await read_until(stream, b"\r\n\r\n")
        await stream.aclose()
        await ended.wait()


@pytest.mark.parametrize("pieces", [1, 80])
async def test_a_message_that_is_too_large_ends_with_1009(pieces: int) -> None:
    async with open_sockets() as (sockets, served), served.connect() as stream:
        await stream.send_all(UPGRADE)
        await read_until(stream, b"\r\n\r\n")
        size = (MESSAGE_MAX_BYTES + 100_000) // pieces
        try:
            for piece in range(pieces):
                await stream.send_all(masked(0x0 if piece else 0x2, bytes(size), final=False))
        except trio.BrokenResourceError:
            pass  # it was told enough
        assert closing_code(await read_all(stream)) == 1009
        await sockets.left.wait()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x01x", 1002),  # not masked
        (b"\xf1\x80" + bytes(4), 1002),  # reserved bits
        (masked(0x1, b"\xff"), 1007),
        (masked(0x9, bytes(126)), 1002),  # a control frame that is too long
        (masked(0x3, b""), 1002),
    ],
)
async def test_a_broken_frame_is_told_so(frame: bytes, code: int) -> None:
    async with open_sockets() as (sockets, served), served.connect() as stream:
        await stream.send_all(UPGRADE)
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(frame)
        assert closing_code(await read_all(stream)) == code
        await sockets.left.wait()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"sec-websocket-version: 13\r\n", b""),
        (b"sec-websocket-version: 13", b"sec-websocket-version: 12"),
        (b"sec-websocket-key: %b\r\n" % KEY, b""),
    ],
)
async def test_a_handshake_that_is_none_is_refused(old: bytes, new: bytes) -> None:
    async with open_sockets() as (_, served), served.connect() as stream:
        await stream.send_all(UPGRADE.replace(old, new) + b"x")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400 ")


async def test_compression_is_not_offered() -> None:
    """What inflates without bound is not taken in."""
    offer = b"sec-websocket-extensions: permessage-deflate\r\n\r\n"
    async with open_sockets() as (_, served), served.connect() as stream:
        await stream.send_all(UPGRADE[:-2] + offer)
        assert b"extensions" not in await read_until(stream, b"\r\n\r\n")


# -- time ---------------------------------------------------------------------------------------


async def test_pings(autojump_clock: MockClock) -> None:
    async with open_sockets() as (_, served), served.connect() as stream:
        began_s = trio.current_time()
        await stream.send_all(UPGRADE)
        heard = await read_until(stream, b"\x89\x00")
        while heard.count(b"\x89\x00") < 3:
            heard += await read_until(stream, b"\x89\x00")
        assert trio.current_time() - began_s == pytest.approx(3 * PING_INTERVAL_S)
        await stream.send_all(masked(0x9, b"ours"))
        assert await read_until(stream, b"ours") == b"\x8a\x04ours"


async def test_a_stop_ends_it_with_1001() -> None:
    async with open_sockets() as (sockets, served), open_client(served) as client:
        await client.send_message("hello")
        await client.get_message()
        served.stop()
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await client.get_message()
        assert reason_of(caught)[0] == 1001
        await sockets.left.wait()


async def test_a_stalled_client_is_cut(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        with trio.CancelScope():
            try:
                while not served.transports[0].gone:
                    await send({"type": "websocket.send", "bytes": bytes(50_000)})
            finally:
                ended.set()

    async with serve_http1(app, write_stall_s=5) as served:
        stream = served.connect(buffer_bytes=16_384)
        await stream.send_all(UPGRADE)
        await ended.wait()
        assert served.transports[0].buffered_bytes == 0
        await stream.aclose()
