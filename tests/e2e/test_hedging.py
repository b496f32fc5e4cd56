"""A stream that is late gets a second attempt beside the first; who generates first, goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from engine import Exchange, Outcome
from engine.errors import GatewayError
from engine.ledger.receipts import Receipt
from tests.fleet import Fleet, model, open_fleet
from tests.gateways import AGAIN, charge, content, drain, run, settled

ROUTING = f"{AGAIN}\nhedge_share_max = 1"
LATE = "first_token_ms=60000"


def hedged(count: int = 2, **settings: Any) -> str:
    """A model whose deployments are asked in their order."""
    rows = [{"provider": f"sim{at}", "priority": at} for at in range(count)]
    return model("hedged", *rows, **{"hedge": True} | settings)


def know_how_late_is_late(fleet: Fleet, name: str = "hedged") -> None:
    """As after a few requests whose first tokens came at once."""
    gateway = fleet.setup.gateway
    health = gateway._parts.health.model(gateway.running.rules.catalogue[name])
    for _ in range(20):
        health.first_tokens.note(0.001)


@asynccontextmanager
async def open_hedged(
    folder: Path,
    count: int = 2,
    *,
    routing: str = ROUTING,
    models: str | None = None,
    server: str = "",
) -> AsyncIterator[Fleet]:
    models = models or hedged(count)
    async with open_fleet(folder, count, models=models, routing=routing, server=server) as fleet:
        know_how_late_is_late(fleet)
        yield fleet
        await settled(lambda: all(r.ended for sim in fleet.records() for r in sim), 30.0)


def told(receipt: Receipt) -> list[tuple[str, str, str, bool]]:
    """Of each attempt: whose, what for, how it ended, whether it is the answer."""
    return [(a.provider, a.role, a.outcome, a.won) for a in receipt.attempts]


def assert_one_is_paid(fleet: Fleet, receipt: Receipt, winner: int, tokens: int) -> None:
    record = fleet.sims[winner].truth.record(receipt.request_id)
    assert record is not None
    assert receipt.price_nanodollars == charge(record.input_tokens, tokens)
    assert receipt.cost_nanodollars == sum(a.cost_nanodollars for a in receipt.attempts)
    assert [a.price_nanodollars > 0 for a in receipt.attempts] == [a.won for a in receipt.attempts]


async def test_the_second_begins_first(tmp_path: Path) -> None:
    """The late one is reset; what it has read is the house's cost."""
    async with open_hedged(tmp_path) as fleet:
        fleet.sims[0].behave(None, LATE)
        call = fleet.call("hedged", "tokens=5")
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            headers = dict((await exchange.head()).headers)
            body = await drain(exchange)
        receipt = exchange.receipt
        served = fleet.sims[1].truth.record(receipt.request_id)
        assert served is not None
        assert content(body) == served.text
        assert told(receipt) == [
            ("sim0", "first", "hedge_lost", False),
            ("sim1", "hedge", "completed", True),
        ]
        assert headers[b"x-parshall-provider"] == b"sim1"
        assert b"x-fallback-from" not in headers
        assert receipt.route is not None
        assert receipt.route.hedged
        assert_one_is_paid(fleet, receipt, 1, 5)
        assert receipt.attempts[0].cost_nanodollars > 0
        late = fleet.records()[0][0]
        await settled(lambda: late.ended == "reset", 30.0)


async def test_the_first_begins_first(tmp_path: Path) -> None:
    async with open_hedged(tmp_path) as fleet:
        fleet.sims[0].behave(None, "first_token_ms=2000")
        fleet.sims[1].behave(None, LATE)
        body, receipt, error = await run(fleet.setup, fleet.call("hedged", "tokens=5"))
        served = fleet.sims[0].truth.record(receipt.request_id)
        assert error is None
        assert served is not None
        assert content(body) == served.text
        assert told(receipt) == [
            ("sim0", "first", "completed", True),
            ("sim1", "hedge", "hedge_lost", False),
        ]
        assert_one_is_paid(fleet, receipt, 0, 5)


@pytest.mark.parametrize("failing", [0, 1])
async def test_one_of_two_fails(tmp_path: Path, failing: int) -> None:
    """The other goes on alone."""
    async with open_hedged(tmp_path) as fleet:
        fleet.sims[failing].behave(None, "status=500 head_ms=1500")
        fleet.sims[1 - failing].behave(None, "first_token_ms=3000")
        body, receipt, error = await run(fleet.setup, fleet.call("hedged", "tokens=5"))
        served = fleet.sims[1 - failing].truth.record(receipt.request_id)
        assert error is None
        assert served is not None
        assert content(body) == served.text
        assert [a.won for a in receipt.attempts] == [failing == 1, failing == 0]
        assert receipt.attempts[failing].outcome not in ("completed", "hedge_lost")
        assert_one_is_paid(fleet, receipt, 1 - failing, 5)


