"""Rates and charges are integers, rounded once, in the client's favour."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metering.pricing import (
    PriceError,
    Rates,
    affordable_output_tokens,
    bound_nanodollars,
    charge_nanodollars,
    rate_picodollars,
    usd_of,
    usd_per_million,
)
from engine.usage import PART_OF, MoreUnit, Usage

GPT_5 = Rates(input=1_250_000, cached_input=125_000, cache_write=1_250_000, output=10_000_000)
tokens = st.integers(0, 10**9)
rate = st.integers(0, 10**9)
MORE: tuple[MoreUnit, ...] = get_args(MoreUnit)
more_rates = st.dictionaries(st.sampled_from(MORE), rate)
flat_rates = st.builds(Rates, *[rate] * 4, reasoning=st.none() | rate, more=more_rates)
tiered_rates = st.builds(
    lambda base, tiers: replace(base, tiers=tuple(sorted(tiers.items(), key=lambda t: t[0]))),
    flat_rates,
    st.dictionaries(tokens, flat_rates, max_size=3),
)
services = st.sampled_from(["priority", "flex"])
rates = st.builds(
    lambda base, of: replace(base, services=of),
    tiered_rates,
    st.dictionaries(services, tiered_rates),
)
usages = st.builds(
    Usage, *[tokens] * 5, more=st.dictionaries(st.sampled_from(MORE), st.integers(0, 10**6))
).map(Usage.clamped)


def test_dollars_per_million_are_picodollars_a_token() -> None:
    assert rate_picodollars(Decimal("1.25")) == 1_250_000
    assert rate_picodollars(Decimal("0.0375")) == 37_500


@pytest.mark.parametrize("price", ["0", "1.25", "0.0375", "10000", "0.000001", "15"])
def test_a_rate_is_shown_as_it_was_said(price: str) -> None:
    assert usd_per_million(rate_picodollars(Decimal(price))) == price


@pytest.mark.parametrize("usd", ["0", "0.006", "0.000001", "12", "1000"])
def test_a_rate_of_what_is_no_token_is_shown_as_it_was_said(usd: str) -> None:
    units: tuple[MoreUnit, ...] = ("images", "milliseconds", "web_searches", "megabyte_days")
    for unit in units:
        assert usd_of(rate_picodollars(Decimal(usd), unit), unit) == usd


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


def pieces_of(usage: Usage) -> dict[MoreUnit, int]:
    return {unit: count for unit, count in usage.more.items() if unit not in PART_OF}


@given(usages, tokens, rates, st.none() | services, st.booleans())
def test_no_usage_within_a_bound_costs_more_than_the_bound(
    usage: Usage, spare: int, some: Rates, asked: str | None, standard: bool
) -> None:
    """Of all units, in every tier that so much input can reach, as asked or as standard."""
    input_max = usage.input_tokens + spare
    ceiling = some.ceiling(input_max, asked, pieces_of(usage))
    bound = bound_nanodollars(input_max, usage.output_tokens, ceiling)
    assert 0 <= charge_nanodollars(usage, some, "standard" if standard else asked) <= bound


@given(st.integers(0, 10**15), tokens, rates, st.none() | services)
def test_what_is_affordable_is_covered(
    available: int, input_tokens: int, some: Rates, asked: str | None
) -> None:
    ceiling = some.ceiling(input_tokens, asked, {"requests": 1, "web_searches": 8})
    affordable = affordable_output_tokens(available, input_tokens, ceiling)
    if affordable:
        assert bound_nanodollars(input_tokens, affordable, ceiling) <= available


@given(usages, rates)
def test_a_charge_can_be_made_up_from_what_a_receipt_shows(usage: Usage, some: Rates) -> None:
    """Units times rates; a unit that is part of another takes the other's place."""
    applied = some.at(usage.input_tokens)
    shown, counts = applied.units(), usage.units()
    whole = {
        "input": "input_tokens",
        "cached_input": "cached_input_tokens",
        "cache_write": "cache_write_tokens",
        "output": "output_tokens",
    }
    counts["input_tokens"] -= counts["cached_input_tokens"] + counts["cache_write_tokens"]
    counts["output_tokens"] -= counts["reasoning_tokens"]
    for unit, part_of in PART_OF.items():
        if unit in shown:
            counts[whole[part_of]] -= counts.get(unit, 0)
    total = sum(shown[unit] * count for unit, count in counts.items() if unit in shown)
    assert charge_nanodollars(usage, some) == total // 1_000


