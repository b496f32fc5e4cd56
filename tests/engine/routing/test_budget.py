"""A share of the first attempts, strictly."""

from __future__ import annotations

import random

import pytest

from engine.routing.budget import Budget


@pytest.mark.parametrize("firsts", [0, 1, 4, 5, 50, 1_000])
def test_where_all_fail_a_fifth_and_one_are_made_again(firsts: int) -> None:
    budget = Budget(0.2)
    again = 0
    for _ in range(firsts):
        budget.earn()
        again += budget.spend()
    while budget.spend():
        again += 1
    assert again == 1 + firsts // 5


def test_what_is_saved_in_good_times_is_bounded() -> None:
    budget = Budget(0.2)
    for _ in range(10_000):
        budget.earn()
    spent = 0
    while budget.spend():
        spent += 1
    assert spent == 10


@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_more_than_the_share_and_one(seed: int) -> None:
    chance, share = random.Random(seed), random.Random(seed).choice((0.0, 0.1, 0.33, 1.0))
    budget, earned, spent = Budget(share), 0, 0
    for _ in range(2_000):
        if chance.random() < 0.5:
            budget.earn()
            earned += 1
        else:
            spent += budget.spend()
        assert spent <= share * earned + 1, f"seed {seed}"


def test_another_share_holds_from_then_on() -> None:
    budget = Budget(0.0)
    assert budget.spend()
    budget.earn()
    assert not budget.spend()
    budget.share = 1.0
    budget.earn()
    assert budget.spend()
