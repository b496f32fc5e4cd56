"""The price library: list prices and context windows of some 2,300 models, as data in its wheel.

No network. Its windows are rounded now and then (1,000,000 for 1,048,576), so a table of ours that
knows better goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine.metering.pricing import PriceError, Rates, rate_picodollars

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_PICODOLLAR = Decimal("0.000001")
"""A token, as dollars per million tokens."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What the library knows of a model at a provider; None is unknown."""

    rates: Rates | None
    context_window_tokens: int | None


def look_up(base_url: str, model: str, now: datetime) -> ListedModel | None:
    """A model as the library lists it; None if it does not, or does not know this provider.

    Prices that depend on the length of the context are taken at their base; one that is finer than
    a picodollar a token is rounded to it.
    """
    if not base_url.startswith("https://"):  # a host of one's own: none of the library's
        return None
    index = _index(base_url)
    found = None if index is None else index.find(model)
    if found is None:
        return None
    return ListedModel(_rates(found, now), found.context_window)


def _rates(model: ModelInfo, now: datetime) -> Rates | None:
    prices = model.get_prices(now)
    if prices.input_mtok is None or prices.output_mtok is None:
        return None
    try:
        fresh = _rate(prices.input_mtok)
        return Rates(
            input=fresh,
            cached_input=_rate(prices.cache_read_mtok, fresh),
            cache_write=_rate(prices.cache_write_mtok, fresh),
            output=_rate(prices.output_mtok),
        )
    except PriceError:  # dearer than can be billed
        return None


def _rate(price: Any, default: int = 0) -> int:
    usd_per_million = getattr(price, "base", price)
    if usd_per_million is None:
        return default
    return rate_picodollars(Decimal(usd_per_million).quantize(_PICODOLLAR, ROUND_HALF_EVEN))


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
