"""Clients that stop reading, or leave while nothing happens: bounded, cut in time, billed."""

from __future__ import annotations

import random
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import h2.events
import pytest
import trio

from frontends.server import ServerSettings
from tests.frontends.server.apps import RawHttp2
from tests.gateways import DOLLAR, charge, chat_body, settled
from tests.served import RawStream, Served, open_raw, open_served, raw_request

CHAT = "/v1/chat/completions"
STALL_S = 1.0
BUFFERED_MAX_BYTES = 16_384
ENDLESS = "tokens=1000000 tokens_per_event=40"
HELD_MAX_TOKENS = 30_000
"""What stalled streams get out of their provider: the window of one (64 KiB), our buffer, and what
the kernel takes on either side. Unbounded, it is all million within the time."""
WORDS = 1_000
EVENTS = WORDS + 3
"""Of one stream: the role, the words, the finish, [DONE]."""


async def check_billed(served: Served, request_id: str) -> None:
    """One that has left has paid what was received of its stream."""
    receipt = await served.receipt(request_id)
    billed = receipt["usage"]["output_tokens"]
    truth = served.setup.sim.truth.record(request_id)
    assert truth is not None
    assert (receipt["outcome"], receipt["provenance"]) == ("client_left", "counted")
    assert receipt["delivered_output_tokens"] <= billed == receipt["received_output_tokens"]
    assert 0 < billed <= truth.tokens_generated
    assert receipt["price"]["nanodollars"] == charge(truth.input_tokens, billed)


async def dial(served: Served, receive_buffer_bytes: int | None = None) -> trio.SocketStream:
    """A connection; a small buffer keeps what the kernel holds for it small."""
    sock = trio.socket.socket()
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    await sock.connect(("127.0.0.1", served.port))
    return trio.SocketStream(sock)


async def ask_endless(served: Served, stack: AsyncExitStack) -> RawStream:
    stream = await stack.enter_async_context(await dial(served, 4_096))
    await stream.send_all(raw_request(served, CHAT, chat_body(ENDLESS)))
    return RawStream(stream)


async def stall(served: Served, count: int) -> None:
    """`count` clients read their head and no more; all of them are cut, and pay."""
    setup = served.setup
    async with AsyncExitStack() as stack:
        clients = [await ask_endless(served, stack) for _ in range(count)]
        for client in clients:
            await client.read_head()
            assert client.status == 200
        async with open_raw(served, "tokens=20") as reading:
            await reading.read_head()
            assert await reading.read_events(23) == 23  # the role, the words, the finish, [DONE]
        await settled(lambda: setup.gateway.open_exchanges == 0, within_s=60)
        records = setup.sim.truth.records()
        assert len(records) == count + 1
        for record in records:
            if "tokens=20" not in record.directives.split():
                assert record.tokens_generated < HELD_MAX_TOKENS
                await check_billed(served, record.request_id)


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.long)])
async def test_clients_that_stop_reading_are_cut_and_pay(tmp_path: Path, count: int) -> None:
    settings = ServerSettings(write_stall_s=STALL_S, sink_high_water_bytes=BUFFERED_MAX_BYTES)
    async with open_served(tmp_path, settings=settings, funds_nanodollars=1_000 * DOLLAR) as served:
        await stall(served, count)


async def ask_plain(served: Served, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(open_raw(served, "tokens=5 first_token_ms=60000"))


async def ask_pipelined(served: Served, stack: AsyncExitStack) -> None:
    body = chat_body("tokens=5 first_token_ms=60000")
    stream = await stack.enter_async_context(await dial(served))
    request = raw_request(served, CHAT, body)
    await stream.send_all(request + b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")


async def ask_http2(served: Served, stack: AsyncExitStack) -> RawHttp2:
    client = RawHttp2(await stack.enter_async_context(await dial(served)))
    client.state.initiate_connection()
    await post(client, served, 1, "tokens=5 first_token_ms=60000")
    return client


async def post(client: RawHttp2, served: Served, stream_id: int, directives: str) -> None:
    """A streamed call on one stream."""
    head = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", CHAT.encode()),
        (b"authorization", f"Bearer {served.setup.key}".encode()),
    ]
    client.state.send_headers(stream_id, head)
    client.state.send_data(stream_id, chat_body(directives), end_stream=True)
    await client.flush()


async def check_reset_unbilled(served: Served) -> None:
    """The provider's stream was reset; no token came, and the receipt says what was paid."""
    setup = served.setup
    await settled(lambda: setup.gateway.open_exchanges == 0)
    [truth] = setup.sim.truth.records()[:1]
    await settled(lambda: truth.ended == "reset")
    receipt = await served.receipt(truth.request_id)
    assert receipt["outcome"] == "client_left"
    assert receipt["usage"].get("output_tokens", 0) == 0


@pytest.mark.parametrize("ask", [ask_plain, ask_pipelined, ask_http2], ids=lambda ask: ask.__name__)
async def test_leaving_while_the_provider_is_quiet(tmp_path: Path, ask: object) -> None:
    async with open_served(tmp_path) as served:
        async with AsyncExitStack() as stack:
            await ask(served, stack)  # type: ignore[operator]
            await settled(lambda: bool(served.setup.sim.truth.records()))
        await check_reset_unbilled(served)


async def test_a_reset_of_one_http2_stream_leaves_the_others(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, AsyncExitStack() as stack:
        client = await ask_http2(served, stack)
        await settled(lambda: bool(served.setup.sim.truth.records()))
        client.state.reset_stream(1)
        await post(client, served, 3, "tokens=20")
        await check_reset_unbilled(served)
        assert await client.wait_for(h2.events.StreamEnded, 3)
        assert any(isinstance(event, h2.events.DataReceived) for event in client.events)


@pytest.mark.parametrize("seed", range(3))
async def test_clients_that_read_now_and_then_miss_nothing(tmp_path: Path, seed: int) -> None:
    """Each reads in its own rhythm, far slower than its provider: every token comes, once."""
    rhythm = random.Random(seed)

    async def read(served: Served, words: list[int]) -> None:
        async with open_raw(served, f"tokens={3 * WORDS} tokens_per_event=3") as client:
            await client.read_head()
            words.append(await read_unevenly(client))

    async def read_unevenly(client: RawStream) -> int:
        seen = 0
        while seen < EVENTS:
            seen = await client.read_events(min(EVENTS, seen + rhythm.choice((1, 7, 60, 400))))
            await trio.sleep(rhythm.choice((0, 0, 0.005, 0.02)))
        return seen

    settings = ServerSettings(sink_high_water_bytes=4_096)
    seen: list[int] = []
    async with open_served(tmp_path, settings=settings) as served:
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(read, served, seen)
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        for truth in served.setup.sim.truth.records():
            receipt = await served.receipt(truth.request_id)
            assert receipt["outcome"] == "completed"
            assert receipt["usage"]["output_tokens"] == truth.tokens_generated
            assert receipt["delivered_output_tokens"] == truth.tokens_generated
    assert seen == [EVENTS] * 6
