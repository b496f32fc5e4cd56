"""In which order deployments of one priority are tried, of few and of many."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from engine.routing.health import NO_KEY, HealthBook
from engine.routing.ring import digest_of
from engine.routing.strategies import (
    Field,
    by_latency,
    cheapest,
    least_busy,
    owner,
    weighted,
)
from engine.routing.values import Deployment, Model

NOW = 1_000.0
MANY = 200
CHI_SQUARE_AT_ONE_IN_A_THOUSAND = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 199: 266.4}
"""By degrees of freedom, from any table."""


class Bench:
    """Deployments of one priority."""

    def __init__(
        self,
        weights: list[int],
        *,
        seed: int = 1,
        costs: list[int] | None = None,
        sticky: bool = False,
    ) -> None:
        self.chance = random.Random(seed)
        self.rows = tuple(
            Deployment(
                f"p{number}",
                "m",
                0,
                "o200k_base",
                weight=weight,
                rank_cost=costs[number] if costs is not None else 0,
            )
            for number, weight in enumerate(weights)
        )
        model = Model("small", 0, self.rows, sticky="session" if sticky else "off")
        self.tier = model.tiers[0]
        self.book = HealthBook(draw=self.chance.random)
        self.out: set[int] = set()

    def field(self) -> Field:
        paths = {self.rows[index].path for index in self.out}

        def free_key(deployment: Deployment[int]) -> int:
            return NO_KEY if deployment.path in paths else 0

        return Field(self.tier, self.book, NOW, self.chance.random, free_key)

    def busy(self, *attempts: int) -> None:
        for row, busy in zip(self.rows, attempts, strict=False):
            self.book.of(row).busy = busy

    def late(self, *taken_s: float) -> None:
        for row, each_s in zip(self.rows, taken_s, strict=False):
            self.book.of(row).latency.note(NOW, each_s)

    def counts(
        self, strategy: Callable[[Field, int], list[int]], times: int, place: int = 0
    ) -> Counter[int]:
        """How often each is in this place of the order."""
        return Counter(strategy(self.field(), place + 1)[place] for _ in range(times))


def chi_square(counts: Mapping[int, int], shares: Mapping[int, float]) -> float:
    total = sum(counts.values())
    expected = {index: total * share / sum(shares.values()) for index, share in shares.items()}
    assert counts.keys() <= expected.keys()
    return sum((counts[index] - want) ** 2 / want for index, want in expected.items())


# ---- by weight ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [[1, 1], [3, 1], [1, 2, 3, 4], [50, 1, 5]])
def test_load_spreads_by_weight(weights: list[int], seed: int) -> None:
    bench = Bench(weights, seed=seed)
    counts = bench.counts(weighted, 2_000)
    found = chi_square(counts, dict(enumerate(weights)))
    assert found < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[len(weights) - 1], f"seed {seed}: {counts}"


def test_of_many_too() -> None:
    bench = Bench([1] * MANY)
    counts = bench.counts(weighted, 4_000)
    found = chi_square(counts, dict.fromkeys(range(MANY), 1))
    assert found < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[MANY - 1], f"seed 1: {counts}"


def test_what_may_not_serve_leaves_its_share_to_the_others_by_weight() -> None:
    bench = Bench([90, 1, 2, 3])
    bench.out = {0}
    found = chi_square(bench.counts(weighted, 2_000), {1: 1, 2: 2, 3: 3})
    assert found < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[2]


def test_of_many_of_which_nearly_none_may_serve_these_are_found() -> None:
    bench = Bench([1_000_000] * (MANY - 3) + [1, 2, 3])
    bench.out = set(range(MANY - 3))
    counts = bench.counts(weighted, 600)
    shares = {MANY - 3: 1.0, MANY - 2: 2.0, MANY - 1: 3.0}
    assert chi_square(counts, shares) < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[2], f"seed 1: {counts}"


def test_the_second_is_drawn_among_those_that_are_left() -> None:
    bench = Bench([1, 1, 8])
    shares = {0: 0.0, 1: 0.0, 2: 0.0}
    weights = {0: 0.1, 1: 0.1, 2: 0.8}
    for first, first_share in weights.items():
        for second, weight in weights.items():
            if second != first:
                shares[second] += first_share * weight / (1 - first_share)
    found = chi_square(bench.counts(weighted, 2_000, place=1), shares)
    assert found < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[2]


def test_a_weight_of_nothing_serves_only_when_nobody_else_can() -> None:
    bench = Bench([0, 1, 0])
    assert set(bench.counts(weighted, 50)) == {1}
    assert sorted(weighted(bench.field(), 3)[1:]) == [0, 2], "last"
    bench.out = {1}
    assert set(bench.counts(weighted, 50)) == {0, 2}
    assert set(Bench([0] * 20).counts(weighted, 400)) == set(range(20))


# ---- by load, latency, cost ---------------------------------------------------------------------


def test_the_least_busy_first_for_its_weight() -> None:
    bench = Bench([1, 1, 4])
    bench.busy(2, 1, 5)
    assert least_busy(bench.field(), 3) == [2, 1, 0]
    bench.busy(2, 1, 9)
    assert least_busy(bench.field(), 2) == [1, 2]


def test_equally_busy_ones_share_the_load() -> None:
    bench = Bench([1, 1, 1])
    found = chi_square(bench.counts(least_busy, 900), {0: 1, 1: 1, 2: 1})
    assert found < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[2]


def test_of_many_the_least_busy_of_some_that_are_drawn() -> None:
    bench = Bench([1] * MANY)
    bench.busy(*range(MANY))
    field = bench.field()
    least_busy(field, 1)
    assert len(field.keys) <= 8, "so many are looked at"
    means = [least_busy(bench.field(), 1)[0] for _ in range(300)]
    assert sum(means) / len(means) < MANY / 6, "a ninth of all, where eight are drawn"
    bench.out = set(range(MANY)) - {7, 170}
    assert least_busy(bench.field(), 4) == [7, 170], "and all, where draws find too few"


def test_the_better_of_two_by_latency_and_how_many_wait_for_it() -> None:
    bench = Bench([1, 1])
    bench.late(0.2, 0.5)
    assert set(bench.counts(by_latency, 20)) == {0}
    bench.busy(2, 0)
    assert set(bench.counts(by_latency, 20)) == {1}, "0.2 s for each of three"


def test_the_slowest_of_several_is_first_only_if_it_is_met_alone() -> None:
    bench = Bench([1] * 4)
    bench.late(0.1, 0.2, 0.3, 9.0)
    counts = bench.counts(by_latency, 1_200)
    assert counts[3] == 0
    found = chi_square({0: counts[0], 1: counts[1], 2: counts[2]}, {0: 3, 1: 2, 2: 1})
    assert found < CHI_SQUARE_AT_ONE_IN_A_THOUSAND[2], f"seed 1: {counts}"


def test_what_nobody_has_tried_is_tried_once() -> None:
    bench = Bench([1, 1])
    bench.late(0.1)
    assert set(bench.counts(by_latency, 10)) == {1}
    bench.busy(0, 1)
    assert set(bench.counts(by_latency, 10)) == {0}


def test_the_cheapest_first_and_of_equal_ones_the_first() -> None:
    bench = Bench([1] * 4, costs=[5, 3, 9, 3])
    assert cheapest(bench.field(), 4) == [1, 3, 0, 2]
    bench.out = {1}
    assert cheapest(bench.field(), 2) == [3, 0]


@pytest.mark.parametrize("count", [1, 2, 5, 9, 33, MANY])
@pytest.mark.parametrize("order", [weighted, least_busy, by_latency, cheapest])
def test_nobody_twice_nobody_who_may_not_and_no_more_than_there_is_room_for(
    order: Callable[[Field, int], list[int]], count: int
) -> None:
    for seed in range(10):
        bench = Bench([1 + number % 3 for number in range(count)], seed=seed)
        bench.out = set(bench.chance.sample(range(count), bench.chance.randrange(count + 1)))
        bench.busy(*(bench.chance.randrange(5) for _ in range(count)))
        for room in (1, 2, 4):
            found = order(bench.field(), room)
            assert len(found) == len(set(found)) == min(room, count - len(bench.out))
            assert not bench.out & set(found), f"seed {seed}"


# ---- sticky -------------------------------------------------------------------------------------


def owners(bench: Bench) -> list[int | None]:
    return [owner(bench.field(), digest_of(f"session {number}")) for number in range(300)]


def test_a_session_stays_where_it_is() -> None:
    bench = Bench([1, 1, 1], sticky=True)
    assert owners(bench) == owners(bench)
    assert set(owners(bench)) == {0, 1, 2}


def test_of_one_that_is_out_the_sessions_go_on_along_the_ring_and_no_others() -> None:
    bench = Bench([1, 1, 1], sticky=True)
    before = owners(bench)
    bench.out = {1}
    after = owners(bench)
    assert set(after) == {0, 2}
    moved = {was for was, now in zip(before, after, strict=True) if was != now}
    assert moved == {1}


def test_who_has_more_than_its_share_of_the_load_takes_no_more() -> None:
    bench = Bench([1, 1, 2], sticky=True)
    bench.busy(26, 20, 34)
    assert set(owners(bench)) == {1, 2}, "a quarter of 81 and a quarter more is 26"
    bench.busy(25, 20, 35)
    assert set(owners(bench)) == {0, 1, 2}


def test_a_few_requests_are_no_load() -> None:
    bench = Bench([1, 1], sticky=True)
    bench.busy(7, 0)
    assert set(owners(bench)) == {0, 1}
    bench.busy(8, 0)
    assert set(owners(bench)) == {1}


def test_of_many_the_load_is_estimated() -> None:
    bench = Bench([1] * MANY, sticky=True)
    bench.busy(*[100] * MANY)
    assert None not in owners(bench)
    crowded = 10
    bench.busy(*[100] * (MANY - crowded), *[1_000] * crowded)
    found = set(owners(bench))
    assert None not in found
    assert not found & set(range(MANY - crowded, MANY))


def test_nobody_near_has_room() -> None:
    bench = Bench([1, 1], sticky=True)
    bench.out = {0, 1}
    assert set(owners(bench)) == {None}
    alone = Bench([1], sticky=True)
    assert owner(alone.field(), digest_of("session")) is None, "there is nothing to choose"
