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
from typing import Any, Final

from engine.config import Config, PriceConfig, PriceRowConfig
from engine.config_prices import ImagePriceConfig, MorePricesConfig
from engine.metering.pricing import FREE, PriceError, Rates, rate_picodollars, usd_of
from engine.metering.tiers import all_words, is_of_images, is_size, tier_word
from engine.toml import Keys, TableReader
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
        "clips": "clips",
        "file_searches": "file_searches",
        "code_sessions": "code_sessions",
        "trained_tokens": "trained_tokens",
        "gigabyte_days": "megabyte_days",
    }
)
"""The configuration's names of what few answers have."""

_APIECE: Final = tuple(name for name, unit in _UNITS.items() if unit not in PART_OF)
"""Those of what is no token: a price of one of them is a price."""
_SIZES: Final = (
    "256x256", "512x512", "1024x1024", "1024x1536", "1536x1024", "1024x1792", "1792x1024",
    "1K", "2K", "4K", "480p", "720p", "1080p", "4k",
)  # fmt: skip
"""Of the models that are known; for suggestions."""


_Table = PriceConfig | PriceRowConfig | ImagePriceConfig


def configured(price: PriceConfig, config: Config, path: Keys) -> Rates:
    """The rates of a price table.

    Raises:
        ConfigError: an impossible price, or none.
    """
    if price.input is None and price.output is None and not _has_apiece(price):
        raise config.error(
            path,
            "needs 'input' and 'output', or the price of what is no token: "
            + ", ".join(f"'{name}'" for name in _APIECE),
        )
    for missing, said in (("input", price.output), ("output", price.input)):
        if said is not None and getattr(price, missing) is None:
            raise config.error(path, f"needs '{missing}' too; 0 where there is none of it")
    rates = _priced(price, FREE, config, path)
    where = (*path, "by_image")
    by_tier: dict[str, ImagePriceConfig] = {}
    for row in price.by_image:
        tier = image_tier(row.quality, row.size, config, where)
        if tier is None:
            raise config.error(where, "needs a 'quality' or a 'size' in each of its prices")
        if tier in by_tier:
            raise config.error(where, f"has a price for '{tier}' twice")
        by_tier[tier] = row
    for tier in _general_first(by_tier):
        priced = _priced(by_tier[tier], replace(rates.served(tier), services={}), config, where)
        rates = replace(rates, services={**rates.services, tier: priced})
    return rates


def image_tier(quality: str | None, size: str | None, config: Config, path: Keys) -> str | None:
    """The word of an image's quality and size; None: neither is said.

    Raises:
        ConfigError: the size is none.
    """
    if size is not None and not is_size(size):
        raise config.error(
            (*path, "size"),
            f"must be pixels such as '1024x1024', or '1K', '2K', '4K', or of a film '720p', not "
            f"'{size[:40]}'" + TableReader.suggestion(size, _SIZES),
        )
    return tier_word(quality, size)


def row_tier(row: PriceRowConfig, config: Config) -> str | None:
    """Of what service tier, or of what images, a row of `[[prices]]` is; None: of all others.

    Raises:
        ConfigError: it says both, or a size that is none.
    """
    tier = image_tier(row.quality, row.size, config, ("prices",))
    if tier is not None and row.service_tier is not None:
        raise config.error(
            ("prices",), f"says both a service tier and images ('{tier}') of '{row.model}'"
        )
    return row.service_tier if tier is None else tier


def _general_first(tiers: Iterable[str]) -> list[str]:
    """A quality or a size alone before both together, whose price they are unless it says."""
    return sorted(dict.fromkeys(tiers), key=lambda tier: " " in tier)


def _has_apiece(price: PriceConfig | PriceRowConfig) -> bool:
    return any(getattr(price, name) is not None for name in _APIECE)


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
    by_tier: dict[str | None, list[PriceRowConfig]] = {}
    for row in rows:
        by_tier.setdefault(row_tier(row, config), []).append(row)
    rates = _with_rows(rates, by_tier.pop(None, ()), config)
    for tier in _general_first(tier for tier in by_tier if tier is not None):
        if rates is None:
            raise config.error(
                ("prices",), f"has no price of '{model}' but for '{tier}': add one for all others"
            )
        found = _with_rows(replace(rates.served(tier), services={}), by_tier[tier], config)
        if found is not None:
            rates = replace(rates, services={**rates.services, tier: found})
    return rates


def dearest(all_rates: Sequence[Rates]) -> Rates:
    """For each unit, in each length of context and service tier, the most that any of these
    charges for it."""
    first = all_rates[0]
    if all(rates == first for rates in all_rates):
        return first
    lengths = sorted({above for rates in all_rates for above, _ in rates.tiers})
    services = all_words(tier for rates in all_rates for tier in rates.services)
    return replace(
        _dearest_of(all_rates),
        tiers=tuple(
            (above, _dearest_of([rates.at(above + 1) for rates in all_rates])) for above in lengths
        ),
        services={
            tier: dearest([replace(rates.served(tier), services={}) for rates in all_rates])
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
        tokens = (row.input is not None) + (row.output is not None)
        whole = tokens == 2 or (tokens == 0 and _has_apiece(row))
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


def _priced(price: _Table, base: Rates, config: Config, path: Keys) -> Rates:
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


def shown(rates: Rates) -> dict[str, Any]:
    """What the standard rates of a short context are in US dollars, by the configuration's names
    and for as many as it says; what costs nothing but tokens of text is left out. `by_image` has
    what is another for a quality or a size.

    >>> shown(Rates(more={"images": 4 * 10**10}))
    {'input': '0', 'output': '0', 'images': '0.04'}
    """
    told = {"input": usd_of(rates.input), "output": usd_of(rates.output)}
    for name, unit in _UNITS.items():
        if unit in rates.more:
            told[name] = usd_of(rates.more[unit], unit)
    by_image = {
        tier: {name: usd for name, usd in shown(of_tier).items() if told.get(name) != usd}
        for tier, of_tier in rates.services.items()
        if is_of_images(tier)
    }
    return {**told, "by_image": by_image} if by_image else {**told}


assert {field.name for field in dataclasses.fields(MorePricesConfig)} == {
    *_UNITS, "cached_input", "cache_write", "reasoning",
}  # fmt: skip
