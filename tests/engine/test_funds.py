"""How much is held, and who pays what by how it ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import BillingConfig
from engine.errors import InsufficientFundsError
from engine.events import Outcome, Provenance, Usage
from engine.funds import (
    Bill,
    FirstSlice,
    Measured,
    extension_due,
    first_slice,
    make_bill,
    on_the_house,
    together,
)
from engine.metering.pricing import FREE, Rates, bound_nanodollars

PRICE = Rates(input=1_000, cached_input=1_000, cache_write=1_000, output=10_000)  # 1 and 10 nano$
SETTINGS = BillingConfig()


def slice_of(
    available: int,
    *,
    maximum: int | None = None,
    choices: int = 1,
    rates: Rates = PRICE,
    stream: bool = True,
    unseen: int | None = None,
    lowerable: bool = True,
) -> FirstSlice:
    return first_slice(
        input_bound_tokens=100,
        max_output_tokens=maximum,
        choices=choices,
        stream=stream,
        unseen_tokens=unseen,
        ceiling=rates.ceiling(100),
        available_nanodollars=available,
        settings=SETTINGS,
        lowerable=lowerable,
    )


def test_a_slice_is_held_however_long_the_answer_may_be() -> None:
    assert slice_of(10**9) == FirstSlice(100 + 20_480, 2_048, None)
    assert slice_of(10**9, maximum=10**6) == FirstSlice(100 + 20_480, 2_048, None)


def test_less_is_held_where_less_was_asked_for() -> None:
    assert slice_of(10**9, maximum=50) == FirstSlice(600, 50, None)
    assert slice_of(10**9, maximum=50, choices=4) == FirstSlice(2_100, 200, None)


def test_all_of_an_answer_in_one_piece_is_held() -> None:
    assert slice_of(10**9, maximum=50_000, stream=False) == FirstSlice(500_100, 50_000, None)
    assert slice_of(10**9, stream=False, choices=2) == FirstSlice(327_780, 32_768, None)
    assert slice_of(1_100, maximum=50_000, stream=False) == FirstSlice(1_100, 100, 100)


def test_a_small_balance_lowers_the_limit() -> None:
    assert slice_of(1_100) == FirstSlice(1_100, 100, 100)
    assert slice_of(1_100, choices=3) == FirstSlice(100 + 990, 99, 33)


@pytest.mark.parametrize("available", [0, 99, 100, 100 + 159])
def test_a_balance_below_a_useful_minimum_is_refused(available: int) -> None:
    with pytest.raises(InsufficientFundsError, match="Add funds"):
        slice_of(available)


@pytest.mark.parametrize(("unseen", "needed"), [(0, 100), (50, 600)])
def test_what_cannot_be_shortened_is_covered_or_refused(unseen: int, needed: int) -> None:
    whole = slice_of(needed, unseen=unseen, lowerable=False)
    assert whole == FirstSlice(needed, unseen, None)
    with pytest.raises(InsufficientFundsError):
        slice_of(needed - 1, unseen=unseen, lowerable=False)


def test_a_short_answer_needs_no_minimum() -> None:
    assert slice_of(110, maximum=1) == FirstSlice(110, 1, None)


def test_what_is_free_needs_no_funds() -> None:
    assert slice_of(0, rates=FREE) == FirstSlice(0, None, None)


@given(st.integers(0, 10**6), st.none() | st.integers(1, 10**5), st.integers(1, 8))
def test_a_hold_never_exceeds_what_is_available(
    available: int, maximum: int | None, choices: int
) -> None:
    try:
        first = slice_of(available, maximum=maximum, choices=choices)
    except InsufficientFundsError:
        return
    assert first.amount_nanodollars <= available
    assert first.covered_tokens is not None
    bound = bound_nanodollars(100, first.covered_tokens, PRICE.ceiling(100))
    assert bound <= first.amount_nanodollars


def test_an_extension_is_due_at_three_quarters_of_the_slice() -> None:
    assert not extension_due(2_048, 1_535, 2_048)
    assert extension_due(2_048, 1_536, 2_048)
    assert not extension_due(4_096, 3_583, 2_048)


COUNTED = Measured(Usage(input_tokens=9, output_tokens=3), {"output_tokens": Provenance.COUNTED})


def bill(
    outcome: Outcome, *, measured: Measured = COUNTED, changes: dict[str, bool] | None = None
) -> Bill:
    facts = {"answered": True, "has_output": True, "unary": False, "waive": False}
    facts |= changes or {}
    return make_bill(outcome, measured, price=PRICE, cost=PRICE, **facts)


@pytest.mark.parametrize(
    ("outcome", "changes", "charge"),
    [
        (Outcome.COMPLETED, {}, 39),
        (Outcome.FUNDS_EXHAUSTED, {}, 39),
        (Outcome.CLIENT_LEFT, {}, 39),
        (Outcome.CLIENT_LEFT, {"has_output": False}, 39),
        (Outcome.CLIENT_LEFT, {"waive": True}, 0),
        (Outcome.CLIENT_LEFT, {"unary": True}, 0),
        (Outcome.CLIENT_LEFT, {"answered": False}, 0),
        (Outcome.DEADLINE, {}, 39),
        (Outcome.SHUTDOWN, {}, 39),
        (Outcome.UPSTREAM_FAILED, {}, 39),
        (Outcome.UPSTREAM_FAILED, {"has_output": False}, 0),
        (Outcome.UPSTREAM_FAILED, {"unary": True}, 0),
        (Outcome.GATEWAY_FAILED, {}, 0),
    ],
)
def test_who_pays_by_how_it_ended(outcome: Outcome, changes: dict[str, bool], charge: int) -> None:
    made = bill(outcome, changes=changes)
    assert made.charge_nanodollars == charge
    assert made.cost_nanodollars == (0 if changes.get("answered") is False else 39)


@pytest.mark.parametrize(
    ("ways", "as_a_whole"),
    [
        (("reported", "reported"), "reported"),
        (("drained", "drained"), "drained"),
        (("reported", "counted"), "counted"),
        (("counted", "reported"), "counted"),
    ],
)
def test_a_usage_is_known_as_its_weakest_figure(ways: tuple[str, str], as_a_whole: str) -> None:
    provenance = dict(zip(("input_tokens", "output_tokens"), map(Provenance, ways), strict=True))
    measured = Measured(Usage(10, output_tokens=5), provenance)
    made = bill(Outcome.COMPLETED, measured=measured)
    assert (made.provenance, made.charge_nanodollars) == (Provenance(as_a_whole), 60)


def test_what_is_not_seen_before_it_is_reported_is_held_at_once() -> None:
    assert slice_of(10**9, unseen=50_000) == FirstSlice(500_100, 50_000, None)
    assert slice_of(10_100, unseen=50_000) == FirstSlice(10_100, 1_000, 1_000)


def part(
    input_tokens: int, output_tokens: int, how: Provenance, *flags: str, billed: bool = True
) -> Bill:
    """What one attempt of several comes to."""
    usage = Usage(input_tokens, output_tokens=output_tokens)
    measured = Measured(usage, {"input_tokens": how, "output_tokens": how}, flags)
    made = bill(Outcome.COMPLETED, measured=measured)
    return made if billed else on_the_house(made)


def test_one_attempt_is_its_own_bill() -> None:
    only = part(9, 3, Provenance.REPORTED)
    assert together([], only) == only


def test_the_parts_of_one_answer_are_added_up() -> None:
    first = part(9, 3, Provenance.COUNTED, "usage_clamped")
    last = part(14, 5, Provenance.REPORTED, "usage_doubtful", "usage_clamped")
    whole = together([first], last)
    assert whole.usage == Usage(23, output_tokens=8)
    assert whole.charge_nanodollars == 39 + 64
    assert whole.cost_nanodollars == 39 + 64
    assert whole.provenance is Provenance.COUNTED
    assert whole.measured.flags == ("usage_clamped", "usage_doubtful")


def test_a_part_that_nobody_pays_is_a_cost_alone() -> None:
    whole = together(
        [part(9, 3, Provenance.COUNTED)], part(14, 0, Provenance.COUNTED, billed=False)
    )
    assert (whole.usage, whole.charge_nanodollars) == (Usage(9, output_tokens=3), 39)
    assert whole.cost_nanodollars == 39 + 14


def test_a_last_part_that_is_waived_leaves_the_others_to_be_paid() -> None:
    counted = Measured(Usage(14, output_tokens=5), {"output_tokens": Provenance.COUNTED})
    waived = bill(Outcome.CLIENT_LEFT, measured=counted, changes={"waive": True})
    whole = together([part(9, 3, Provenance.COUNTED)], waived)
    assert (whole.charge_nanodollars, whole.provenance) == (39, Provenance.FLAT)
