"""What an overloaded process refuses, when, and what it goes on serving."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.config import ServerConfig
from engine.load import Load, LoopLag
from frontends.shedding import LAG_FOR_S, LoadShedder
from tests.frontends.apps import open_front
from tests.frontends.server.apps import read_until
from tests.gateways import chat_body, open_setup

LAG_MAX_S = ServerConfig().lag_max_s


class Turns:
    """A loop whose turns take as long as they are told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lag = LoopLag(lambda: self.now)
        self.lag.watch(LAG_MAX_S)

    def turn(self, lasted_s: float, then_idle_s: float = 0.0, late_s: float = 0.0) -> None:
        self.now += lasted_s
        self.lag.before_io_wait(then_idle_s)
        self.now += then_idle_s + late_s
        self.lag.after_io_wait(then_idle_s)


def test_a_calm_loop_has_no_lag() -> None:
    turns = Turns()
    for _ in range(1_000):
        turns.turn(0.0005, then_idle_s=0.01)

    assert turns.lag.seconds == 0


def test_one_long_turn_is_no_overload() -> None:
    turns = Turns()
    turns.turn(0.4)
    assert turns.lag.seconds > LAG_MAX_S
    turns.turn(0.001, then_idle_s=LAG_FOR_S)

    assert turns.lag.seconds < LAG_MAX_S
    assert turns.lag.above_s(LAG_MAX_S) == 0


def test_turns_that_stay_long_are_one() -> None:
    turns = Turns()
    while turns.now < 2:
        turns.turn(0.2)

    assert turns.lag.seconds == pytest.approx(0.2, abs=0.01)
    assert turns.lag.above_s(LAG_MAX_S) >= LAG_FOR_S


def test_a_loop_that_is_woken_too_late_lags() -> None:
    turns = Turns()
    while turns.now < 2:
        turns.turn(0.001, then_idle_s=0.01, late_s=0.3)

    assert turns.lag.above_s(LAG_MAX_S) >= LAG_FOR_S


async def test_a_loop_is_measured_where_it_runs() -> None:
    now = 0.0
    load = Load(lambda: now)
    load.lag.watch(LAG_MAX_S)
    with load.measured():
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            now += 0.2  # this step of ours takes long
        await trio.lowlevel.checkpoint()
    assert load.lag.seconds > LAG_MAX_S
    before = load.lag.seconds
    now += 100
    await trio.lowlevel.checkpoint()
    assert load.lag.seconds == before, "measured no more"


def test_memory_is_read_once_a_second() -> None:
    now = 0.0
    load = Load(lambda: now)
    first = load.memory_bytes()
    ballast = b"x" * 50_000_000
    assert load.memory_bytes() == first
    now = 1.0
    assert load.memory_bytes() >= first + len(ballast) // 2


@pytest.mark.parametrize("reason", ["memory", "loop_lag", "exchanges"])
async def test_an_overload_is_refused_and_counted(tmp_path: Path, reason: str) -> None:
    server = {
        "memory": "memory_max_bytes = 1",
        "exchanges": "exchanges_max = 1",
        "loop_lag": f"lag_max_s = {LAG_MAX_S}",
    }[reason]
    turns = Turns()
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
        metrics = setup.gateway.telemetry.exposition().decode()
        assert f'parshall_shed_total{{reason="{reason}"}} 1.0' in metrics


async def test_an_overload_ends_no_stream_and_no_probe(tmp_path: Path) -> None:
    """Refused before its body is read: the client that asks first sends none."""
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\n"
        b"expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    )
    body = chat_body("tokens=40 tokens_per_second=100")
    async with open_front(tmp_path, server="exchanges_max = 1") as front:
        async with front.client.stream("POST", "/v1/chat/completions", content=body) as response:
            assert response.status_code == 200
            async with await trio.open_tcp_stream(*front.address) as stream:
                await stream.send_all(head % front.setup.key.encode())
                refused = await read_until(stream, b"\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 503")
            assert b"\r\nretry-after: " in refused
            for probe in ("/healthz", "/readyz", "/metrics"):
                assert (await front.client.get(probe)).status_code == 200
            answer = await response.aread()

        assert answer.endswith(b"data: [DONE]\n\n")
