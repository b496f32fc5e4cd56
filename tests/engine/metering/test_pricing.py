"""Rates and charges are integers, rounded once, in the client's favour."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Usage
from engine.metering.pricing import (
    PriceError,
    Rates,
    affordable_output_tokens,
    bound_nanodollars,
    charge_nanodollars,
    rate_picodollars,
    usd_per_million,
)

GPT_5 = Rates(input=1_250_000, cached_input=125_000, cache_write=1_250_000, output=10_000_000)
tokens = st.integers(0, 10**9)
rates = st.builds(Rates, *[st.integers(0, 10**9)] * 4, reasoning=st.none() | st.integers(0, 10**9))
usages = st.builds(Usage, *[tokens] * 5).map(Usage.clamped)


def test_dollars_per_million_are_picodollars_a_token() -> None:
    assert rate_picodollars(Decimal("1.25")) == 1_250_000
    assert rate_picodollars(Decimal("0.0375")) == 37_500


@pytest.mark.parametrize("price", ["0", "1.25", "0.0375", "10000", "0.000001", "15"])
def test_a_rate_is_shown_as_it_was_said(price: str) -> None:
    assert usd_per_million(rate_picodollars(Decimal(price))) == price


@pytest.mark.parametrize("bad", ["-1", "NaN", "Infinity", "0.0000001", "10000.1"])
def test_impossible_prices_are_refused(bad: str) -> None:
    with pytest.raises(PriceError):
        rate_picodollars(Decimal(bad))


def test_cached_input_is_priced_apart() -> None:
    usage = Usage(input_tokens=1_000, cached_input_tokens=800, output_tokens=100)
    assert charge_nanodollars(usage, GPT_5) == (200 * 1_250 + 800 * 125 + 100 * 10_000)


def test_a_fraction_of_a_nanodollar_is_the_clients() -> None:
    assert charge_nanodollars(Usage(input_tokens=1), Rates(input=1_999)) == 1


def test_reasoning_can_have_its_own_rate() -> None:
    usage = Usage(output_tokens=10, reasoning_tokens=4)
    assert charge_nanodollars(usage, Rates(output=1_000, reasoning=5_000)) == 6 + 20


@given(usages, rates)
def test_no_usage_within_a_bound_costs_more_than_the_bound(usage: Usage, some: Rates) -> None:
    bound = bound_nanodollars(usage.input_tokens, usage.output_tokens, some)
    assert 0 <= charge_nanodollars(usage, some) <= bound


@given(st.integers(0, 10**15), tokens, rates)
def test_what_is_affordable_is_covered(available: int, input_tokens: int, some: Rates) -> None:
    affordable = affordable_output_tokens(available, input_tokens, some)
    if affordable:
        assert bound_nanodollars(input_tokens, affordable, some) <= available
