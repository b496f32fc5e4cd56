"""An answer that another provider writes on, cancelled at every step of the exchange."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Outcome
from engine.ledger.receipts import Receipt
from tests.fleet import Fleet, model, open_fleet
from tests.gateways import charge

from .cancel_everywhere import CancelPoint, Whose
from .legs import Trial

SEED = 20_261_122
TOKENS = 8
FUNDS = 10**15
MODELS = model(
    "story",
    "sim0",
    {"provider": "sim1-anthropic", "priority": 1, "capabilities": {"prefill": True}},
    continuation=True,
)
# So many failures in a row are no outage here.
ROUTING = "breaker = { failures = 0 }"


def assert_fair(fleet: Fleet, receipt: Receipt, point: CancelPoint) -> None:
    """What each has generated is charged once, and no more; each has a row, and costs what it
    costs."""
    assert receipt.state == "settled", point
    attempts = receipt.attempts
    if receipt.outcome is Outcome.UPSTREAM_FAILED:  # and nobody had begun to write on
        assert len(attempts) == 1, point
    else:
        assert receipt.outcome in (Outcome.COMPLETED, Outcome.CLIENT_LEFT), point
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1)), point
    assert [attempt.role for attempt in attempts] == ["first", "continuation"][: len(attempts)]
    assert receipt.price_nanodollars == sum(each.price_nanodollars for each in attempts), point
    assert receipt.cost_nanodollars == sum(each.cost_nanodollars for each in attempts), point
    assert receipt.delivered_output_tokens <= receipt.received_output_tokens, point
    for attempt, sim in zip(attempts, fleet.sims, strict=False):
        if attempt.price_nanodollars:
            record, usage = sim.truth.record(receipt.request_id), attempt.usage
            assert record is not None, point
            assert usage["output_tokens"] <= record.tokens_generated, point
            price = charge(usage["input_tokens"], usage["output_tokens"])
            assert attempt.price_nanodollars == price, point


async def test_every_step(
    tmp_path: Path, say: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    """Its own steps; between those of any task with `--long`."""
    whose: Whose = "any" if pytestconfig.getoption("--long") else "own"
    async with open_fleet(
        tmp_path, 2, models=MODELS, routing=ROUTING, funds_nanodollars=FUNDS
    ) as fleet:
        fleet.sims[0].behave(None, "fault=error_event cut_after=4")
        trial = Trial(fleet, "story", f"tokens={TOKENS} tokens_per_second=2000", assert_fair)
        await trial.ask()
        assert [attempt.won for attempt in trial.take_receipt().attempts] == [True, True]
        points = await trial.cancel_everywhere(FUNDS, SEED, whose)
        say(f"{points} cancel points, seed {SEED}")
        assert points > 7
