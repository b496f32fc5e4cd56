"""An exchange over a bad line: it ends as it should, and is billed for what came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from engine import Exchange, Outcome
from engine.errors import GatewayError, UpstreamTimeoutError
from tests.gateways import DOLLAR, Setup, charge, content, drain, open_setup, run, settled

from .proxy import Proxy, open_proxy

DEADLINES = "connect_timeout_s = 1\nfirst_byte_timeout_s = 1\nidle_timeout_s = 1"
"""For a line that is dead; where something else is to happen first, there are none."""
PACED = "tokens=100000 tokens_per_second=400"
WITHIN_S = 30.0


@asynccontextmanager
async def open_behind(
    folder: Path, provider: str = "", **faults: Any
) -> AsyncIterator[tuple[Setup, Proxy]]:
    """A gateway whose provider is behind a proxy; the invariants are checked on leaving."""
    async with (
        open_proxy(**faults) as proxy,
        open_setup(folder, base_url=proxy.url, provider=provider) as setup,
    ):
        proxy.target_port = setup.sim.port
        with trio.fail_after(120):
            yield setup, proxy
            await settled(lambda: all(record.ended for record in setup.sim.truth.records()))


async def assert_serves(setup: Setup) -> None:
    """The next call is served, without help."""
    with trio.fail_after(WITHIN_S):
        body, receipt, error = await run(setup, setup.call("tokens=5"))
    assert error is None
    assert body.endswith(b"data: [DONE]\n\n")
    assert receipt.outcome is Outcome.COMPLETED


async def read_some(exchange: Exchange, count: int) -> None:
    """Wait until some of the answer has come."""
    with trio.fail_after(WITHIN_S):
        body = b""
        while body.count(b"\n\n") < count:
            body += await anext(exchange)


@pytest.mark.parametrize(
    "faults",
    [{"piece_bytes": 1}, {"piece_bytes": 13}, {"latency_s": 0.2}],
    ids=["1-byte reads", "13-byte reads", "200 ms"],
)
async def test_a_slow_line_changes_nothing(tmp_path: Path, faults: dict[str, float]) -> None:
    async with open_behind(tmp_path, "", **faults) as (setup, _):
        async with setup.gateway.open_exchange(setup.call("tokens=60")) as exchange:
            body = await drain(exchange)
        truth, receipt = setup.truth(exchange), exchange.receipt
        assert content(body) == truth.text
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.price_nanodollars == charge(truth.input_tokens, 60)
        body, receipt, _ = await run(setup, setup.call("tokens=20", stream=False))
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.usage["output_tokens"] == 20


async def test_a_departure_over_a_slow_line_stops_the_provider(tmp_path: Path) -> None:
    async with open_behind(tmp_path, latency_s=0.2) as (setup, _):
        async with setup.gateway.open_exchange(setup.call(PACED)) as exchange:
            await read_some(exchange, 5)
        receipt = exchange.receipt
        assert receipt.outcome is Outcome.CLIENT_LEFT
        truth = setup.truth(exchange)
        await settled(lambda: truth.ended is not None)
        assert truth.ended == "reset"
        assert 0 < receipt.usage["output_tokens"] <= truth.tokens_generated


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ["blackhole", "refuse"])
async def test_a_line_that_is_dead_from_the_start(tmp_path: Path, fault: str, stream: bool) -> None:
    async with open_behind(tmp_path, DEADLINES if fault == "blackhole" else "") as (setup, proxy):
        setattr(proxy.faults, fault, True)
        with trio.fail_after(WITHIN_S):
            _, receipt, error = await run(setup, setup.call("tokens=5", stream=stream))
        assert isinstance(error, GatewayError)
        assert error.status == (504 if fault == "blackhole" else 502)
        assert isinstance(error, UpstreamTimeoutError) == (fault == "blackhole")
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert await setup.balance() == DOLLAR
        assert setup.sim.truth.records() == []
        setattr(proxy.faults, fault, False)
        await assert_serves(setup)


async def test_a_line_that_dies_before_the_answer(tmp_path: Path) -> None:
    """The connection is warm, the request falls into a hole: the first-byte deadline."""
    async with open_behind(tmp_path, DEADLINES) as (setup, proxy):
        await assert_serves(setup)
        balance = await setup.balance()
        proxy.faults.blackhole = True
        with trio.fail_after(WITHIN_S):
            _, receipt, error = await run(setup, setup.call("tokens=5"))
        assert isinstance(error, UpstreamTimeoutError)
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert await setup.balance() == balance
        await revive(setup, proxy)
        await assert_serves(setup)


async def revive(setup: Setup, proxy: Proxy) -> None:
    """End the dead connection, as its pings would in time, and let bytes pass again."""
    proxy.latest.reset()
    proxy.faults.blackhole = False
    pool = setup.gateway._parts.pool
    await settled(lambda: pool.statistics().origins[0].connections == 0)


async def fall_silent(proxy: Proxy) -> None:
    proxy.faults.blackhole = True


async def reset(proxy: Proxy) -> None:
    proxy.latest.reset()


async def half_close_to_us(proxy: Proxy) -> None:
    proxy.latest.close_half("client")


async def half_close_to_the_provider(proxy: Proxy) -> None:
    proxy.latest.close_half("server")


MISHAPS = [fall_silent, reset, half_close_to_us, half_close_to_the_provider]


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.__name__)
async def test_a_line_that_fails_in_mid_stream(tmp_path: Path, mishap: object) -> None:
    assert callable(mishap)
    async with open_behind(tmp_path, DEADLINES if mishap is fall_silent else "") as (setup, proxy):
        async with setup.gateway.open_exchange(setup.call(PACED)) as exchange:
            await read_some(exchange, 10)
            await mishap(proxy)
            with trio.fail_after(WITHIN_S):
                rest = await drain(exchange)
        receipt = exchange.receipt
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert b"[DONE]" not in rest, "a broken answer does not look whole"
        assert b'"error"' in rest
        billed = receipt.usage["output_tokens"]
        assert 0 < billed == receipt.received_output_tokens
        if mishap is fall_silent:
            await revive(setup, proxy)
        truth = setup.truth(exchange)
        await settled(lambda: truth.ended is not None)
        assert billed <= truth.tokens_generated
        assert receipt.price_nanodollars == charge(truth.input_tokens, billed)
        await assert_serves(setup)


@pytest.mark.parametrize("mishap", [reset, half_close_to_us], ids=["reset", "half-close"])
async def test_a_line_that_fails_in_a_unary_answer(tmp_path: Path, mishap: object) -> None:
    assert callable(mishap)
    async with open_behind(tmp_path) as (setup, proxy), trio.open_nursery() as nursery:

        async def fail_soon() -> None:
            await settled(lambda: bool(setup.sim.truth.records()))
            await mishap(proxy)

        nursery.start_soon(fail_soon)
        with trio.fail_after(WITHIN_S):
            call = setup.call("tokens=1000 tokens_per_second=10", stream=False)
            _, receipt, error = await run(setup, call)
        assert isinstance(error, GatewayError)
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert await setup.balance() == DOLLAR
        await assert_serves(setup)
