"""Many calls at once to a provider that speaks HTTP/1.1 only."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine import Outcome
from tests.gateways import DOLLAR, content, drain, open_setup, settled


@pytest.mark.parametrize("provider", ["", "connections_max = 7"])
async def test_hundreds_at_once(tmp_path: Path, provider: str) -> None:
    funds = 100 * DOLLAR
    async with open_setup(
        tmp_path, funds_nanodollars=funds, http2="off", provider=provider
    ) as setup:

        async def ask(n: int) -> None:
            tokens = n % 40 + 1
            async with setup.gateway.open_exchange(setup.call(f"tokens={tokens}")) as exchange:
                body = await drain(exchange)
            assert content(body) == setup.truth(exchange).text
            assert exchange.receipt.outcome is Outcome.COMPLETED
            assert exchange.receipt.usage["output_tokens"] == tokens

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for n in range(300):
                    nursery.start_soon(ask, n)
        [origin] = setup.gateway._parts.pool.statistics().origins
        assert (origin.open_streams, origin.waiting) == (0, 0)
        assert origin.connections <= (7 if provider else 256)
        assert {c.protocol for c in origin.connection_statistics} == {"http/1.1"}


async def test_some_leave_and_the_others_get_everything(tmp_path: Path) -> None:
    provider = "connections_max = 20"
    async with open_setup(tmp_path, http2="off", provider=provider) as setup:
        outcomes: list[Outcome] = []

        async def ask(n: int) -> None:
            # Those who leave do so long before their streams would end by themselves.
            tokens = 60_000 if n % 3 == 0 else 60
            call = setup.call(f"tokens={tokens} tokens_per_second=600")
            async with setup.gateway.open_exchange(call) as exchange:
                if n % 3 == 0:
                    async for _ in exchange:
                        break
                else:
                    body = await drain(exchange)
                    assert content(body) == setup.truth(exchange).text
            outcomes.append(exchange.receipt.outcome)

        async with trio.open_nursery() as nursery:
            for n in range(90):
                nursery.start_soon(ask, n)
        assert outcomes.count(Outcome.COMPLETED) == 60
        assert outcomes.count(Outcome.CLIENT_LEFT) == 30
        truths = setup.sim.truth.records()
        await settled(lambda: all(truth.ended is not None for truth in truths))
        assert sum(truth.ended == "reset" for truth in truths) == 30
