"""TLS: what it lets in, what it says at the end, and certificates that change in use."""

from __future__ import annotations

import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.events
import pytest
import trio
import trustme
from trio.testing import MockClock

from frontends.server import Server, ServerSettings
from frontends.server.forwarded import parse_trusted
from frontends.server.interfaces import Peer
from frontends.server.tls import CertificateStore, TlsError
from frontends.server.tls_transport import TlsTransport
from frontends.server.transport import OutputBudget
from tests.frontends.server.apps import RawHttp2, dial, headers, open_probe, read_all, read_until

Client = trio.SSLStream[trio.SocketStream]

pytestmark = pytest.mark.usefixtures("each_server")
ROOT = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Certificates:
    """An authority, and the files of a server's certificate."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "server.crt", folder / "server.key"
        self.issue()
        self.store = CertificateStore(self.certificate, self.key)

    def issue(self) -> None:
        """Write a new certificate and its key."""
        issued = self.authority.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(str(self.certificate))
        issued.private_key_pem.write_to_path(str(self.key))

    def client_context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.01)


@asynccontextmanager
async def open_tls(server: Server, context: ssl.SSLContext) -> AsyncIterator[Client]:
    """A connection; reading raises where the server ends without a close_notify."""
    async with await dial(server) as stream:
        client = trio.SSLStream(stream, context, server_hostname="localhost")
        await client.do_handshake()
        yield client


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2", "http/1.1")])
async def test_requests_are_served_over_the_protocol_that_was_agreed_on(
    certificates: Certificates, protocols: tuple[str, ...]
) -> None:
    context = certificates.client_context(*protocols)
    async with (
        open_probe(tls=certificates.store) as (_, server),
        open_tls(server, context) as stream,
    ):
        if stream.selected_alpn_protocol() == "h2":
            client = RawHttp2(stream)
            client.state.initiate_connection()
            await client.flush()
            await client.request(1, headers())
            assert await client.wait_for(h2.events.StreamEnded, 1)
        else:
            await stream.send_all(ROOT)
            assert (await read_until(stream, b"ok")).startswith(b"HTTP/1.1 200")


async def test_the_end_of_a_connection_is_said_by_tls_too(certificates: Certificates) -> None:
    async with (
        open_probe(tls=certificates.store) as (_, server),
        open_tls(server, certificates.client_context()) as stream,
    ):
        await stream.send_all(ROOT.replace(b"host", b"connection: close\r\nhost"))
        assert (await read_all(stream)).endswith(b"ok")


async def test_old_versions_of_tls_are_refused(certificates: Certificates) -> None:
    context = certificates.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with open_probe(tls=certificates.store) as (_, server):
        with pytest.raises(trio.BrokenResourceError):
            await open_tls(server, context).__aenter__()


async def test_a_request_in_the_clear_is_told_so(certificates: Certificates) -> None:
    async with open_probe(tls=certificates.store) as (_, server), await dial(server) as stream:
        await stream.send_all(ROOT)
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 400")
        assert answer.endswith(b"This port speaks HTTPS only.\n")


@pytest.mark.parametrize("garbage", [b"\x16" + bytes(1_000), b"\x16\x03\x01\x40\x00" + bytes(99)])
async def test_garbage_ends_its_connection_only(
    certificates: Certificates, garbage: bytes, clock: MockClock
) -> None:
    async with open_probe(tls=certificates.store, header_timeout_s=5) as (_, server):
        async with await dial(server) as cleartext:
            await cleartext.send_all(garbage)
            await read_all(cleartext)
        async with open_tls(server, certificates.client_context()) as stream:
            await stream.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
            assert b"<reset>" in await read_all(stream)
        async with open_tls(server, certificates.client_context()) as stream:
            await stream.send_all(ROOT)
            assert await read_until(stream, b"ok")


async def test_a_handshake_that_stalls_is_ended(
    certificates: Certificates, clock: MockClock
) -> None:
    async with open_probe(tls=certificates.store, header_timeout_s=5) as (_, server):
        async with await dial(server) as stream:
            await stream.send_all(b"\x16\x03\x01")
            await read_all(stream)
        assert trio.current_time() >= 5


async def test_a_stop_waits_for_no_handshake(certificates: Certificates, clock: MockClock) -> None:
    async with open_probe(tls=certificates.store) as (_, server), await dial(server) as stream:
        await stream.send_all(b"\x16\x03\x01")
        await trio.testing.wait_all_tasks_blocked(0.005)
        await server.stop()
        assert trio.current_time() < 1
        assert await read_all(stream) in {b"", b"<reset>"}


async def test_a_proxys_header_precedes_tls(certificates: Certificates) -> None:
    settings = {"trusted": parse_trusted(["127.0.0.1"]), "proxy_protocol": True}
    async with (
        open_probe(tls=certificates.store, **settings) as (_, server),
        await dial(server) as cleartext,
    ):
        await cleartext.send_all(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")
        context = certificates.client_context()
        async with trio.SSLStream(cleartext, context, server_hostname="localhost") as stream:
            await stream.send_all(ROOT)
            assert await read_until(stream, b"ok")


async def serial_of(server: Server, certificates: Certificates) -> int:
    """The serial number of the certificate that is shown now."""
    async with open_tls(server, certificates.client_context()) as stream:
        shown: Any = stream.getpeercert()
        return int(shown["serialNumber"], 16)


async def test_a_renewed_certificate_is_used_from_the_next_handshake_on(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="parshall.server")
    async with (
        open_probe(tls=certificates.store) as (_, server),
        open_tls(server, certificates.client_context()) as held,
    ):
        first = await serial_of(server, certificates)
        certificates.store.reload()
        assert not caplog.records

        certificates.issue()
        certificates.store.reload()
        second = await serial_of(server, certificates)
        assert second != first

        certificates.key.write_bytes(b"no key")
        certificates.store.reload()
        assert await serial_of(server, certificates) == second
        assert "the certificate in use stays" in caplog.text

        certificates.key.unlink()
        certificates.store.reload(force=True)
        assert await serial_of(server, certificates) == second

        await held.send_all(ROOT)
        assert await read_until(held, b"ok")


async def test_the_files_are_watched(certificates: Certificates) -> None:
    async with open_probe(tls=certificates.store) as (_, server):
        first = await serial_of(server, certificates)
        certificates.issue()
        with trio.fail_after(30):
            while await serial_of(server, certificates) == first:
                pass


def test_a_pair_that_cannot_be_used_is_refused_at_the_start(certificates: Certificates) -> None:
    with pytest.raises(TlsError, match="cannot be used as certificate and key"):
        CertificateStore(certificates.key, certificates.certificate)


@asynccontextmanager
async def open_pair(
    certificates: Certificates,
) -> AsyncIterator[tuple[TlsTransport, Client]]:
    """Our side of a connection over TLS, and the client's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    async with trio.open_nursery() as nursery:
        transport = TlsTransport(
            ours,
            Peer("unix", 0, "https", local=True),
            ("/run/p.sock", None),
            ServerSettings(),
            nursery,
            OutputBudget(1 << 30),
            certificates.store.context,
        )
        client = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
            certificates.client_context(),
            server_hostname="localhost",
        )
        nursery.start_soon(client.do_handshake)
        assert await transport.handshake()
        try:
            yield transport, client
        finally:
            transport.abort()
            theirs.close()


