"""What a model costs at a moment: the configuration's prices over the price library's.

Whatever is dated is looked up at the moment asked for; an exchange asks once, before its hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from engine.config import Config, PriceConfig, PriceRowConfig
from engine.config_prices import MorePricesConfig
from engine.metering.pricing import FREE, PriceError, Rates, rate_picodollars
from engine.toml import Keys
from engine.usage import PART_OF, MoreUnit

_UNITS: Final[Mapping[str, MoreUnit]] = MappingProxyType(
    {
        "cache_write_1h": "cache_write_1h_tokens",
        "cached_audio": "cached_audio_tokens",
        "cached_image": "cached_image_tokens",
        "input_audio": "input_audio_tokens",
        "input_image": "input_image_tokens",
        "input_video": "input_video_tokens",
        "output_audio": "output_audio_tokens",
        "output_image": "output_image_tokens",
        "output_video": "output_video_tokens",
        "web_searches": "web_searches",
        "requests": "requests",
        "characters": "characters",
        "seconds": "milliseconds",
        "images": "images",
    }
)
"""The configuration's names of what few answers have."""


def configured(price: PriceConfig, config: Config, path: Keys) -> Rates:
    """The rates of a price table.

    Raises:
        ConfigError: an impossible price.
    """
    return _priced(price, FREE, config, path)


def overridden(
    rates: Rates | None, model: str, provider: str | None, config: Config, at: datetime
) -> Rates | None:
    """The rates with the rows of `[[prices]]` that are valid at a moment; None: there are none.

    Raises:
        ConfigError: an impossible price, or one that changes what has no price.
    """
    rows = [
        row
        for row in config.prices
        if row.model == model and row.provider == provider and _is_valid(row, at)
    ]
    rows.sort(key=lambda row: row.valid_from or date.min)  # of several the latest counts
    standard = [row for row in rows if row.service_tier is None]
    rates = _with_rows(rates, standard, config)
    for tier in dict.fromkeys(row.service_tier for row in rows if row.service_tier is not None):
        of_tier = [row for row in rows if row.service_tier == tier]
        base = None if rates is None else replace(rates.services.get(tier, rates), services={})
        services = {} if rates is None else rates.services
        found = _with_rows(base, of_tier, config)
        if rates is not None and found is not None:
            rates = replace(rates, services={**services, tier: found})
    return rates


def dearest(all_rates: Sequence[Rates]) -> Rates:
    """For each unit, in each length of context and service tier, the most that any of these
    charges for it."""
    first = all_rates[0]
    if all(rates == first for rates in all_rates):
        return first
    lengths = sorted({above for rates in all_rates for above, _ in rates.tiers})
    services = {tier for rates in all_rates for tier in rates.services}
    return replace(
        _dearest_of(all_rates),
        tiers=tuple(
            (above, _dearest_of([rates.at(above + 1) for rates in all_rates])) for above in lengths
        ),
        services={
            tier: dearest(
                [replace(rates.services.get(tier, rates), services={}) for rates in all_rates]
            )
            for tier in sorted(services)
        },
    )


def _dearest_of(all_rates: Sequence[Rates]) -> Rates:
    """Of the shortest context, and the standard tier. What one of them has no rate for costs, by
    it, what it is a part of."""
    units = dict.fromkeys(unit for rates in all_rates for unit in rates.more)
    reasoning = max(rates.reasoning_rate for rates in all_rates)
    output = max(rates.output for rates in all_rates)
    return Rates(
        input=max(rates.input for rates in all_rates),
        cached_input=max(rates.cached_input for rates in all_rates),
        cache_write=max(rates.cache_write for rates in all_rates),
        output=output,
        reasoning=None if reasoning == output else reasoning,
        more={unit: max(_rate_of(unit, rates) for rates in all_rates) for unit in units},
    )


def _rate_of(unit: MoreUnit, rates: Rates) -> int:
    whole = PART_OF.get(unit)
    usual: int = 0 if whole is None else getattr(rates, whole)
    return rates.more.get(unit, usual)


def is_dated(model: str, provider: str | None, config: Config) -> bool:
    """Whether what the configuration says of a model's price depends on the day."""
    return any(
        row.valid_from or row.valid_until
        for row in config.prices
        if row.model == model and row.provider == provider
    )


def _is_valid(row: PriceRowConfig, at: datetime) -> bool:
    begins, ends = row.valid_from, row.valid_until
    return (begins is None or _midnight(begins) <= at) and (ends is None or at < _midnight(ends))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _with_rows(rates: Rates | None, rows: Iterable[PriceRowConfig], config: Config) -> Rates | None:
    rows = list(rows)
    for row in (row for row in rows if row.above_input_tokens is None):
        whole = row.input is not None and row.output is not None
        if rates is None and not whole:
            raise config.error(("prices",), f"changes a price that '{row.model}' has not")
        base = rates or FREE
        services = {} if rates is None else rates.services
        priced = _priced(row, base, config, ("prices",))
        longer = tuple(
            (above, _priced(row, tier, config, ("prices",))) for above, tier in base.tiers
        )
        rates = replace(priced, tiers=longer, services=services)
    for row in rows:
        if row.above_input_tokens is not None:
            if rates is None:
                raise config.error(("prices",), f"changes a price that '{row.model}' has not")
            above = row.above_input_tokens
            base = replace(rates.at(above + 1), tiers=(), services={})
            tiers = {**dict(rates.tiers), above: _priced(row, base, config, ("prices",))}
            rates = replace(rates, tiers=tuple(sorted(tiers.items(), key=lambda tier: tier[0])))
    return rates


def _priced(price: PriceConfig | PriceRowConfig, base: Rates, config: Config, path: Keys) -> Rates:
    """The base with what a table names; with an input of its own what is cached costs the same."""
    try:
        fresh = base.input if price.input is None else rate_picodollars(price.input)
        cached, written = base.cached_input, base.cache_write
        if price.input is not None:
            cached = written = fresh
        reasoning = base.reasoning if price.output is None else None
        if price.reasoning is not None:
            reasoning = rate_picodollars(price.reasoning)
        more = dict(base.more)
        for name, unit in _UNITS.items():
            if (usd := getattr(price, name)) is not None:
                more[unit] = rate_picodollars(usd, unit)
        return Rates(
            input=fresh,
            cached_input=_or(price.cached_input, cached),
            cache_write=_or(price.cache_write, written),
            output=_or(price.output, base.output),
            reasoning=reasoning,
            more=more,
        )
    except PriceError as error:
        raise config.error(path, f"cannot be used: {error}") from None


def _or(usd_per_million: Decimal | None, default: int) -> int:
    return default if usd_per_million is None else rate_picodollars(usd_per_million)


assert {field.name for field in dataclasses.fields(MorePricesConfig)} == {
    *_UNITS, "cached_input", "cache_write", "reasoning",
}  # fmt: skip
