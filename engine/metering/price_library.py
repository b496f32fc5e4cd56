"""The price library: list prices and context windows of some 2,300 models, as data in its wheel.

No network. Its windows are rounded now and then (1,000,000 for 1,048,576), so a table of ours that
knows better goes first.

It has no prices of images by quality and size, of films, of Cohere's searches, of OpenAI's sessions
of code and of training, and none of what OpenAI takes nothing for: those are here, from the
providers' pages of prices (OpenAI's of DALL-E 2 and 3, of Sora 2, of moderations, of its tools and
of fine-tuning by tokens, Google's of Veo 3.1, xAI's of Grok Imagine, Cohere's of Rerank 3.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from engine.metering.pricing import FREE, UNITS_PER_PRICE, PriceError, Rates, rate_picodollars
from engine.usage import MoreUnit

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

UNITS: Final[Mapping[str, MoreUnit]] = MappingProxyType(
    {
        "cache_write_1h_mtok": "cache_write_1h_tokens",
        "cache_audio_read_mtok": "cached_audio_tokens",
        "cache_image_read_mtok": "cached_image_tokens",
        "input_audio_mtok": "input_audio_tokens",
        "input_image_mtok": "input_image_tokens",
        "input_video_mtok": "input_video_tokens",
        "output_audio_mtok": "output_audio_tokens",
        "output_image_mtok": "output_image_tokens",
        "output_video_mtok": "output_video_tokens",
        "web_searches_kcount": "web_searches",
        "storage_searches_kcount": "file_searches",
        "requests_kcount": "requests",
        "input_mchars": "characters",
        "audio_hours": "milliseconds",
        "input_audio_hours": "milliseconds",
    }
)
"""The library's keys beside those of text, in our units."""

_APIECE: Final = frozenset({"input_mchars", "audio_hours", "input_audio_hours"})
"""Those that a model without a price of tokens is paid by."""

_SERVICES: Final = {
    "priority": ({"service_tier": "priority"},),
    "flex": ({"service_tier": "flex"},),
    "fast": ({"service_tier": "fast"}, {"speed": "fast"}),
    "batch": ({"processing": "batch"},),
}
"""What the library knows of a service tier, by `Begin`'s words for it."""

_EMBEDS: Final = re.compile(r"embed|rerank|voyage-|bge-|gte-")
"""Models that generate no text: the price of their input is all there is."""


def _drawn(usd: str, **by_image: str) -> Rates:
    """The price of an image, and of those of a quality and size: `hd_1024x1792`, `s_512x512` of
    any quality."""

    def image(usd: str) -> dict[MoreUnit, int]:
        return {"images": rate_picodollars(Decimal(usd), "images")}

    services = {
        name.removeprefix("s_").replace("_", " "): Rates(more=image(price))
        for name, price in by_image.items()
    }
    return Rates(more=image(usd), services=services)


def _filmed(usd: str, **by_size: str) -> Rates:
    """The price of a second, and of those of another size: `s_1080p`."""

    def second(usd: str) -> dict[MoreUnit, int]:
        return {"milliseconds": rate_picodollars(Decimal(usd), "milliseconds")}

    services = {
        name.removeprefix("s_"): Rates(more=second(price)) for name, price in by_size.items()
    }
    return Rates(more=second(usd), services=services)


_OF_OPENAI: Final = (
    (re.compile(r"dall-e-2"), _drawn("0.02", s_256x256="0.016", s_512x512="0.018")),
    (
        re.compile(r"dall-e-3"),
        _drawn(
            "0.04",
            s_1024x1792="0.08",
            s_1792x1024="0.08",
            hd="0.08",
            hd_1024x1792="0.12",
            hd_1792x1024="0.12",
        ),
    ),
    (re.compile(r"sora-2-pro"), _filmed("0.3", s_1024x1792="0.5", s_1792x1024="0.5")),
    (re.compile(r"sora-2"), _filmed("0.1")),
    (re.compile(r"(omni|text)-moderation"), FREE),
)
_OF_GOOGLE: Final = (
    (re.compile(r"veo-3\.1-lite"), _filmed("0.05", s_1080p="0.08")),
    (re.compile(r"veo-3\.1-fast"), _filmed("0.1", s_1080p="0.12", s_4k="0.3")),
    (re.compile(r"veo-3\.1"), _filmed("0.4", s_4k="0.6")),
)
_OF_XAI: Final = ((re.compile(r"grok-imagine-video($|-\d{4})"), _filmed("0.05", s_720p="0.07")),)
_SEARCHED: Final = Rates(more={"requests": rate_picodollars(Decimal(2), "requests")})
"""A search, of up to a hundred documents, is a request or several."""
_OWN: Final = MappingProxyType(
    {
        "api.openai.com": _OF_OPENAI,
        "api.x.ai": _OF_XAI,
        "generativelanguage.googleapis.com": _OF_GOOGLE,
        "api.cohere.com": ((re.compile(r"rerank-v3\.5"), _SEARCHED),),
        "api.cohere.ai": ((re.compile(r"rerank-v3\.5"), _SEARCHED),),
    }
)
"""By host: what the library has no prices of."""

