"""Who is measured at which load, in which order, and what a budget leaves to whom."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench.peers import ROWS
from bench.suite.rounds import (
    Budget,
    Cost,
    Side,
    affordable,
    cost_of,
    measurable,
    round_s,
    shuffled,
    sides_of,
    start_s,
)
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
    rows, _ = measurable(scenario, list(SIX.values()))
    cost = cost_of(scenario, sides_of(scenario, rows), rows)
    assert 60 < cost.least_s <= cost.whole_s < 900


def test_the_default_scenarios_take_less_than_twenty_minutes_at_least() -> None:
    least_s = 0.0
    for scenario in map(find_scenario, DEFAULTS):
        rows, _ = measurable(scenario, list(SIX.values()))
        least_s += cost_of(scenario, sides_of(scenario, rows), rows).least_s
    assert least_s < 20 * 60


def test_a_process_for_every_sample_starts_with_every_sample() -> None:
    once = replace(find_scenario("open-streams"), fresh=False)
    rows, _ = measurable(once, list(SIX.values()))
    sides = sides_of(once, rows)
    whole_s = sum(start_s(row) for row in rows.values())
    often = cost_of(replace(once, fresh=True), sides, rows)
    assert often.whole_s - cost_of(once, sides, rows).whole_s == pytest.approx(3 * whole_s)


def test_what_a_scenario_leaves_is_for_those_after_it() -> None:
    now_s = 1000.0
    costs = {"first": Cost(10, 30), "second": Cost(30, 30), "third": Cost(20, 60)}
    budget = Budget(90, costs, lambda: now_s)
    budget.begin("first")  # 30 s are spare, of which it may have a third
    assert budget.has(20)
    assert not budget.has(21)
    now_s += 5
    budget.begin("second")  # which wants no more than it takes at least
    assert budget.has(30)
    assert not budget.has(31)
    now_s += 30
    budget.begin("third")
    assert budget.has(55)
    assert not budget.has(56)


def test_a_budget_that_does_not_suffice_is_dealt_out_too() -> None:
    budget = Budget(20, {"first": Cost(10, 30), "second": Cost(30, 30)}, lambda: 0.0)
    budget.begin("first")
    assert budget.has(5)
    assert not budget.has(6)
    budget.begin("second")
    assert budget.has(20)


def test_rounds_that_an_interval_takes_may_use_what_is_spare() -> None:
    now_s = 0.0
    budget = Budget(90, {"first": Cost(30, 30), "second": Cost(40, 60)}, lambda: now_s)
    budget.begin("first")
    now_s += 25  # some samples were repeated
    assert not budget.has(6)
    assert budget.has(25, at_least=True)
    assert not budget.has(26, at_least=True)  # the second takes 40 of the 90


def test_time_that_does_not_count_is_given_back() -> None:
    now_s = 0.0
    budget = Budget(90, {"first": Cost(10, 30), "second": Cost(30, 60)}, lambda: now_s)
    budget.begin("first")
    now_s += 1000
    budget.extend(1000)
    assert budget.has(20)
    budget.begin("second")
    assert budget.has(90)
    assert not budget.has(91)


def test_what_is_spare_goes_to_rounds_of_the_full_load() -> None:
    paced = find_scenario("paced")
    sides = list(sides_of(paced, {"weak": WEAK, **SIX}))
    whole_s = round_s(paced, sides)
    budget = Budget(2.5 * whole_s, {"paced": Cost(whole_s, 4 * whole_s)}, lambda: 0.0)
    budget.begin("paced")
    assert affordable(budget, paced, sides, 2) == sides
    full = affordable(budget, paced, sides, 3)
    assert {side.peer for side in full} == SIX.keys() - {"litellm"}
    assert not any(side.rate_max for side in full)
    lesser = [side for side in sides if side.rate_max]
    assert affordable(budget, paced, lesser, 99) == lesser, "nobody else is left"


def test_no_limit_is_none() -> None:
    budget = Budget(math.inf, {"first": Cost(10, 10), "second": Cost(10, 30)})
    for name in ("first", "second"):
        budget.begin(name)
        assert budget.has(1e9)