async def test_both_fail(tmp_path: Path) -> None:
    """A third one is asked."""
    async with open_hedged(tmp_path, 3) as fleet:
        for sim in fleet.sims[:2]:
            sim.behave(None, "status=501 head_ms=1500")
        body, receipt, error = await run(fleet.setup, fleet.call("hedged", "tokens=5"))
        served = fleet.sims[2].truth.record(receipt.request_id)
        assert error is None
        assert served is not None
        assert content(body) == served.text
        assert [(a.provider, a.role) for a in receipt.attempts] == [
            ("sim0", "first"),
            ("sim1", "hedge"),
            ("sim2", "fallback"),
        ]
        assert_one_is_paid(fleet, receipt, 2, 5)


async def wait_both(fleet: Fleet, exchange: Exchange) -> None:
    """Until both are under way, and neither has generated anything."""
    request_id = exchange.receipt.request_id
    await settled(lambda: all(sim.truth.record(request_id) is not None for sim in fleet.sims), 30.0)


async def test_the_client_leaves_before_either_begins(tmp_path: Path) -> None:
    async with open_hedged(tmp_path) as fleet:
        for sim in fleet.sims:
            sim.behave(None, LATE)
        call = fleet.call("hedged")
        with trio.CancelScope() as connection:
            async with (
                fleet.setup.gateway.open_exchange(call) as exchange,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(exchange.head)
                await wait_both(fleet, exchange)
                connection.cancel()
        receipt = exchange.receipt
        assert receipt.outcome is Outcome.CLIENT_LEFT
        assert [a.role for a in receipt.attempts] == ["first", "hedge"]
        assert receipt.attempts[1].outcome == "hedge_lost"
        assert receipt.price_nanodollars <= charge(fleet.records()[0][0].input_tokens, 0)


async def test_the_gateway_stops_before_either_begins(tmp_path: Path) -> None:
    async with open_hedged(tmp_path) as fleet:
        for sim in fleet.sims:
            sim.behave(None, LATE)
        call = fleet.call("hedged")
        refusals: list[GatewayError] = []
        async with fleet.setup.gateway.open_exchange(call) as exchange:

            async def wait_head() -> None:
                try:
                    await exchange.head()
                except GatewayError as error:
                    refusals.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_head)
                await wait_both(fleet, exchange)
                exchange.shut_down()
        assert [error.code for error in refusals] == ["shutdown"]
        assert exchange.receipt.outcome is Outcome.SHUTDOWN
        assert len(exchange.receipt.attempts) == 2


async def test_a_head_that_went_out_before_either_began(tmp_path: Path) -> None:
    """Comments go on while two are waited for; nothing of the one that loses is among them."""
    server = "commit_after_s = 0.02\nheartbeat_s = 0.02"
    async with open_hedged(tmp_path, server=server) as fleet:
        fleet.sims[0].behave(None, LATE)
        fleet.sims[1].behave(None, "first_token_ms=300")
        body, receipt, error = await run(fleet.setup, fleet.call("hedged", "tokens=5"))
        served = fleet.sims[1].truth.record(receipt.request_id)
        assert error is None
        assert served is not None
        assert content(body) == served.text
        assert body.startswith(b": keep-alive\n\n")
        assert body.count(b'"role":"assistant"') == 1
        assert receipt.delivered_output_tokens == receipt.received_output_tokens == 5


@pytest.mark.parametrize(
    ("settings", "stream", "share"), [({"hedge": False}, True, 1), ({}, False, 1), ({}, True, 0)]
)
async def test_where_there_is_no_second(
    tmp_path: Path, settings: dict[str, Any], stream: bool, share: int
) -> None:
    """Not unless it is wanted, not of answers in one piece, and not above its share: of that there
    is one to begin with."""
    routing = f"{AGAIN}\nhedge_share_max = {share}"
    async with open_hedged(tmp_path, routing=routing, models=hedged(**settings)) as fleet:
        fleet.sims[0].behave(None, "first_token_ms=1500")
        asked = 0
        for _ in range(2):
            call = fleet.call("hedged", "tokens=2", stream=stream)
            _, receipt, error = await run(fleet.setup, call)
            assert error is None
            asked += len(receipt.attempts)
        assert asked == (3 if share == 0 else 2)
