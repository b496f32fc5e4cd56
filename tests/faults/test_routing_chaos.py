"""Providers that fail in all ways at once, clients that leave: fallback, hedging and continuation
together, by a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import trio

from engine import Exchange
from engine.errors import GatewayError
from engine.ledger.receipts import Receipt
from tests.e2e.test_hedging import know_how_late_is_late
from tests.fleet import Fleet, model, open_fleet
from tests.gateways import PROTOCOLS, drain, settled

FUNDS: Final = 10**12
REQUESTS: Final = 20
"""At once; a few such bursts follow one another."""
FAULTS: Final = (
    "status=500",
    "status=429 retry_after=0",
    "fault=refused",
    "fault=goaway",
    "cut_after=0 fault=cut",
    "cut_after=5 fault=rst",
    "cut_after=8 fault=error_event",
    "cut_after=3 fault=eof",
    "cut_after=2 fault=stall",
    "first_token_ms=300",
    "head_ms=200",
)
MODELS: Final = model(
    "hedged",
    *(
        {"provider": f"sim{at}{of}", "capabilities": {"prefill": True}}
        for at, of in enumerate(("", "-anthropic", "-gemini"))
    ),
    hedge=True,
    continuation=True,
    fallbacks=["other"],
) + model("other", "sim2")
SERVER: Final = "commit_after_s = 0.05\nheartbeat_s = 0.05\nexchange_deadline_s = 20"
ROUTING: Final = """
hedge_share_max = 1
first_token_timeout_s = 0.5
breaker = { failures = 50, open_s = 0.2, open_max_s = 0.5 }
"""


async def ask(fleet: Fleet, chance: random.Random, seen: list[Exchange]) -> None:
    """One client, of any protocol, as a stream or in one piece; some leave."""
    client = chance.choice(PROTOCOLS)
    words = "tokens=12 tokens_per_second=500"
    call = fleet.call("hedged", words, client=client, stream=chance.random() < 0.8)
    stays_s = chance.random() * 0.6 if chance.random() < 0.4 else 60.0
    with trio.move_on_after(stays_s):
        try:
            async with fleet.setup.gateway.open_exchange(call) as exchange:
                seen.append(exchange)
                if chance.random() < 0.2:
                    _ = [event async for event in exchange.events()]
                else:
                    await drain(exchange)
        except GatewayError:
            return


def assert_fair(receipt: Receipt, what: str) -> None:
    attempts = receipt.attempts
    assert receipt.state == "settled", what
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1)), what
    assert receipt.cost_nanodollars == sum(a.cost_nanodollars for a in attempts), what
    assert receipt.price_nanodollars <= sum(a.price_nanodollars for a in attempts), what
    assert receipt.delivered_output_tokens <= receipt.received_output_tokens, what
    assert not any(a.won and a.outcome == "hedge_lost" for a in attempts), what


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))]
)
async def test_whatever_happens_is_accounted_for(
    tmp_path: Path, seed: int, say: Callable[[str], None]
) -> None:
    chance = random.Random(seed)
    on_cancel = chance.choice(("stop", "drain", "waive"))
    seen: list[Exchange] = []
    async with open_fleet(
        tmp_path,
        3,
        models=MODELS,
        server=SERVER,
        routing=f"seed = {seed}{ROUTING}",
        provider=f'on_cancel = "{on_cancel}"\nidle_timeout_s = 1\nfirst_byte_timeout_s = 2',
        funds_nanodollars=FUNDS,
    ) as fleet:
        know_how_late_is_late(fleet)
        for _ in range(3):
            for sim in fleet.sims:
                sim.behave(None, f"chance={chance.choice((0.2, 0.5, 0.9))} {chance.choice(FAULTS)}")
            async with trio.open_nursery() as nursery:
                for _ in range(REQUESTS):
                    nursery.start_soon(ask, fleet, chance, seen)
        gateway = fleet.setup.gateway
        await settled(lambda: gateway.statistics()["open_drains"] == 0, 60.0)
        for exchange in seen:
            assert_fair(exchange.receipt, f"seed {seed}: {exchange.receipt}")
        spent = sum(exchange.receipt.price_nanodollars for exchange in seen)
        assert await fleet.setup.balance() == FUNDS - spent, f"seed {seed}"
        catalogue = gateway.running.rules.catalogue
        known = [each for name in catalogue for each in catalogue[name].deployments]
        rows = gateway._parts.health.rows(known, trio.current_time())
        assert [row.busy for row in rows] == [0] * len(rows), f"seed {seed}"
        pool = gateway._parts.pool
        await settled(
            lambda: all(
                (origin.open_streams, origin.waiting) == (0, 0)
                for origin in pool.statistics().origins
            ),
            30.0,
        )
        outcomes = Counter(str(exchange.receipt.outcome) for exchange in seen)
        roles = Counter(a.role for exchange in seen for a in exchange.receipt.attempts)
        say(f"seed {seed}, {on_cancel}: {dict(outcomes)}, {dict(roles)}")
