"""A request that is asked in parts, cancelled at every step of the exchange."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from engine import Call, Outcome
from engine.ledger.receipts import Receipt
from tests.fleet import Fleet, model, open_fleet
from tests.gateways import charge

from .cancel_everywhere import CancelPoint, Whose
from .legs import Trial

SEED = 20_261_122
FUNDS = 10**15
MODELS = model(
    "vectors",
    {"provider": "sim0", "capabilities": {"inputs_max": 2}},
    {"provider": "sim1", "priority": 1},
)
ROUTING = "breaker = { failures = 0 }"


def assert_fair(fleet: Fleet, receipt: Receipt, point: CancelPoint) -> None:
    """All parts are charged, or none; each has a row, and costs what it costs."""
    assert receipt.state == "settled", point
    assert receipt.outcome in (Outcome.COMPLETED, Outcome.CLIENT_LEFT), point
    attempts = receipt.attempts
    assert [each.role for each in attempts] == ["first", "part", "part"][: len(attempts)], point
    paid = receipt.outcome is Outcome.COMPLETED
    assert [each.won for each in attempts] == [paid] * len(attempts), point
    assert receipt.price_nanodollars == sum(each.price_nanodollars for each in attempts), point
    assert receipt.cost_nanodollars == sum(each.cost_nanodollars for each in attempts), point
    wanted = charge(receipt.usage["input_tokens"], 0) if paid else 0
    assert receipt.price_nanodollars == wanted, point
    assert not paid or len(attempts) == 3, point


async def test_every_step(
    tmp_path: Path, say: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    """Its own steps; between those of any task with `--long`."""
    whose: Whose = "any" if pytestconfig.getoption("--long") else "own"
    body = orjson.dumps({"model": "vectors", "input": ["a", "b", "c", "d", "e"], "dimensions": 4})
    async with open_fleet(
        tmp_path, 2, models=MODELS, routing=ROUTING, funds_nanodollars=FUNDS
    ) as fleet:
        key = fleet.setup.key
        trial = Trial(fleet, "vectors", "", assert_fair, lambda: Call(body, key, "openai", "embed"))
        await trial.ask()
        assert [attempt.won for attempt in trial.take_receipt().attempts] == [True] * 3
        points = await trial.cancel_everywhere(FUNDS, SEED, whose)
        say(f"{points} cancel points, seed {SEED}")
        assert points >= 3  # of each part one at least; what comes at once is not waited for
