"""What a batch costs: by its own rates or not at all, each request by itself, rounded once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.metering.batch_rates import BatchSum, batch_rates, up_to
from engine.metering.pricing import FREE, Rates, charge_nanodollars
from engine.usage import Usage

LONG = Rates(input=4_000, output=8_000)
HALF = Rates(input=500, cached_input=50, output=2_000, tiers=((1_000, LONG),))
RATES = Rates(input=1_000, cached_input=100, output=4_000, services={"batch": HALF})


def test_only_what_says_what_a_batch_costs_has_rates_of_one() -> None:
    assert batch_rates(RATES) == HALF
    assert batch_rates(Rates(input=1, services={"flex": HALF})) is None
    assert batch_rates(FREE) == FREE, "what is free is free in a batch, too"


def test_no_request_is_charged_for_a_length_that_none_has() -> None:
    short = up_to(HALF, 1_000)

    assert up_to(HALF, 1_001) == HALF
    assert short.tiers == ()
    assert short.ceiling(900_000).input == 500, "all of them together are longer than any of them"


def test_each_request_is_charged_by_its_own_length() -> None:
    total = BatchSum(HALF, LONG)
    for length in (600, 600, 1_001):
        total.add(Usage(length, output_tokens=10))

    assert total.usage == Usage(2_201, output_tokens=30)
    assert total.charged == 3
    price = 2 * (600 * 500 + 10 * 2_000) + 1_001 * 4_000 + 10 * 8_000
    assert total.price_nanodollars == price // 1_000
    assert total.cost_nanodollars == (2_201 * 4_000 + 30 * 8_000) // 1_000


@given(st.lists(st.builds(Usage, st.integers(0, 3_000), output_tokens=st.integers(0, 50))))
def test_a_sum_is_never_less_than_its_parts_and_less_than_one_more_for_each(
    usages: list[Usage],
) -> None:
    total = BatchSum(HALF, HALF)
    for usage in usages:
        total.add(usage)

    parts = sum(charge_nanodollars(usage, HALF) for usage in usages)
    assert parts <= total.price_nanodollars <= parts + len(usages)


def test_sums_of_several_files_are_rounded_once_together() -> None:
    total = BatchSum(HALF, HALF)
    for _ in range(3):
        one = BatchSum(HALF, HALF)
        one.add(Usage(1))
        total.join(one)

    assert (total.usage, total.charged, total.price_nanodollars) == (Usage(3), 3, 1)
