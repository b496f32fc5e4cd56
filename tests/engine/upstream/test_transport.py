"""The pool as an httpx transport: what httpx and its callers may rely on."""

from __future__ import annotations

import socket

import httpx
import pytest
import trio
import trio.testing

from bench.simulate import SimulatorSettings, open_simulator
from engine.upstream.pool import PoolSettings, open_pool
from engine.upstream.transport import MultiplexTransport, open_multiplex_transport
from engine.wire.http2 import ErrorCodes, Http2Limits

from .httpx_client import open_client, pieces, respond
from .peer import PeerConnection, Request, open_peer

MEGABYTE = 1_000_000
QUICK = httpx.Timeout(30.0, read=0.1)


async def test_a_request_and_its_answer() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            assert await request.wait_ended() == b'{"a":1}'
            head = dict(request.head)
            assert head[b":method"] == b"PUT"
            assert head[b":scheme"] == b"http"
            assert head[b":authority"] == b"127.0.0.1:%d" % peer.port
            assert head[b":path"] == b"/things/1?q=%C3%A9"
            assert head[b"x-mixed-case"] == b"Kept"
            assert not head.keys() & {b"host", b"connection", b"transfer-encoding"}
            cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
            respond(request, 404, (b"content-type", b"text/plain"), *cookies, body=b"no")

        response = await client.put(
            "/things/1", params={"q": "é"}, json={"a": 1}, headers={"X-Mixed-Case": "Kept"}
        )
        assert (response.status_code, response.text) == (404, "no")
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert response.http_version == "HTTP/2"
        assert dict(client.cookies) == {"a": "1", "b": "2"}


async def test_1xx_and_trailers_are_dropped() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            http2 = request.connection.http2
            http2.send_headers(request.stream_id, [(b":status", b"103"), (b"link", b"x")])
            http2.send_headers(request.stream_id, [(b":status", b"200")])
            http2.send_data(request.stream_id, b"body")
            http2.send_headers(request.stream_id, [(b"x-checksum", b"1")], ended=True)
            request.connection.flush()

        response = await client.get("/")
        assert (response.content, dict(response.headers)) == (b"body", {})


async def test_an_answer_is_read_as_it_comes() -> None:
    async with (
        open_peer() as peer,
        open_client(peer) as client,
        trio.open_nursery() as nursery,
    ):
        requests: list[Request] = []

        @nursery.start_soon
        async def serve() -> None:
            requests.append(await peer.next_request())
            requests[0].answer(b"one")

        async with client.stream("GET", "/") as response:
            pieces = response.aiter_bytes()
            assert await anext(pieces) == b"one"
            requests[0].send(b"two")
            assert await anext(pieces) == b"two"
            requests[0].send(b"", ended=True)
            assert [piece async for piece in pieces] == []


async def test_an_unread_answer_holds_up_no_other() -> None:
    big = b"x" * MEGABYTE
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        async def serve() -> None:
            request = await peer.next_request()
            request.answer()
            await request.send_all(big, ended=True)

        nursery.start_soon(serve)
        async with client.stream("GET", "/unread") as unread:
            nursery.start_soon(serve)
            assert (await client.get("/read")).content == big
            [connection] = peer.connections
            assert connection.http2.send_window(1) == 0, "it waits for its reader"
            assert await unread.aread() == big


async def test_http1() -> None:
    async with (
        open_simulator(SimulatorSettings()) as simulator,
        open_multiplex_transport(http2="off") as transport,
        httpx.AsyncClient(transport=transport, base_url=simulator.base_url) as client,
    ):
        response = await client.get("/healthz")
        assert (response.json(), response.http_version) == ({"status": "ok"}, "HTTP/1.1")
        response = await client.post("/healthz", content=pieces(3))
        assert response.status_code == 405
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("/healthz", headers={"content-length": "5"})


async def test_a_redirect_sends_the_request_again() -> None:
    async with (
        open_peer() as peer,
        open_client(peer, follow_redirects=True) as client,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            respond(request, 307, (b"location", b"/there"))
            request = await peer.next_request()
            assert dict(request.head)[b":path"] == b"/there"
            respond(request, 200, body=await request.wait_ended())

        response = await client.post("/here", content=b"body")
        assert (response.content, len(response.history)) == (b"body", 1)


@pytest.mark.parametrize("when", ["before the head", "mid-stream"])
async def test_cancelling_resets_the_stream(when: str) -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        @nursery.start_soon
        async def ask() -> None:
            with scope:
                await client.get("/")

        request = await peer.next_request()
        if when == "mid-stream":
            request.answer(b"something")
            await trio.testing.wait_all_tasks_blocked(0.01)
        scope.cancel()
        assert await request.wait_reset() == ErrorCodes.CANCEL


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # httpx's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_response_closed_early_is_reset() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:
        requests: list[Request] = []

        @nursery.start_soon
        async def serve() -> None:
            requests.append(await peer.next_request())
            requests[0].answer(b"one")

        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw()) == b"one"
        assert await requests[0].wait_reset() == ErrorCodes.CANCEL