async def test_what_is_written_in_any_pieces_arrives_whole_and_in_order(
    certificates: Certificates,
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    sent, received = bytearray(), bytearray()
    async with open_pair(certificates) as (transport, client), trio.open_nursery() as nursery:

        async def receive() -> None:
            while data := await client.receive_some(chance.choice([1, 100, 65_536])):
                received.extend(data)
                if chance.random() < 0.1:
                    await trio.testing.wait_all_tasks_blocked()

        nursery.start_soon(receive)
        for _ in range(100):
            piece = chance.randbytes(chance.choice([0, 1, 200, 16_384, 50_000]))
            sent += piece
            drained = trio.Event()
            if not transport.write(piece):
                transport.on_drained(drained.set)
                await drained.wait()
            assert transport.written_bytes <= transport.accepted_bytes == len(sent)
        transport.end()
    assert received == sent, f"seed {seed}"


async def test_what_waits_is_held_once_and_counts_as_written_by_whole_records(
    certificates: Certificates,
) -> None:
    async with open_pair(certificates) as (transport, client):
        assert transport.write(b"x" * 1_000)
        assert transport.written_bytes == 1_000
        while transport.write(b"x" * 1_000):
            pass
        assert transport.buffered_bytes == transport.accepted_bytes - transport.written_bytes
        assert len(transport._buffer) + len(transport._sealed) < 65_536 + 17_000
        drained = trio.Event()
        transport.on_drained(drained.set)
        read = 0
        while not drained.is_set():
            read += len(await client.receive_some(65_536))
        assert transport.written_bytes == transport.accepted_bytes
        assert transport.buffered_bytes == 0


async def test_what_was_sent_before_the_end_is_read(certificates: Certificates) -> None:
    async with open_pair(certificates) as (transport, client):
        await client.send_all(b"request")
        assert await transport.receive() == b"request"
        await client.send_all(b"last")
        with trio.move_on_after(0.01):
            await client.aclose()
        assert await transport.receive() == b"last"
        assert await transport.receive() == b""


async def test_a_client_that_answers_our_end_is_no_fault(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_pair(certificates) as (transport, client):
        transport.end()
        await client.aclose()
        assert await transport.receive() == b""
    assert not caplog.records
