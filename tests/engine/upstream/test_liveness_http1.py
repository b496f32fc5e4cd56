"""HTTP/1.1 providers that close, fall silent, break the rules, or speak over TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from engine.upstream.errors import StreamLostError

from .peer_http1 import STREAM, chunk, open_peer, plain
from .test_connection_http1 import answered, open_serial, start

# ---- lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "reused", "part", "unprocessed"),
    [
        (b"POST", False, b"", False),
        (b"POST", True, b"", False),  # it may have been acted on: never sent again in silence
        (b"DELETE", True, b"", False),
        (b"GET", False, b"", False),  # a server that dies of the request would die again
        (b"GET", True, b"", True),  # closed as it was idle, at the moment we used it
        (b"GET", True, b"HTTP/1.1 2", False),
        (b"GET", True, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", False),
        (b"POST", True, STREAM + chunk(b"some"), False),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_when_a_lost_request_may_be_sent_again(
    method: bytes, reused: bool, part: bytes, unprocessed: bool, reset: bool
) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        if reused:
            await answered(connection, peer)
        _, collector = start(connection, peer, b"", method=method)
        request = await peer.next_request()
        if part:
            await request.send(part)
            await trio.testing.wait_all_tasks_blocked(0.01)
        request.connection.close_nowait(reset=reset)
        await collector.wait_over()
        assert isinstance(collector.error, StreamLostError)
        assert collector.error.unprocessed is unprocessed
        await connection.wait_finished()
        assert connection.free_streams == 0


async def test_a_request_that_never_left_is_unprocessed() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        await answered(connection, peer)
        peer.connections[0].close_nowait()
        _, collector = start(connection, peer)  # before the reader or the writer has had a turn
        connection._fail("lost", OSError("for the test"))
        assert isinstance(collector.error, StreamLostError)
        assert collector.error.unprocessed


async def test_what_came_before_the_end_counts() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        await request.send(STREAM, chunk(b"tokens"), b"5\r\nand")
        await request.connection.send_eof()
        await collector.wait_over()
        assert collector.data == b"tokensand"
        assert isinstance(collector.error, StreamLostError)


async def test_an_idle_connection_that_the_server_closes() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        await answered(connection, peer)
        changed = trio.Event()
        connection.on_change = changed.set
        await peer.connections[0].send_eof()
        await changed.wait()
        assert connection.draining
        await connection.wait_finished()


async def test_the_kernel_knows_first() -> None:
    """Closed by the server, and our reader has not run yet."""
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        await answered(connection, peer)
        assert connection.still_open()
        peer.connections[0].close_nowait()
        assert not connection.still_open()
        assert (connection.free_streams, connection.draining) == (0, True)


async def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        await answered(connection, peer)
        await peer.connections[0].stream.send_all(plain(b"", status=b"408 Request Timeout"))
        await connection.wait_finished()


@pytest.mark.parametrize("excess", [b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0"])
async def test_bytes_after_an_answer_end_the_connection(excess: bytes) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        await (await peer.next_request()).send(plain(b"mine") + excess)
        assert (await collector.wait_over()).data == b"mine"
        assert collector.ended
        await connection.wait_finished()


@pytest.mark.parametrize(
    "answer",
    [
        b"\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ],
)
async def test_what_is_no_answer_ends_the_connection(answer: bytes) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        await request.send(answer)
        await collector.wait_over()
        assert isinstance(collector.error, StreamLostError)
        assert not collector.error.unprocessed
        assert "HTTP/1.1" in collector.error.message
        await request.connection.closed.wait()


# ---- time ----------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        await trio.sleep(100)
        await answered(connection, peer)
        started = trio.current_time()
        await connection.wait_finished()
        assert trio.current_time() - started == pytest.approx(120, abs=1)


async def test_a_connection_that_is_kept_is_not_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        connection.keep = True
        await answered(connection, peer)
        await trio.sleep(10_000)
        await answered(connection, peer)


async def test_we_close_before_the_server_says_it_would(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        connection.keep = True
        _, collector = start(connection, peer)
        await (await peer.next_request()).send(plain(b"", b"keep-alive: timeout=5"))
        await collector.wait_over()
        started = trio.current_time()
        await connection.wait_finished()
        assert trio.current_time() - started == pytest.approx(4, abs=0.5)


async def test_a_long_answer_is_not_idle(autojump_clock: trio.testing.MockClock) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer)
        request = await peer.next_request()
        await request.send(STREAM)
        await trio.sleep(1_000)
        await request.send(chunk(b""))
        await collector.wait_over()
        assert collector.ended


async def test_a_peer_that_does_not_read_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_peer() as peer, open_serial(peer.provider().origin) as connection:
        _, collector = start(connection, peer, bytes(50_000_000))
        (await peer.next_request()).connection.reading = trio.Event()
        await collector.wait_over()
        assert isinstance(collector.error, StreamLostError)
        assert not collector.error.unprocessed


# ---- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_tls(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
@pytest.mark.parametrize("http2", ["alpn", "off"])
async def test_http1_over_tls(
    authority: trustme.CA, ca_file: Path, protocols: tuple[str, ...], http2: str
) -> None:
    async with open_peer(server_tls(authority, *protocols)) as peer:
        origin = peer.provider(ca_file=ca_file, http2=http2).origin
        async with open_serial(origin) as connection:
            for _ in range(3):
                _, collector = start(connection, peer, bytes(300_000))
                request = await peer.next_request()
                assert len(await request.wait_ended()) == 300_000
                await request.send(STREAM, chunk(b"secret"), chunk(b""))
                assert (await collector.wait_over()).data == b"secret"
                assert connection.still_open()
            stream, _ = start(connection, peer)
            request = await peer.next_request()
            stream.reset_nowait()
            await request.connection.closed.wait()


async def test_off_means_off(authority: trustme.CA, ca_file: Path) -> None:
    """The server would rather speak HTTP/2, or so it says."""
    async with (
        open_peer(server_tls(authority, "h2", "http/1.1")) as peer,
        open_serial(peer.provider(ca_file=ca_file, http2="off").origin) as connection,
    ):
        await answered(connection, peer)


async def test_the_end_of_an_answer_must_be_said_over_tls(
    authority: trustme.CA, ca_file: Path
) -> None:
    """Anybody can cut a TCP connection; only the provider can end TLS (RFC 9112 section 9.8)."""
    tls = server_tls(authority)
    async with open_peer(tls) as peer:
        for in_order in (True, False):
            async with open_serial(peer.provider(ca_file=ca_file).origin) as connection:
                _, collector = start(connection, peer)
                request = await peer.next_request()
                await request.send(b"HTTP/1.1 200 OK\r\n\r\nyes, but")
                await collector.wait_bytes(8)
                if in_order:
                    await request.connection.send_eof()
                else:
                    request.connection.close_nowait()
                await collector.wait_over()
                assert collector.ended is in_order


async def test_an_idle_tls_connection_that_the_server_cuts(
    authority: trustme.CA, ca_file: Path
) -> None:
    async with (
        open_peer(server_tls(authority)) as peer,
        open_serial(peer.provider(ca_file=ca_file).origin) as connection,
    ):
        await answered(connection, peer)
        assert connection.still_open()
        peer.connections[0].close_nowait()
        assert not connection.still_open()
