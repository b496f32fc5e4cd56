"""TLS: whom we trust, and what ALPN must say."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme

from engine.errors import UpstreamUnreachableError
from engine.upstream.connection import open_connection

from .peer import Collector, open_peer, request_head


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_tls(authority: trustme.CA, name: str, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def test_http2_over_tls(authority: trustme.CA, ca_file: Path) -> None:
    tls = server_tls(authority, "127.0.0.1", "h2", "http/1.1")
    async with open_peer(tls=tls) as peer:
        provider = peer.provider(ca_file=ca_file)
        async with open_connection(provider.origin) as connection:
            collector = Collector()
            connection.open_stream_nowait(request_head(provider), b"x" * 100_000, collector)
            request = await peer.next_request()
            assert len(await request.wait_ended()) == 100_000
            request.answer(b"secret", ended=True)
            assert (await collector.wait_over()).data == b"secret"


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
async def test_only_http1_is_said_so(
    authority: trustme.CA, ca_file: Path, protocols: list[str]
) -> None:
    async with open_peer(tls=server_tls(authority, "127.0.0.1", *protocols)) as peer:
        with pytest.raises(UpstreamUnreachableError, match=r"only HTTP/1\.1"):
            async with open_connection(peer.provider(ca_file=ca_file).origin):
                pass


async def test_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    """Without `ca_file` it is the system's trust store that counts."""
    async with open_peer(tls=server_tls(authority, "127.0.0.1", "h2")) as peer:
        with pytest.raises(UpstreamUnreachableError, match="not trusted"):
            async with open_connection(peer.provider().origin):
                pass


async def test_a_certificate_for_another_host_is_refused(
    authority: trustme.CA, ca_file: Path
) -> None:
    async with open_peer(tls=server_tls(authority, "elsewhere.test", "h2")) as peer:
        with pytest.raises(UpstreamUnreachableError, match="not trusted"):
            async with open_connection(peer.provider(ca_file=ca_file).origin):
                pass


async def test_a_peer_without_tls_is_refused(ca_file: Path) -> None:
    async def plain(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with open_peer() as peer, trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, plain, 0)
        port = listeners[0].socket.getsockname()[1]
        url = f"https://127.0.0.1:{port}"
        with pytest.raises(UpstreamUnreachableError, match="TLS"):
            async with open_connection(
                peer.provider(base_url=url, http2="alpn", ca_file=ca_file).origin
            ):
                pass
        nursery.cancel_scope.cancel()
