"""What the machine did to all peers of a round is no peer's doing."""

from __future__ import annotations

import random
import statistics

import pytest

from bench.statistics.bootstrap import bootstrap
from bench.statistics.speed import steadied

SLOWNESS = {0: 1.0, 1: 1.8, 2: 1.1, 3: 1.6}


def on_this_machine(cost: float) -> dict[int, float]:
    return {repeat: cost * slow for repeat, slow in SLOWNESS.items()}


def test_what_a_round_did_to_all_is_taken_out() -> None:
    steady = steadied(on_this_machine(30), [on_this_machine(10), on_this_machine(75)])
    assert max(steady.values()) == pytest.approx(min(steady.values()))
    average = statistics.fmean(SLOWNESS.values())
    assert steady[0] == pytest.approx(30 * average)  # of the machine as it was, not at its best


def test_what_a_peer_does_of_its_own_accord_stays() -> None:
    values = on_this_machine(30) | {2: 99.0}
    steady = steadied(values, [on_this_machine(10), on_this_machine(75)])
    assert steady[2] / steady[0] == pytest.approx(99 / (30 * SLOWNESS[2]))


def test_others_with_fewer_rounds_say_nothing_of_the_rest() -> None:
    fewer = {repeat: 7.0 * repeat + 1 for repeat in (0, 1)}
    values, others = on_this_machine(30), [on_this_machine(10), on_this_machine(75)]
    assert steadied(values, [fewer, *others]) == steadied(values, others)


def test_one_other_peer_may_be_what_varies() -> None:
    values = on_this_machine(30)
    assert steadied(values, [on_this_machine(10)]) == values
    assert steadied(values, []) == values


def test_others_that_do_not_agree_are_not_believed() -> None:
    values = dict.fromkeys(range(4), 30.0)
    others = [dict(enumerate(each)) for each in ([8, 12, 9, 11], [90, 61, 80, 62.0])]
    assert steadied(values, others) == values


def test_an_interval_of_its_own_variance_holds_what_a_peer_takes() -> None:
    """Of many runs on an unsteady machine, nineteen in twenty; and narrower than without."""
    seed = 5
    chance = random.Random(seed)
    held = 0
    steady_widths, plain_widths = [], []
    for _ in range(200):
        slow = [chance.choice([1.0, 1.7]) for _ in range(6)]
        runs = [
            {n: cost * slow[n] * chance.lognormvariate(0, 0.04) for n in range(6)}
            for cost in (30.0, 10.0, 75.0, 20.0)
        ]
        level = statistics.fmean(slow)
        steady = bootstrap(tuple(steadied(runs[0], runs[1:]).values()), seed=seed, resamples=300)
        plain = bootstrap(tuple(runs[0].values()), seed=seed, resamples=300)
        assert steady is not None
        assert plain is not None
        held += steady.low <= 30 * level <= steady.high
        steady_widths.append(steady.half_width_ratio)
        plain_widths.append(plain.half_width_ratio)
    assert held / 200 > 0.9, seed
    assert statistics.median(steady_widths) < 0.07 < 0.2 < statistics.median(plain_widths)
