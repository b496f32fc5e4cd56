"""What hedging is measured by: two models of the same deployments, and figures by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.fleet import Answer, quantile
from bench.hedging import DEPLOYMENTS, QUANTILES, Figures, Plan, config_text, run
from engine import parse_config
from engine.ledger.receipts import Attempt, Receipt

BEGUN = Receipt("r", "a", None, 0, "chat", "openai_chat", True, "m")


def answer(first_s: float | None, *roles: str, price: int = 100, cost: int = 100) -> Answer:
    attempts = tuple(Attempt(at + 1, "p", "m", role=role) for at, role in enumerate(roles))
    receipt = replace(BEGUN, attempts=attempts, price_nanodollars=price, cost_nanodollars=cost)
    return Answer(0.0, first_s, receipt)


def test_both_models_have_the_same_deployments_and_one_hedges() -> None:
    config = parse_config(config_text("http://127.0.0.1:9"), "test", {})
    plain, hedged = config.models["plain"], config.models["hedged"]
    assert (plain.hedge, hedged.hedge) == (False, True)
    assert plain.deployments == hedged.deployments
    assert tuple(row.provider for row in plain.deployments) == DEPLOYMENTS


def test_the_figures_by_hand() -> None:
    figures = Figures()
    for number in range(99):
        figures.note(answer((number + 1) / 1_000, "first"))
    figures.note(answer(2.0, "first", "hedge", price=100, cost=350))
    figures.note(answer(None))
    told = figures.to_json()
    assert [told[name] for name, _ in QUANTILES] == [51.0, 96.0, 2_000.0, 2_000.0]
    assert (told["requests"], told["refused"], told["hedged"]) == (101, 1, 0.01)
    assert told["house_cost"] == 0.025


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 3), (0.99, 4), (1, 4)])
def test_quantiles(share: float, value: float) -> None:
    assert quantile([4, 2, 1, 3], share) == value


@pytest.mark.long
def test_a_short_measurement() -> None:
    told = run(Plan(requests=100, per_second=40, share=0.2, stall_ms=1_000))
    assert all(figures["refused"] == 0 for figures in told.values())
    assert told["plain"]["hedged"] == 0
    assert told["plain"]["p99"] > 1_000
