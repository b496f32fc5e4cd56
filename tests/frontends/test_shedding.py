"""What an overloaded process refuses, when, and what it goes on serving."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.config import ServerConfig
from engine.load import Load
from frontends.shedding import LoadShedder
from tests.engine.test_load import Turns
from tests.engine.upstream.peer import Peer, open_peer
from tests.frontends.apps import open_front
from tests.frontends.server.apps import read_until
from tests.gateways import chat_body, open_setup
from tests.scripted import DONE, word

LAG_MAX_S = ServerConfig().lag_max_s


@pytest.mark.parametrize("reason", ["memory", "loop_lag", "exchanges"])
async def test_an_overload_is_refused_and_counted(tmp_path: Path, reason: str) -> None:
    server = {
        "memory": "memory_max_bytes = 1",
        "exchanges": "exchanges_max = 1",
        "loop_lag": f"lag_max_s = {LAG_MAX_S}",
    }[reason]
    turns = Turns(LAG_MAX_S)
    async with open_setup(tmp_path, server=server) as setup:
        load = Load()
        load.lag = turns.lag
        shedder = LoadShedder(setup.gateway, load=load, retry_after_s=lambda: 3)
        async with setup.gateway.open_exchange(setup.call("tokens=1")) as exchange:
            if reason == "loop_lag":
                for _ in range(20):
                    turns.turn(0.2)
            refusal = shedder.refusal()
            async for _ in exchange:
                pass

        assert refusal is not None
        assert (refusal.status, refusal.retry_after_s) == (503, 3)
        while turns.lag.seconds > LAG_MAX_S:
            turns.turn(0.0, then_idle_s=1.0)
        assert shedder.refusal() is None, "nothing is under way any more"
        metrics = setup.gateway.telemetry.exposition().decode()
        assert f'parshall_shed_total{{reason="{reason}"}} 1.0' in metrics


async def test_an_overload_ends_no_stream_and_no_probe(tmp_path: Path) -> None:
    """Refused before its body is read: the client that asks first sends none."""
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\n"
        b"expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    )
    over = trio.Event()

    async def answer_one(peer: Peer) -> None:
        request = await peer.next_request()
        request.answer(word("one"))
        await over.wait()
        await request.send_all(DONE, ended=True)

    async with (
        open_peer() as peer,
        trio.open_nursery() as nursery,
        open_front(
            tmp_path, base_url=f"http://127.0.0.1:{peer.port}", server="exchanges_max = 1"
        ) as front,
    ):
        nursery.start_soon(answer_one, peer)
        asked = front.client.stream("POST", "/v1/chat/completions", content=chat_body())
        async with asked as response:
            assert response.status_code == 200
            async with await trio.open_tcp_stream(*front.address) as stream:
                await stream.send_all(head % front.setup.key.encode())
                refused = await read_until(stream, b"\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 503")
            assert b"\r\nretry-after: " in refused
            for probe in ("/healthz", "/readyz", "/metrics"):
                assert (await front.client.get(probe)).status_code == 200
            over.set()
            answer = await response.aread()

        assert answer.endswith(b"data: [DONE]\n\n")
