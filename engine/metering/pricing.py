"""Rates and charges, in integers: picodollars a unit, nanodollars a charge, rounded once, down.

One US dollar per million tokens is 1,000,000 picodollars a token. What a unit costs may depend on
the length of the context (a tier is of all tokens of the request, not of those above it) and on the
service tier, or the quality and size of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import Final

from engine.metering.tiers import from_precise, may_be
from engine.usage import PART_OF, MoreUnit, Usage

PICODOLLARS_PER_NANODOLLAR = 1_000
NANODOLLARS_PER_DOLLAR = 1_000_000_000
RATE_MAX_PICODOLLARS = 10**10
"""Of a token: so dear that the largest usage a provider can report still is an amount a transfer
can have."""
_PIECE_MAX_PICODOLLARS = 10**15
"""Of a search, a request, an image: a thousand dollars."""
_PICODOLLARS_PER_DOLLAR = 10**12
_DIGITS_MAX = 15
"""Of whole dollars; more would not be multiplied exactly."""

UNITS_PER_PRICE: Final[Mapping[MoreUnit, int]] = MappingProxyType(
    {
        "web_searches": 1_000,
        "file_searches": 1_000,
        "requests": 1_000,
        "milliseconds": 1_000,
        "images": 1,
        "clips": 1,
        "code_sessions": 1,
        "megabyte_days": 1_024,
    }
)
"""How many of a unit a price is for: a thousand searches or requests, a second, an image, a clip, a
session, a gigabyte for a day; of what is not named here (tokens, characters) a million."""
_TOKENS_PER_PRICE: Final = 1_000_000
_ROUNDED: Final = frozenset[MoreUnit | None]({"megabyte_days"})
"""Units of which a price is for a number that is no power of ten: their rates are rounded down to a
picodollar, and shown to as many digits as that leaves."""
_ROUNDED_DIGITS: Final = 8

_NO_PIECES: Final[Mapping[MoreUnit, int]] = MappingProxyType({})
_INPUT_UNITS = tuple(unit for unit, whole in PART_OF.items() if whole != "output")
_OUTPUT_UNITS = tuple(unit for unit, whole in PART_OF.items() if whole == "output")


class PriceError(ValueError):
    """A price that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that a token of input, one of output, and all that is no token can cost,
    in picodollars."""

    input: int
    output: int
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """Picodollars a token, by unit. Reasoning is output unless it has a rate of its own.

    Attributes:
        more: of other units; one of `PART_OF` without a rate costs what it is a part of, any other
            nothing.
        tiers: rates of longer contexts, each from more than so many tokens of input, ascending.
        services: rates of service tiers other than the standard one, in `Begin`'s words, and of
            images of a quality and size, in those of `engine.metering.tiers`.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int | None = None
    more: Mapping[MoreUnit, int] = field(default_factory=dict, hash=False, kw_only=True)
    tiers: tuple[tuple[int, Rates], ...] = field(default=(), kw_only=True)
    services: Mapping[str, Rates] = field(default_factory=dict, hash=False, kw_only=True)
    _units: Mapping[str, int] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def reasoning_rate(self) -> int:
        """Picodollars a reasoning token."""
        return self.output if self.reasoning is None else self.reasoning

    def served(self, service_tier: str | None) -> Rates:
        """What applies to a tier in a short context: its own, else what says less of it, else the
        standard ones."""
        if service_tier and self.services:
            for word in from_precise(service_tier):
                if (found := self.services.get(word)) is not None:
                    return found
        return self

    def at(self, input_tokens: int, service_tier: str | None = None) -> Rates:
        """What applies to a request: its service tier, if it has rates of its own, and the tier of
        its context."""
        rates = self.served(service_tier)
        for above, longer in reversed(rates.tiers):
            if input_tokens > above:
                return longer
        return rates

    def ceiling(
        self,
        input_tokens: int,
        service_tier: str | None = None,
        pieces: Mapping[MoreUnit, int] = _NO_PIECES,
    ) -> Ceiling:
        """The dearest of all that can apply to so much input at most, served as asked or as
        standard; `pieces` are the units that are no tokens. Of an image the quality and the size
        that are not asked for can be any."""
        if not (self.tiers or self.services or self.more):
            return Ceiling(self.dearest_input, self.dearest_output)
        reachable = tuple(self._reachable(input_tokens, service_tier))
        return Ceiling(
            input=max(rates.dearest_input for rates in reachable),
            output=max(rates.dearest_output for rates in reachable),
            fixed=max(
                sum(rates.more.get(unit, 0) * count for unit, count in pieces.items())
                for rates in reachable
            ),
        )

    def _reachable(self, input_tokens: int, service_tier: str | None) -> Iterator[Rates]:
        tiers = [self, self.served(service_tier)]
        if service_tier:
            tiers += [rates for tier, rates in self.services.items() if may_be(service_tier, tier)]
        for rates in tiers:
            yield rates
            yield from (longer for above, longer in rates.tiers if input_tokens > above)

    @property
    def dearest_input(self) -> int:
        """The most that one token of input can cost, in a short context."""
        more = self._of(_INPUT_UNITS) if self.more else ()
        return max(self.input, self.cached_input, self.cache_write, *more)

    @property
    def dearest_output(self) -> int:
        """The most that one token of output can cost, in a short context."""
        more = self._of(_OUTPUT_UNITS) if self.more else ()
        return max(self.output, self.reasoning_rate, *more)

    def _of(self, units: tuple[MoreUnit, ...]) -> Iterator[int]:
        return (self.more.get(unit, 0) for unit in units)

    def times(self, markup: Decimal) -> Rates:
        """All rates times a markup, each rounded to a picodollar."""

        def marked_up(rate: int) -> int:
            return int((rate * markup).to_integral_value(ROUND_HALF_EVEN))

        return Rates(
            marked_up(self.input),
            marked_up(self.cached_input),
            marked_up(self.cache_write),
            marked_up(self.output),
            None if self.reasoning is None else marked_up(self.reasoning),
            more={unit: marked_up(rate) for unit, rate in self.more.items()},
            tiers=tuple((above, longer.times(markup)) for above, longer in self.tiers),
            services={tier: rates.times(markup) for tier, rates in self.services.items()},
        )

    def units(self) -> Mapping[str, int]:
        """Picodollars by unit, for receipts, which share it."""
        if self._units is not None:
            return self._units
        usual = {
            "input_tokens": self.input,
            "cached_input_tokens": self.cached_input,
            "cache_write_tokens": self.cache_write,
            "output_tokens": self.output,
            "reasoning_tokens": self.reasoning_rate,
        }
        units = usual | {str(unit): rate for unit, rate in self.more.items()}
        object.__setattr__(self, "_units", units)
        return units