_SESSION: Final[Mapping[MoreUnit, int]] = {
    "code_sessions": rate_picodollars(Decimal("0.03"), "code_sessions")
}
_TRAINING: Final = (
    (re.compile(r"gpt-4\.1-mini"), "5"),
    (re.compile(r"gpt-4\.1-nano"), "1.5"),
    (re.compile(r"gpt-4\.1($|-\d)"), "25"),
    (re.compile(r"gpt-4o-mini($|-\d)"), "3"),
    (re.compile(r"gpt-4o($|-\d)"), "25"),
    (re.compile(r"gpt-3\.5-turbo($|-\d)"), "8"),
    (re.compile(r"davinci-002"), "6"),
    (re.compile(r"babbage-002"), "0.4"),
)
"""Dollars for a million trained tokens, of those of OpenAI's models that can be trained and are
not paid for by the hour."""

_SECONDS_PER_HOUR: Final = 3_600


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What the library knows of a model at a provider; None is unknown.

    `dated` means that the prices depend on the day or the hour.
    """

    rates: Rates | None
    context_window_tokens: int | None
    dated: bool = False


@lru_cache(maxsize=4_096)
def look_up(base_url: str, model: str, now: datetime) -> ListedModel | None:
    """A model as the library lists it; None if it does not, or does not know this provider.

    A price that is finer than a picodollar a unit is rounded to it.
    """
    if not base_url.startswith("https://"):  # a host of one's own: none of the library's
        return None
    for pattern, own in _OWN.get(urlsplit(base_url).hostname or "", ()):
        if pattern.match(model.lower()):
            return ListedModel(own, None)
    index = _index(base_url)
    found = None if index is None else index.find(model)
    if index is None or found is None:
        return None
    variants = found.price_variants if index.lists(found) else None
    dated = isinstance(found.prices, list) or any(each.constraint for each in variants or ())
    try:
        rates = _with_tiers(found.get_prices(now), model)
    except PriceError:  # dearer than can be billed
        return ListedModel(None, found.context_window, dated)
    if rates is not None and variants:
        rates = replace(rates, services=_services(found, now, rates, model))
    if rates is not None and urlsplit(base_url).hostname == "api.openai.com":
        rates = _beside(rates, _of_tools(model.lower(), rates))
    return ListedModel(rates, found.context_window, dated)


def _of_tools(model: str, rates: Rates) -> dict[MoreUnit, int]:
    """What OpenAI takes for sessions of code, where a model has its tools, and for training."""
    units: dict[MoreUnit, int] = dict(_SESSION) if "file_searches" in rates.more else {}
    for pattern, usd in _TRAINING:
        if pattern.match(model):
            units["trained_tokens"] = rate_picodollars(Decimal(usd), "trained_tokens")
            break
    return units


def _beside(rates: Rates, units: Mapping[MoreUnit, int]) -> Rates:
    """The rates with these units, in every context and service tier."""
    if not units:
        return rates
    return replace(
        rates,
        more={**rates.more, **units},
        tiers=tuple((above, _beside(longer, units)) for above, longer in rates.tiers),
        services={tier: _beside(served, units) for tier, served in rates.services.items()},
    )


def _services(model: ModelInfo, now: datetime, standard: Rates, name: str) -> dict[str, Rates]:
    services = {}
    for tier, contexts in _SERVICES.items():
        for context in contexts:
            rates = _with_tiers(model.get_prices(now, context), name)
            if rates is not None and rates != standard:
                services[tier] = rates
    return services


def _with_tiers(prices: ModelPrice, name: str) -> Rates | None:
    """None: the price of something is missing, of a model that is paid for by tokens."""
    if prices.input_mtok is None and prices.output_mtok is None:
        if _APIECE.isdisjoint(_said(prices)):
            return None
    elif prices.input_mtok is None or (
        prices.output_mtok is None and not _EMBEDS.search(name.lower())
    ):
        return None
    starts = {
        tier.start for price in _said(prices).values() for tier in getattr(price, "tiers", ())
    }
    longer = tuple((start, _flat(prices, start)) for start in sorted(starts))
    return replace(_flat(prices, None), tiers=longer)


def _flat(prices: ModelPrice, above: int | None) -> Rates:
    """The rates of contexts of more than `above` tokens; None: the base."""
    said = {key: _price(price, above) for key, price in _said(prices).items()}
    fresh = _rate(said.get("input_mtok"))
    reasoning = said.get("output_reasoning_mtok")
    return Rates(
        input=fresh,
        cached_input=_rate(said.get("cache_read_mtok"), fresh),
        cache_write=_rate(said.get("cache_write_mtok"), fresh),
        output=_rate(said.get("output_mtok")),
        reasoning=None if reasoning is None else _rate(reasoning),
        more={unit: _rate(said[key], unit=unit) for key, unit in UNITS.items() if key in said},
    )


def _said(prices: ModelPrice) -> dict[str, Any]:
    return {key: price for key, price in vars(prices).items() if price is not None}


def _price(price: Any, above: int | None) -> Decimal:
    """A price, or the one of its tiers that applies above so many tokens."""
    applies: Decimal = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if above is not None and tier.start <= above:
            applies = tier.price
    return applies


def _rate(usd: Decimal | None, default: int = 0, *, unit: MoreUnit | None = None) -> int:
    if usd is None:
        return default
    if unit == "milliseconds":
        usd /= _SECONDS_PER_HOUR
    per = UNITS_PER_PRICE.get(unit, 1_000_000) if unit else 1_000_000
    return rate_picodollars(
        usd.quantize(Decimal(per).scaleb(-12).normalize(), ROUND_HALF_EVEN), unit
    )


@lru_cache(maxsize=1_000)
def _index(base_url: str) -> _Index | None:
    # Half a second to import: only a start that asks pays for it.
    from genai_prices import data_snapshot

    snapshot = data_snapshot.get_snapshot()
    try:
        provider = snapshot.find_provider(None, None, base_url)
    except LookupError:
        return None
    return _Index(provider, snapshot.providers)


class _Index:
    """Finds what the library's own search does, the first model of a provider that matches, without
    asking each of up to a thousand."""

    def __init__(self, provider: Provider, providers: list[Provider]) -> None:
        from genai_prices.types import ClauseEquals

        self._provider, self._providers = provider, providers
        self._by_name: dict[str, int] = {}
        self._patterns: list[tuple[int, Any]] = []
        for position, model in enumerate(provider.models):
            for clause in _alternatives(model.match):
                if isinstance(clause, ClauseEquals):
                    self._by_name.setdefault(clause.equals.lower(), position)
                else:
                    self._patterns.append((position, clause))

    def lists(self, model: ModelInfo) -> bool:
        """Whether the provider itself does, not another whose models it offers: then what the
        other charges for its services is not what this one does."""
        return any(model is each for each in self._provider.models)

    def find(self, model: str) -> ModelInfo | None:
        """The model, by its own name or one that matches it."""
        name = model.lower()
        first = self._by_name.get(name, len(self._provider.models))
        for position, clause in self._patterns:
            if position >= first:
                break
            if clause.is_match(name):
                return self._provider.models[position]
        if first < len(self._provider.models):
            return self._provider.models[first]
        # Other providers' models, and dates in other spellings.
        return self._provider.find_model(name, all_providers=self._providers)


def _alternatives(clause: Any) -> Iterator[Any]:
    from genai_prices.types import ClauseOr

    if not isinstance(clause, ClauseOr):
        yield clause
        return
    for inner in clause.or_:
        yield from _alternatives(inner)
