"""A dial through a proxy with TLS inside, and an upload from a file, cancelled everywhere."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from engine.upstream.bodies import SpooledBody, _readers
from engine.upstream.connection import open_connection
from engine.upstream.providers import Provider
from tests.engine.upstream.peer import Collector, Peer, open_peer, request_head
from tests.engine.upstream.proxy import open_proxy
from tests.gateways import settled

from .cancel_everywhere import CancelPoint, Whose, cancel_everywhere
from .quiet import count

SPOOLED_BYTES = 300_000


async def serve(peer: Peer) -> None:
    """Answer each request once all of it has come."""
    async with trio.open_nursery() as nursery:

        async def answer(peer: Peer) -> None:
            request = await peer.next_request()
            nursery.start_soon(answer, peer)
            await request.wait(lambda: request.ended or request.reset_code is not None)
            if request.ended and request.connection.http2.is_open(request.stream_id):
                request.answer(b"%d" % len(request.body), ended=True)

        nursery.start_soon(answer, peer)


async def upload(provider: Provider, spool: Path) -> None:
    async with open_connection(provider.origin) as connection:
        collector, body = Collector(), SpooledBody(spool, SPOOLED_BYTES)
        connection.open_stream_nowait(request_head(provider), body, collector)
        assert (await collector.wait_over()).data == b"%d" % SPOOLED_BYTES


@pytest.mark.parametrize(
    ("whose", "seed"),
    [("own", 1), ("own", 20_261_121), pytest.param("any", 1, marks=pytest.mark.long)],
)
async def test_an_upload_through_a_tunnel(
    whose: Whose, seed: int, tmp_path: Path, say: Callable[[str], None]
) -> None:
    authority, ca_file, spool = trustme.CA(), tmp_path / "ca.pem", tmp_path / "spool"
    authority.cert_pem.write_to_path(str(ca_file))
    spool.write_bytes(bytes(SPOOLED_BYTES))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    tls.set_alpn_protocols(["h2"])
    async with open_peer(tls=tls) as peer, open_proxy() as proxy, trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer)
        provider = peer.provider(ca_file=ca_file, proxy=proxy.url("ann:secret"))
        await upload(provider, spool)
        await trio.testing.wait_all_tasks_blocked(0.01)
        baseline = count()

        async def check(point: CancelPoint) -> None:
            # A thread that reads the file is left to itself, and opens it for a moment.
            await settled(lambda: _readers().borrowed_tokens == 0)
            await baseline.wait_restored(point)

        points = await cancel_everywhere(
            lambda: upload(provider, spool), check, seed=seed, whose=whose
        )
        say(f"an upload through a tunnel: {points} cancel points, seed {seed}")
        assert points > 20
        await upload(provider, spool)
        nursery.cancel_scope.cancel()
