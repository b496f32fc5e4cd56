"""All rates as plain JSON, and back: for what is charged long after its prices were pinned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.metering.pricing import Rates


def rates_json(rates: Rates) -> dict[str, Any]:
    """Only JSON types; `read_rates` gives the same rates again.

    >>> rates_json(Rates(2, 1, 2, 8, more={"web_searches": 10}))
    {'of': [2, 1, 2, 8, None], 'more': {'web_searches': 10}}
    """
    of = [rates.input, rates.cached_input, rates.cache_write, rates.output, rates.reasoning]
    said: dict[str, Any] = {"of": of}
    if rates.more:
        said["more"] = {str(unit): rate for unit, rate in rates.more.items()}
    if rates.tiers:
        said["tiers"] = [[above, rates_json(longer)] for above, longer in rates.tiers]
    if rates.services:
        said["services"] = {tier: rates_json(each) for tier, each in rates.services.items()}
    return said


def read_rates(said: Mapping[str, Any]) -> Rates:
    """The reverse."""
    return Rates(
        *said["of"],
        more=dict(said.get("more", {})),
        tiers=tuple((above, read_rates(longer)) for above, longer in said.get("tiers", ())),
        services={tier: read_rates(each) for tier, each in said.get("services", {}).items()},
    )
