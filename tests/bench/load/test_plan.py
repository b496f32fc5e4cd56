"""Plans: the same for the same seeds, of the shares and rates that a scenario states."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from statistics import fmean, median

import pytest

from bench.load.plan import TOGETHER_S, plan_requests
from bench.load.protocols import message_of
from bench.simulate.directives import Directives, find_directives, parse_directives
from bench.suite.scenario import Arrivals
from bench.suite.scenarios import find_scenario, scenario_names
from tests.bench.load.plans import target

PACED = find_scenario("paced")
MIXED = find_scenario("mixed")
STORM = find_scenario("cancel-storm")


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_is_planned_and_understood_by_the_provider(name: str) -> None:
    scenario = find_scenario(name)
    for step in range(max(1, len(scenario.steps))):
        plan = plan_requests(scenario, step=step)
        assert plan.requests
        assert [each.at_s for each in plan.requests] == sorted(e.at_s for e in plan.requests)
        assert sorted(each.number for each in plan.requests) == [*range(len(plan.requests))]
        begin_s, end_s = plan.windows[0].begin_s, plan.windows[-1].end_s
        assert begin_s < end_s
        assert all(each.at_s < end_s for each in plan.requests)
        for planned in plan.requests[:3]:
            message = message_of(replace(planned, prompt_bytes=10), target(1))
            text = message.body.decode().partition("#sim")[2].partition("\\n")[0]
            said = parse_directives(find_directives(f"#sim{text}") or "", Directives())
            assert said.tokens == planned.tokens
            assert said.tag == message.tag == f"t-{planned.number}"


def test_the_same_seeds_make_the_same_plan_and_others_do_not() -> None:
    plans = [plan_requests(MIXED, seed=7, repeat=repeat) for repeat in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert plans[0] != plan_requests(MIXED, seed=8, repeat=0)


def test_a_plan_is_thinned_to_what_a_peer_takes() -> None:
    whole = plan_requests(PACED)
    assert (whole.streams, whole.offered, whole.rate_max) == (200, 4000, 0)
    thin = plan_requests(PACED, tokens_per_s_max=450)
    assert (thin.streams, thin.offered, thin.rate_max) == (22, 440, 450)
    assert thin == plan_requests(PACED, tokens_per_s_max=450)
    assert plan_requests(PACED, tokens_per_s_max=4000) == whole

    mixed = plan_requests(MIXED, tokens_per_s_max=450)
    assert mixed.offered == pytest.approx(450)
    assert len(mixed.requests) < len(plan_requests(MIXED).requests) / 2


def test_shares_are_exact() -> None:
    plan = plan_requests(replace(MIXED, arrivals=Arrivals("uniform", 100.0, 1_000), warm_s=8.0))
    assert len(plan.requests) == 1_000
    kinds = Counter((each.stream, each.leave_after_tokens is not None) for each in plan.requests)
    assert kinds == {(True, False): 600, (True, True): 100, (False, False): 300}
    assert all(1 <= (each.leave_after_tokens or 1) <= each.tokens for each in plan.requests)


def test_lengths_are_log_normal_up_to_the_greatest() -> None:
    plan = plan_requests(replace(MIXED, arrivals=Arrivals("uniform", 200.0, 1_000), warm_s=4.0))
    lengths = [each.tokens for each in plan.requests]
    assert median(lengths) == pytest.approx(80, abs=2)
    assert max(lengths) == 600
    assert math.log(lengths[0]) > 0
    deciles = sorted(lengths)[99], sorted(lengths)[900]
    assert deciles[0] == pytest.approx(80 * math.exp(-1.2816), abs=2)
    assert deciles[1] == pytest.approx(80 * math.exp(1.2816), rel=0.03)


def test_leavings_fall_into_the_time_that_is_named() -> None:
    plan = plan_requests(STORM)
    leaving = [each.leave_at_s for each in plan.requests if each.leave_at_s is not None]
    assert len(leaving) == 40
    begin_s = plan.windows[0].begin_s
    assert begin_s <= min(leaving) < max(leaving) <= begin_s + 1
    assert fmean(leaving) - begin_s == pytest.approx(0.5, abs=0.05)


def test_phases_are_spread_evenly_though_in_any_order() -> None:
    firsts = [each.first_token_ms for each in plan_requests(PACED).requests if each.lasts]
    assert [math.floor(first / 5) for first in sorted(firsts)] == [*range(200)]
    assert firsts != sorted(firsts)


def test_steps_add_up() -> None:
    scenario = find_scenario("sustained")
    plans = [plan_requests(scenario, step=step) for step in range(len(scenario.steps))]
    assert tuple(plan.streams for plan in plans) == scenario.steps
    assert sum(len(plan.requests) for plan in plans) == scenario.steps[-1]
    lasts_s = min(each.tokens / each.tokens_per_second for each in plans[0].requests)
    assert lasts_s > sum(plan.windows[-1].end_s for plan in plans)
    with pytest.raises(ValueError, match="no step 11"):
        plan_requests(scenario, step=11)


def test_probes_and_the_closed_loop_have_windows_of_their_own() -> None:
    plan = plan_requests(PACED)
    assert [window.name for window in plan.windows] == ["load", "probe"]
    probes = [each for each in plan.requests if each.window == "probe"]
    window = plan.windows[1]
    assert probes
    assert all(window.begin_s <= each.at_s < window.end_s for each in probes)
    assert {(each.tokens, each.tokens_per_second, each.lasts) for each in probes} == {(3, 0, False)}

    weak = plan_requests(PACED, tokens_per_s_max=400)
    fewer = [each for each in weak.requests if each.window == "probe"]
    assert 0.1 < len(fewer) / len(probes) < 0.5  # of a tenth of the streams: fewer tell nothing

    unary = plan_requests(find_scenario("unary"))
    assert unary.closed is not None
    assert unary.closed.clients == 32
    assert unary.closed.begin_s == unary.windows[-1].begin_s > unary.windows[0].end_s


def test_arrivals_that_come_together_have_one_moment() -> None:
    burst = plan_requests(find_scenario("burst"))
    assert {each.at_s for each in burst.requests} == {TOGETHER_S}
    assert len(burst.requests) == 200
