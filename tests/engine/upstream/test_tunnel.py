"""Providers behind an HTTP proxy."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from engine.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from engine.upstream.connection import open_connection
from engine.upstream.pool import open_pool

from .peer import LENIENT, Collector, Peer, open_peer, request_head
from .proxy import TunnelProxy, open_proxy, open_server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def converse(peer: Peer, **fields: object) -> None:
    """A large request and its answer."""
    provider, collector = peer.provider(**fields), Collector()
    async with open_connection(provider.origin) as connection:
        connection.open_stream_nowait(request_head(provider), bytes(300_000), collector)
        request = await peer.next_request()
        assert await request.wait_ended() == bytes(300_000)
        request.answer(b"through the tunnel", ended=True)
        assert (await collector.wait_over()).data == b"through the tunnel"


async def failure(peer: Peer, **fields: object) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        async with open_connection(peer.provider(**fields).origin):
            pass
    return caught.value


async def test_http2_over_tls_through_a_tunnel(ca_file: Path, tls: ssl.SSLContext) -> None:
    async with open_peer(tls=tls) as peer, open_proxy() as proxy:
        await converse(peer, ca_file=ca_file, proxy=proxy.url())
        [request] = proxy.requests
        assert (request.method, request.target) == (b"CONNECT", b"127.0.0.1:%d" % peer.port)


async def test_cleartext_http2_through_a_tunnel() -> None:
    async with open_peer() as peer, open_proxy() as proxy:
        await converse(peer, proxy=proxy.url())
        assert len(proxy.requests) == 1


async def test_basic_authentication(ca_file: Path, tls: ssl.SSLContext) -> None:
    async with open_peer(tls=tls) as peer, open_proxy() as proxy:
        proxy.credentials = "ann:p@ss/word"
        await converse(peer, ca_file=ca_file, proxy=proxy.url("ann:p%40ss%2Fword"))


async def test_the_pool_dials_through_the_proxy() -> None:
    async with open_peer() as peer, open_proxy() as proxy, open_pool() as pool:
        provider, collector = peer.provider(proxy=proxy.url()), Collector()
        await pool.open_stream(provider, request_head(provider), b"", collector)
        (await peer.next_request()).answer(b"hello", ended=True)
        assert (await collector.wait_over()).data == b"hello"
        assert len(proxy.requests) == 1


async def test_what_arrives_with_the_answer_belongs_to_the_tunnel() -> None:
    """A server may speak as soon as the tunnel is open, and share a packet with its opening."""
    settings = b"\0\0\0\4\0\0\0\0\0"

    async def speak_first(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + settings)
        await trio.sleep_forever()

    async with open_server(speak_first) as port:
        provider = Peer(LENIENT).provider(proxy=f"http://127.0.0.1:{port}")
        async with open_connection(provider.origin) as connection:
            assert connection.free_streams > 0, "the SETTINGS were read"


@pytest.mark.parametrize(
    ("user", "message"),
    [("", "asks for a user"), ("ann:wrong", "does not accept"), ("ann", "does not accept")],
)
async def test_credentials_that_are_refused(
    user: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_peer() as peer, open_proxy() as proxy:
        proxy.credentials = "ann:secret"
        error = await failure(peer, proxy=proxy.url(user))
    assert message in error.message
    assert "407" in error.message
    assert isinstance(error, UpstreamUnreachableError)
    assert "wrong" not in caplog.text
    assert "Basic" not in caplog.text
    assert peer.connections == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", r"refused a tunnel .* \(403\)"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", r"refused a tunnel .* \(502\)"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000, "did not answer in HTTP"),
        (b"", "did not answer in HTTP"),
    ],
)
async def test_a_proxy_that_does_not_tunnel(answer: bytes, message: str) -> None:
    async with open_peer() as peer, open_proxy() as proxy:
        proxy.answer = answer
        error = await failure(peer, proxy=proxy.url())
    assert isinstance(error, UpstreamUnreachableError)
    with pytest.raises(UpstreamUnreachableError, match=message):
        raise error


async def test_no_proxy_listens(caplog: pytest.LogCaptureFixture) -> None:
    async with open_proxy() as proxy:
        pass
    async with open_peer() as peer:
        error = await failure(peer, proxy=proxy.url("ann:secret"))
    assert error.message == "The proxy cannot be reached."
    assert f"127.0.0.1:{proxy.port}" in caplog.text
    assert "secret" not in caplog.text


async def test_a_proxy_that_stays_silent(autojump_clock: trio.testing.MockClock) -> None:
    async def stay_silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with open_peer() as peer, open_server(stay_silent) as port:
        started = trio.current_time()
        error = await failure(peer, proxy=f"http://127.0.0.1:{port}", connect_timeout_s=7)
        assert isinstance(error, UpstreamTimeoutError)
        assert trio.current_time() - started == pytest.approx(7)


async def test_the_certificate_is_checked_inside_the_tunnel(tls: ssl.SSLContext) -> None:
    async with open_peer(tls=tls) as peer, open_proxy() as proxy:
        error = await failure(peer, proxy=proxy.url())  # the system trusts no such authority
    assert "not trusted" in error.message


def test_credentials_are_not_shown() -> None:
    proxy = TunnelProxy()
    provider = Peer(LENIENT).provider(proxy=proxy.url("ann:secret"))
    assert "secret" not in repr(provider) + repr(provider.origin)
    assert provider.origin.proxy is not None
