"""Who is measured at which load, in which order, and what a budget leaves to whom."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench.peers import ROWS
from bench.suite.rounds import Budget, Side, expected_s, measurable, shuffled, sides_of
from bench.suite.scenarios import DEFAULTS, find_scenario

SIX = {name: ROWS[name] for name in ("direct", "nginx", "parshall", "smg", "portkey", "litellm")}
WEAK = replace(ROWS["litellm"], tokens_per_s_max=100.0)


def test_a_weak_peer_is_compared_at_its_own_load() -> None:
    sides = sides_of(find_scenario("paced"), {"weak": WEAK, **SIX})
    assert Side("weak", 100.0) in sides
    assert {Side("parshall", 0), Side("parshall", 100.0), Side("direct", 100.0)} <= set(sides)
    assert Side("nginx", 100.0) not in sides
    assert len(sides) == len(set(sides))


def test_without_an_added_figure_direct_is_not_asked_again() -> None:
    sides = sides_of(find_scenario("cancel-storm"), {"weak": WEAK, **SIX})
    assert Side("parshall", 100.0) in sides
    assert Side("direct", 100.0) not in sides


def test_who_cannot_be_measured_is_told_why() -> None:
    chosen, reasons = measurable(find_scenario("cross-protocol"), list(SIX.values()))
    assert set(chosen) == {"parshall", "litellm"}
    assert reasons["nginx"] == "it does not translate anthropic to openai_chat"
    assert reasons["smg"] == "it has no clients of anthropic"
    _, reasons = measurable(find_scenario("open-streams"), list(SIX.values()))
    assert set(reasons) == {"direct"}
    _, reasons = measurable(find_scenario("paced"), [ROWS["nginx-http2"]])
    assert reasons["nginx-http2"] == "it does not speak http1 with clients"


def test_the_order_changes_from_round_to_round_and_comes_again_with_the_seed() -> None:
    scenario = find_scenario("paced")
    sides = sides_of(scenario, SIX)
    orders = [shuffled(sides, 1, scenario, repeat) for repeat in range(8)]
    assert orders == [shuffled(sides, 1, scenario, repeat) for repeat in range(8)]
    assert len({tuple(order) for order in orders}) > 1
    assert all(set(order) == set(sides) for order in orders)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_scenario_says_how_long_it_takes(name: str) -> None:
    scenario = find_scenario(name)
    seconds = expected_s(scenario, sides_of(scenario, SIX))
    assert 60 < seconds < 900


def test_what_a_scenario_leaves_is_for_those_after_it() -> None:
    now_s = 1000.0
    budget = Budget(100, {"first": 30, "second": 10}, lambda: now_s)
    budget.begin("first")
    assert budget.has(75)
    assert not budget.has(76)
    now_s += 20
    budget.begin("second")
    assert budget.has(80)
    assert not budget.has(81)


def test_no_limit_is_none() -> None:
    budget = Budget(math.inf, {"first": 30, "second": 10})
    budget.begin("first")
    assert budget.has(1e9)
