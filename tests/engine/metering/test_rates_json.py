"""Rates that were pinned charge what those of then would have charged."""

from __future__ import annotations

import orjson
import pytest

from engine.metering.pricing import Rates, charge_nanodollars
from engine.metering.rates_json import rates_json, read_rates
from engine.usage import Usage

PLAIN = Rates(2_000_001, 500_003, 2_500_007, 8_000_009)
WHOLE = Rates(
    2_000_001,
    500_003,
    2_500_007,
    8_000_009,
    9_000_011,
    more={"web_searches": 10**10, "input_audio_tokens": 40_000_001},
    tiers=((200, Rates(4_000_001, 1, 2, 16_000_003)),),
    services={"flex": Rates(1_000_003, 1, 1, 4_000_001, tiers=((10, Rates(3, 3, 3, 3)),))},
)
SHORT = Usage(100, 20, 5, 70, 30, more={"web_searches": 3, "input_audio_tokens": 7})
LONG = Usage(10_001, 3_000, 0, 71, 9)


@pytest.mark.parametrize("rates", [PLAIN, WHOLE])
@pytest.mark.parametrize("usage", [SHORT, LONG])
@pytest.mark.parametrize("tier", [None, "flex", "priority"])
def test_to_the_nanodollar(rates: Rates, usage: Usage, tier: str | None) -> None:
    again = read_rates(orjson.loads(orjson.dumps(rates_json(rates))))
    assert charge_nanodollars(usage, again, tier) == charge_nanodollars(usage, rates, tier)
    assert again == rates
    assert again.at(usage.input_tokens, tier).units() == rates.at(usage.input_tokens, tier).units()
