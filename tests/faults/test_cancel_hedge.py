"""Two attempts at once, and the wait between two, cancelled at every step of the exchange."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Outcome
from engine.ledger.receipts import Receipt
from tests.e2e.test_hedging import hedged, know_how_late_is_late
from tests.fleet import Fleet, open_fleet
from tests.gateways import AGAIN, charge

from .cancel_everywhere import CancelPoint, Whose
from .legs import Trial

SEED = 20_261_122
TOKENS = 8
FUNDS = 10**15
_TRIES = 20
ROUTING = f"{AGAIN}\nhedge_share_max = 1\nretry_share_max = 1"
CASES = {
    "the second wins": ("head_ms=5 first_token_ms=250", "head_ms=5"),
    "the first wins": ("head_ms=5 first_token_ms=80", "head_ms=5 first_token_ms=250"),
    "the first fails": ("head_ms=80 status=501", "first_token_ms=60"),
    "one after another": ("status=501", ""),
}
"""What the two providers do."""


def assert_fair(fleet: Fleet, receipt: Receipt, point: CancelPoint) -> None:
    """One at most is paid, and no more than it has generated; each has a row, and costs what it
    costs."""
    assert receipt.state == "settled", point
    if receipt.outcome is Outcome.UPSTREAM_FAILED:  # it had when the client left
        assert receipt.price_nanodollars == 0, point
    else:
        assert receipt.outcome in (Outcome.COMPLETED, Outcome.CLIENT_LEFT), point
    attempts = receipt.attempts
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1)), point
    assert sum(attempt.won for attempt in attempts) <= 1, point
    assert receipt.cost_nanodollars == sum(a.cost_nanodollars for a in attempts), point
    assert sum(sim.truth.record(receipt.request_id) is not None for sim in fleet.sims) <= len(
        attempts
    ), point
    if not receipt.price_nanodollars:
        return
    record = fleet.sims[int((receipt.provider or "")[-1])].truth.record(receipt.request_id)
    assert record is not None, point
    billed = receipt.usage["output_tokens"]
    assert billed <= record.tokens_generated, point
    assert receipt.delivered_output_tokens <= receipt.received_output_tokens, point
    assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], billed), point


@pytest.mark.parametrize("case", CASES)
async def test_a_pair(
    case: str, tmp_path: Path, say: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    """At its own steps; between those of any task with `--long`."""
    whose: Whose = "any" if pytestconfig.getoption("--long") else "own"
    async with open_fleet(
        tmp_path, 2, models=hedged(), routing=ROUTING, funds_nanodollars=FUNDS
    ) as fleet:
        know_how_late_is_late(fleet)
        for sim, words in zip(fleet.sims, CASES[case], strict=True):
            sim.behave(None, words)
        trial = Trial(fleet, "hedged", f"tokens={TOKENS} tokens_per_second=2000", assert_fair)
        attempts = 0
        for _ in range(_TRIES):  # of a machine that is busy, one may be late with the second
            await trial.ask()
            attempts = max(attempts, len(trial.take_receipt().attempts))
            if attempts == 2:
                break
        assert attempts == 2
        points = await trial.cancel_everywhere(FUNDS, SEED, whose)
        say(f"{case}: {points} cancel points, seed {SEED}")
        assert points > 5