LONG = Rates(
    input=2,
    output=3,
    tiers=((200, Rates(input=4, output=9)),),
    services={"priority": Rates(input=10, output=20, tiers=((200, Rates(input=30, output=40)),))},
)


@pytest.mark.parametrize(
    ("input_tokens", "tier", "picodollars"),
    [
        (200, None, 200 * 2 + 1_000 * 3),
        (201, None, 201 * 4 + 1_000 * 9),
        (200, "priority", 200 * 10 + 1_000 * 20),
        (201, "priority", 201 * 30 + 1_000 * 40),
        (200, "flex", 200 * 2 + 1_000 * 3),
        (200, "standard", 200 * 2 + 1_000 * 3),
    ],
)
def test_tiers_are_of_all_tokens(input_tokens: int, tier: str | None, picodollars: int) -> None:
    usage = Usage(input_tokens, output_tokens=1_000)
    assert charge_nanodollars(usage, LONG, tier) == picodollars // 1_000


DRAWN = Rates(
    more={"images": 4},
    services={
        "hd": Rates(more={"images": 8}),
        "1024x1792": Rates(more={"images": 6}),
        "hd 1024x1792": Rates(more={"images": 12}),
        "priority": Rates(more={"images": 99}),
    },
)


@pytest.mark.parametrize(
    ("asked", "dearest"),
    [
        (None, 4),
        ("standard 1024x1024", 4),
        ("low 1024x1792", 6),
        ("hd 1024x1024", 8),
        ("hd", 12),
        ("hd auto", 12),
        ("auto 1024x1792", 12),
        ("low auto", 6),
        ("auto auto", 12),
        ("auto", 12),
        ("priority", 99),
    ],
)
def test_a_hold_covers_whatever_image_may_come(asked: str | None, dearest: int) -> None:
    """What is left to the provider can be the dearest; a service tier is not left to it."""
    assert DRAWN.ceiling(0, asked, {"images": 10}).fixed == 10 * dearest


def test_units_that_few_answers_have() -> None:
    more: dict[MoreUnit, int] = {"cache_write_1h_tokens": 10, "web_searches": 2, "requests": 1}
    usage = Usage(100, 20, 30, 50, more={**more, "input_audio_tokens": 5})
    rates = Rates(
        1_000, 100, 1_250, 10_000,
        more={"cache_write_1h_tokens": 2_000, "web_searches": 7_000, "requests": 5_000},
    )  # fmt: skip
    assert charge_nanodollars(usage, rates) == 50 + 2 + 20 * 1.25 + 10 * 2 + 500 + 2 * 7 + 5


def test_a_markup_is_of_every_rate() -> None:
    marked_up = LONG.times(Decimal("1.5"))
    assert (marked_up.input, marked_up.tiers[0][1].output) == (3, 14)  # 13.5, to the even one
    assert marked_up.services["priority"].tiers[0][1].input == 45


@pytest.mark.parametrize(
    ("usd", "unit", "picodollars"),
    [
        ("10", "web_searches", 10**10),
        ("0.006", "milliseconds", 6 * 10**6),
        ("0.04", "images", 4 * 10**10),
        ("2.5", "file_searches", 25 * 10**8),
        ("0.03", "code_sessions", 3 * 10**10),
        ("25", "trained_tokens", 25 * 10**6),
        ("0.1", "megabyte_days", 97_656_250),
    ],
)
def test_prices_of_other_units(usd: str, unit: MoreUnit, picodollars: int) -> None:
    assert rate_picodollars(Decimal(usd), unit) == picodollars
