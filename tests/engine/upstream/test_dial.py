"""TLS: whom we trust, and what ALPN must say."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

from engine.errors import UpstreamUnreachableError
from engine.upstream.connection import open_connection
from engine.upstream.providers import Provider

from .peer import Collector, Peer, open_peer, request_head


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
        provider = peer.provider(ca_file=ca_file, http2="prior-knowledge")
        with pytest.raises(UpstreamUnreachableError, match=r"only HTTP/1\.1"):
            async with open_connection(provider.origin):
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


def wants_client(authority: trustme.CA) -> ssl.SSLContext:
    """A server that takes clients of its own authority only."""
    tls = server_tls(authority, "127.0.0.1", "h2")
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    return tls


def client_files(authority: trustme.CA, folder: Path, name: str) -> tuple[Path, Path]:
    """A client's certificate and key."""
    certificate = authority.issue_cert(name)
    cert_file, key_file = folder / "client.pem", folder / "client.key"
    cert_file.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key_file))
    return cert_file, key_file


async def client_name(peer: Peer, provider: Provider) -> str:
    """Under which name the peer knows us."""
    async with open_connection(provider.origin) as connection:
        connection.open_stream_nowait(request_head(provider), b"", Collector())
        stream = (await peer.next_request()).connection.stream
        assert isinstance(stream, trio.SSLStream)
        [(_, name)] = stream.getpeercert()["subjectAltName"]
        return str(name)


async def test_a_client_certificate(authority: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    cert_file, key_file = client_files(authority, tmp_path, "gateway.test")
    async with open_peer(tls=wants_client(authority)) as peer:
        provider = peer.provider(
            ca_file=ca_file, client_cert_file=cert_file, client_key_file=key_file
        )
        assert await client_name(peer, provider) == "gateway.test"


async def test_a_key_in_the_certificates_file(
    authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    authority.issue_cert("one.test").private_key_and_cert_chain_pem.write_to_path(str(both))
    async with open_peer(tls=wants_client(authority)) as peer:
        provider = peer.provider(ca_file=ca_file, client_cert_file=both)
        assert await client_name(peer, provider) == "one.test"


async def test_a_renewed_certificate_is_used_from_the_next_connection_on(
    authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    async with open_peer(tls=wants_client(authority)) as peer:
        for age, name in enumerate(["old.test", "new.test"]):
            cert_file, key_file = client_files(authority, tmp_path, name)
            os.utime(cert_file, (age, age))
            provider = peer.provider(
                ca_file=ca_file, client_cert_file=cert_file, client_key_file=key_file
            )
            assert await client_name(peer, provider) == name


def refuse_one(listener: socket.socket, tls: ssl.SSLContext) -> None:
    """A server that says why it ends the handshake (Trio's does not), and lets it be read."""
    accepted, _ = listener.accept()
    secure = tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
    with pytest.raises(ssl.SSLError):
        secure.do_handshake()
    with socket.socket(fileno=secure.detach()) as plain:
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4_096):
            pass


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (ssl.TLSVersion.TLSv1_2, "handshake failed"),
        (ssl.TLSVersion.TLSv1_3, "client certificate"),
    ],
)
async def test_without_a_certificate_that_is_wanted(
    authority: trustme.CA, ca_file: Path, version: ssl.TLSVersion, message: str
) -> None:
    """With TLS 1.3 the refusal comes after our side of the handshake is done."""
    tls = wants_client(authority)
    tls.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        provider = Provider("p", "openai", url, ca_file=ca_file)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse_one, listener, tls)
            with pytest.raises(UpstreamUnreachableError, match=message):
                async with open_connection(provider.origin):
                    pass


@pytest.mark.parametrize("content", [None, b"", b"no PEM", "encrypted"])
async def test_tls_files_that_cannot_be_used(
    authority: trustme.CA, ca_file: Path, tmp_path: Path, content: bytes | str | None
) -> None:
    """Above all, OpenSSL does not ask the terminal for a passphrase."""
    cert_file, key_file = client_files(authority, tmp_path, "gateway.test")
    if content == "encrypted":
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        content = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    if isinstance(content, bytes):
        key_file.write_bytes(content)
    else:
        key_file.unlink()
    async with open_peer(tls=wants_client(authority)) as peer:
        provider = peer.provider(
            ca_file=ca_file, client_cert_file=cert_file, client_key_file=key_file
        )
        with pytest.raises(UpstreamUnreachableError, match="gateway's certificates"):
            async with open_connection(provider.origin):
                pass
        assert peer.connections == []