@pytest.mark.parametrize("when", ["before the head", "mid-stream"])
async def test_silence_is_a_read_timeout_of_one_stream(when: str) -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ask_other() -> None:
            assert (await client.get("/other")).content == b"fine"

        other = await peer.next_request()
        silent: list[Request] = []

        @nursery.start_soon
        async def serve() -> None:
            silent.append(await peer.next_request())
            if when == "mid-stream":
                silent[0].answer(b"one")

        with pytest.raises(httpx.ReadTimeout) as raised:
            await client.get("/", timeout=QUICK)
        assert raised.value.request.url.path == "/"
        assert await silent[0].wait_reset() == ErrorCodes.CANCEL
        other.answer(b"fine", ended=True)
    assert len(peer.connections) == 1


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with (
            open_multiplex_transport(http2="prior-knowledge") as transport,
            httpx.AsyncClient(transport=transport) as client,
        ):
            with pytest.raises(httpx.ConnectError):
                await client.get(url)


async def test_a_server_that_accepts_and_stays_silent_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with (
            open_multiplex_transport(http2="prior-knowledge") as transport,
            httpx.AsyncClient(transport=transport) as client,
        ):
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(url, timeout=httpx.Timeout(30, connect=0.1))


async def test_no_free_stream_is_a_pool_timeout() -> None:
    settings = PoolSettings(connections_max=1)
    async with (
        open_peer(Http2Limits(streams_max=1)) as peer,
        open_client(peer, settings=settings) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.get, "/slow")
        slow = await peer.next_request()
        with pytest.raises(httpx.PoolTimeout):
            await client.get("/", timeout=httpx.Timeout(30, pool=0.1))
        slow.answer(b"", ended=True)


async def test_a_wait_for_a_stream_after_the_dial_is_not_a_connect_timeout() -> None:
    settings = PoolSettings(connections_max=1)
    timeout = httpx.Timeout(30, connect=0.5)
    async with (
        open_peer(Http2Limits(streams_max=1)) as peer,
        open_client(peer, settings=settings, timeout=timeout) as client,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            nursery.start_soon(client.get, "/")
        first = await peer.next_request()
        await trio.sleep(0.7)  # past the connect timeout
        first.answer(b"", ended=True)
        (await peer.next_request()).answer(b"", ended=True)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("reset", httpx.RemoteProtocolError), ("drop", httpx.ReadError)],
)
@pytest.mark.parametrize("when", ["before the head", "mid-stream"])
async def test_a_broken_answer(fault: str, error: type[Exception], when: str) -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            if when == "mid-stream":
                request.answer(b"one")
                await trio.testing.wait_all_tasks_blocked(0.01)
            if fault == "reset":
                request.reset()
            else:
                request.connection.drop()

        with pytest.raises(error):
            await client.get("/")


async def test_what_was_never_acted_on_is_sent_again() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            request.reset(ErrorCodes.REFUSED_STREAM)
            request = await peer.next_request()
            go_away(request.connection)
            request = await peer.next_request()
            request.answer(await request.wait_ended(), ended=True)

        assert (await client.post("/", content=b"again")).content == b"again"
        assert len(peer.connections) == 2


def go_away(connection: PeerConnection) -> None:
    """Refuse every request that is open."""
    connection.http2.goaway(last_stream_id=0)
    connection.flush()


async def test_a_provider_that_always_refuses_is_not_asked_for_ever() -> None:
    async with open_peer() as peer, open_client(peer) as client, trio.open_nursery() as nursery:
        asked = 0

        @nursery.start_soon
        async def serve() -> None:
            nonlocal asked
            while True:
                (await peer.next_request()).reset(ErrorCodes.REFUSED_STREAM)
                asked += 1

        with pytest.raises(httpx.RemoteProtocolError, match="REFUSED_STREAM"):
            await client.get("/")
        assert asked == 3
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_sent() -> None:
    async with open_peer() as peer, open_client(peer) as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("/", headers={"te": "gzip"})


async def test_transports_share_a_pool_and_close_apart() -> None:
    async with open_peer() as peer, open_pool() as pool, trio.open_nursery() as nursery:
        one, other = (MultiplexTransport(pool, http2="prior-knowledge") for _ in range(2))
        base_url = f"http://127.0.0.1:{peer.port}"

        async with httpx.AsyncClient(transport=other, base_url=base_url) as stays:
            async with httpx.AsyncClient(transport=one, base_url=base_url) as leaves:

                @nursery.start_soon
                async def ask() -> None:
                    with pytest.raises(httpx.ReadError, match="closed"):
                        await leaves.get("/")

                request = await peer.next_request()
            assert await request.wait_reset() == ErrorCodes.CANCEL
            async with trio.open_nursery() as asking:
                asking.start_soon(stays.get, "/")
                (await peer.next_request()).answer(b"", ended=True)
        assert len(peer.connections) == 1
        with pytest.raises(RuntimeError, match="closed"):
            await one.handle_async_request(httpx.Request("GET", base_url))


async def test_leaving_the_block_ends_what_is_open() -> None:
    async with open_peer() as peer, trio.open_nursery() as nursery:
        async with open_multiplex_transport(http2="prior-knowledge") as transport:
            client = httpx.AsyncClient(transport=transport)

            @nursery.start_soon
            async def ask() -> None:
                with pytest.raises(httpx.ReadError):
                    await client.get(f"http://127.0.0.1:{peer.port}/")

            request = await peer.next_request()
        assert await request.wait_reset() == ErrorCodes.CANCEL


def test_wrong_connection_settings_are_refused_at_once() -> None:
    with pytest.raises(TypeError):
        MultiplexTransport(None, htp2="alpn")  # type: ignore[arg-type]
