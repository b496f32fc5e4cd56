"""A process that was stopped for a while: what has come meanwhile is read before anybody is judged.

`jump` of the clock is such a stop: time is over, and the event loop has not turned.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio
import trio.testing

from engine import Outcome
from engine.upstream.connection import ConnectionSettings, open_connection
from tests.engine.upstream.httpx_client import open_client
from tests.engine.upstream.peer import Collector, Request, open_peer, request_head
from tests.gateways import content
from tests.scripted import DONE, open_scripted, usage_only, word

STOPS = 12
"""Whether the reader or the judge comes first, chance decides each time."""
STOP_S = 10.0


def send_and_stop(request: Request, data: bytes, clock: trio.testing.MockClock) -> None:
    """The data are with the kernel when time jumps: no task comes between."""
    http2 = request.connection.http2
    http2.send_data(request.stream_id, data)
    stream = request.connection.stream
    assert isinstance(stream, trio.SocketStream)
    os.write(stream.socket.fileno(), http2.outgoing())
    clock.jump(STOP_S)


async def test_an_answer(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1.0
    send, got = trio.open_memory_channel[None](0)

    async def script(request: Request) -> None:
        request.answer(word("0 "))
        for number in range(1, STOPS):
            await got.receive()
            await trio.testing.wait_all_tasks_blocked()
            send_and_stop(request, word(f"{number} "), mock_clock)
        await got.receive()
        request.send(usage_only(3, STOPS) + DONE, ended=True)

    async with open_scripted(tmp_path, script, provider="idle_timeout_s = 5") as setup:
        async with setup.gateway.open_exchange(setup.call()) as exchange:
            body = b""
            async for chunk in exchange:
                body += chunk
                if not body.endswith(DONE):
                    await send.send(None)
        assert exchange.receipt.outcome is Outcome.COMPLETED
        assert content(body).split() == [str(number) for number in range(STOPS)]


async def test_a_connection_whose_ping_is_due(autojump_clock: trio.testing.MockClock) -> None:
    settings = ConnectionSettings()
    async with open_peer() as peer, open_connection(peer.provider().origin, settings) as connection:
        collector = Collector()
        connection.open_stream_nowait(request_head(peer.provider()), b"{}", collector)
        request = await peer.next_request()
        request.answer()
        peer.deaf = True
        judged_in_s = settings.ping_interval_s + settings.ping_timeout_s
        await trio.sleep(1 + judged_in_s - 0.5)
        for number in range(1, STOPS):
            send_and_stop(request, b"some", autojump_clock)
            await collector.wait_bytes(4 * number)
            await trio.sleep(judged_in_s - 0.5)
        assert collector.data == b"some" * (STOPS - 1)
        assert not collector.over
        await collector.wait_over()
        assert collector.error is not None, "now it is silent"


async def test_an_answer_to_httpx(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_peer() as peer,
        open_client(peer, timeout=5) as client,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.next_request()
            request.answer()
            for _ in range(STOPS):
                await trio.sleep(4)
                send_and_stop(request, b"some", autojump_clock)
            request.send(b"", ended=True)

        assert (await client.get("/")).content == b"some" * STOPS
