"""Pushing into a client's socket: no task switch a token, and a slow client is only slow itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from engine import Exchange, Outcome
from tests.gateways import charge, content, open_setup
from tests.sinks import SocketSink


@asynccontextmanager
async def open_client(
    *, buffer_bytes: int = 0
) -> AsyncIterator[tuple[SocketSink, trio.SocketStream]]:
    """A connected pair over TCP: the gateway's sink and the client's stream."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    server = await listener.accept()
    if buffer_bytes:
        server.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, buffer_bytes)
        client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, buffer_bytes)
    sink = SocketSink(server)
    async with listener, client, server, trio.open_nursery() as nursery:
        nursery.start_soon(sink.flush)
        yield sink, client
        nursery.cancel_scope.cancel()


async def push(exchange: Exchange, sink: SocketSink) -> None:
    await exchange.head()
    sink.uncork(b"HEAD\n")
    await exchange.relay_to(sink)


async def read_until(client: trio.SocketStream, end: bytes) -> bytes:
    body = b""
    while not body.endswith(end):
        piece = await client.receive_some(65_536)
        assert piece, "the gateway closed"
        body += piece
    return body


async def test_a_stream_is_pushed_whole(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup, open_client() as (sink, client):
        call = setup.call("tokens=500 tokens_per_second=5000")
        async with setup.gateway.open_exchange(call) as exchange, trio.open_nursery() as nursery:
            nursery.start_soon(push, exchange, sink)
            body = await read_until(client, b"data: [DONE]\n\n")
        assert body.startswith(b"HEAD\n")
        assert content(body.removeprefix(b"HEAD\n")) == setup.truth(exchange).text
        assert exchange.receipt.outcome is Outcome.COMPLETED
        assert exchange.receipt.delivered_output_tokens == 500


async def test_a_client_that_does_not_read_holds_its_provider_up(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup, open_client(buffer_bytes=65_536) as (sink, client):
        call = setup.call("tokens=8000")
        async with setup.gateway.open_exchange(call) as exchange, trio.open_nursery() as nursery:
            nursery.start_soon(push, exchange, sink)
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert setup.truth(exchange).tokens_written < 5_000
            body = await read_until(client, b"data: [DONE]\n\n")
        assert content(body.removeprefix(b"HEAD\n")) == setup.truth(exchange).text


async def test_a_client_that_never_reads_is_given_up_and_billed(tmp_path: Path) -> None:
    server = "write_stall_s = 0.3"
    async with (
        open_setup(tmp_path, server=server) as setup,
        open_client(buffer_bytes=4_096) as (sink, _client),
    ):
        async with setup.gateway.open_exchange(setup.call("tokens=20000")) as exchange:
            await push(exchange, sink)
        receipt, truth = exchange.receipt, setup.truth(exchange)
        assert receipt.outcome is Outcome.CLIENT_LEFT
        billed = receipt.usage["output_tokens"]
        assert receipt.delivered_output_tokens < billed == receipt.received_output_tokens
        assert billed <= truth.tokens_generated
        assert receipt.price_nanodollars == charge(truth.input_tokens, billed)