FREE = Rates()


def rate_picodollars(usd: Decimal, unit: MoreUnit | None = None) -> int:
    """Picodollars a unit from dollars for as many as `UNITS_PER_PRICE` says; a million tokens.

    Raises:
        PriceError: negative, not finite, above the dearest there can be, or finer than a
            picodollar.
    """
    if not usd.is_finite() or usd < 0:
        raise PriceError(f"a price must be zero or more, not {usd}")
    if usd.adjusted() > _DIGITS_MAX:
        raise PriceError(f"{usd} is above any price")
    per = UNITS_PER_PRICE.get(unit, _TOKENS_PER_PRICE) if unit else _TOKENS_PER_PRICE
    rate = usd * (_PICODOLLARS_PER_DOLLAR // per)
    if unit in _ROUNDED:
        rate = rate.to_integral_value(ROUND_DOWN)
    if rate != rate.to_integral_value():
        raise PriceError(f"{usd} is finer than a millionth of a dollar per million")
    if per == _TOKENS_PER_PRICE and rate > RATE_MAX_PICODOLLARS:
        raise PriceError(f"{usd} is above 10000 dollars per million tokens")
    if rate > _PIECE_MAX_PICODOLLARS:
        raise PriceError(f"{usd} is above 1000 dollars apiece")
    return int(rate)


def usd_of(rate_picodollars: int, unit: MoreUnit | None = None) -> str:
    """The reverse: dollars for as many as `UNITS_PER_PRICE` says; a million tokens.

    >>> usd_of(1_250_000), usd_of(6 * 10**6, "milliseconds")
    ('1.25', '0.006')
    """
    per = UNITS_PER_PRICE.get(unit, _TOKENS_PER_PRICE) if unit else _TOKENS_PER_PRICE
    usd = Decimal(rate_picodollars * per).scaleb(-12)
    if unit in _ROUNDED:
        usd = round(usd, _ROUNDED_DIGITS)
    return f"{usd.normalize():f}" if usd else "0"


def usd_per_million(rate_picodollars: int) -> str:
    """A rate of tokens in dollars per million: a picodollar a token is a millionth of a dollar."""
    return usd_of(rate_picodollars)


def charge_nanodollars(usage: Usage, rates: Rates, service_tier: str | None = None) -> int:
    """What a usage costs, rounded down once: a fraction of a nanodollar is the client's."""
    return charge_picodollars(usage, rates, service_tier) // PICODOLLARS_PER_NANODOLLAR


def charge_picodollars(usage: Usage, rates: Rates, service_tier: str | None = None) -> int:
    """The same, not rounded: for sums of many."""
    rates = rates.at(usage.input_tokens, service_tier)
    fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    picodollars = (
        fresh * rates.input
        + usage.cached_input_tokens * rates.cached_input
        + usage.cache_write_tokens * rates.cache_write
        + (usage.output_tokens - usage.reasoning_tokens) * rates.output
        + usage.reasoning_tokens * (rates.output if rates.reasoning is None else rates.reasoning)
    )
    for unit in usage.more:
        count = usage.more[unit]
        rate = rates.more.get(unit)
        if rate is not None:
            whole = PART_OF.get(unit)  # which was charged for it above
            picodollars += count * (rate - (getattr(rates, whole) if whole else 0))
    return picodollars


def bound_nanodollars(input_tokens: int, output_tokens: int, ceiling: Ceiling) -> int:
    """The most that so many tokens can cost, rounded up, with all that is no token."""
    return -(
        -_bound_picodollars(input_tokens, output_tokens, ceiling) // PICODOLLARS_PER_NANODOLLAR
    )


def extension_nanodollars(output_tokens: int, ceiling: Ceiling) -> int:
    """The most that so many further tokens of output can cost, rounded up."""
    return -(-output_tokens * ceiling.output // PICODOLLARS_PER_NANODOLLAR)


def affordable_output_tokens(nanodollars: int, input_tokens: int, ceiling: Ceiling) -> int:
    """How many output tokens a sum covers beside `input_tokens`; 0 if not even the input."""
    left = nanodollars * PICODOLLARS_PER_NANODOLLAR - _bound_picodollars(input_tokens, 0, ceiling)
    if left < 0 or ceiling.output == 0:
        return 0
    return left // ceiling.output


def _bound_picodollars(input_tokens: int, output_tokens: int, ceiling: Ceiling) -> int:
    return input_tokens * ceiling.input + output_tokens * ceiling.output + ceiling.fixed
