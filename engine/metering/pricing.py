"""Rates and charges, in integers: picodollars a unit, nanodollars a charge, rounded once, down.

One US dollar per million tokens is 1,000,000 picodollars a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.events import Usage

PICODOLLARS_PER_NANODOLLAR = 1_000
NANODOLLARS_PER_DOLLAR = 1_000_000_000
RATE_MAX_PICODOLLARS = 10**10
"""So dear that the largest usage a provider can report still is an amount a transfer can have."""
_PICODOLLARS_PER_TOKEN_AT_ONE_DOLLAR_PER_MILLION = 1_000_000


class PriceError(ValueError):
    """A price that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Picodollars a token, by unit. Reasoning is output unless it has a rate of its own."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int | None = None

    @property
    def reasoning_rate(self) -> int:
        """Picodollars a reasoning token."""
        return self.output if self.reasoning is None else self.reasoning

    @property
    def dearest_input(self) -> int:
        """The most that one token of input can cost."""
        return max(self.input, self.cached_input, self.cache_write)

    @property
    def dearest_output(self) -> int:
        """The most that one token of output can cost."""
        return max(self.output, self.reasoning_rate)

    def units(self) -> dict[str, int]:
        """Picodollars by unit, for the receipt."""
        return {
            "input_tokens": self.input,
            "cached_input_tokens": self.cached_input,
            "cache_write_tokens": self.cache_write,
            "output_tokens": self.output,
            "reasoning_tokens": self.reasoning_rate,
        }


FREE = Rates()


def rate_picodollars(usd_per_million: Decimal) -> int:
    """Picodollars a token from dollars per million tokens.

    Raises:
        PriceError: negative, not finite, above `RATE_MAX_PICODOLLARS`, or finer than a picodollar.
    """
    if not usd_per_million.is_finite() or usd_per_million < 0:
        raise PriceError(f"a price must be zero or more, not {usd_per_million}")
    rate = usd_per_million * _PICODOLLARS_PER_TOKEN_AT_ONE_DOLLAR_PER_MILLION
    if rate != rate.to_integral_value():
        raise PriceError(f"{usd_per_million} is finer than a millionth of a dollar per million")
    if rate > RATE_MAX_PICODOLLARS:
        raise PriceError(f"{usd_per_million} is above 10000 dollars per million tokens")
    return int(rate)


def usd_per_million(rate_picodollars: int) -> str:
    """The reverse, exact: a picodollar a token is a millionth of a dollar per million tokens.

    >>> usd_per_million(1_250_000)
    '1.25'
    """
    whole, fraction = divmod(rate_picodollars, _PICODOLLARS_PER_TOKEN_AT_ONE_DOLLAR_PER_MILLION)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")


def charge_nanodollars(usage: Usage, rates: Rates) -> int:
    """What a usage costs, rounded down once: a fraction of a nanodollar is the client's."""
    fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    picodollars = (
        fresh * rates.input
        + usage.cached_input_tokens * rates.cached_input
        + usage.cache_write_tokens * rates.cache_write
        + (usage.output_tokens - usage.reasoning_tokens) * rates.output
        + usage.reasoning_tokens * rates.reasoning_rate
    )
    return picodollars // PICODOLLARS_PER_NANODOLLAR


def bound_nanodollars(input_tokens: int, output_tokens: int, rates: Rates) -> int:
    """The most that so many tokens can cost, rounded up."""
    picodollars = input_tokens * rates.dearest_input + output_tokens * rates.dearest_output
    return -(-picodollars // PICODOLLARS_PER_NANODOLLAR)


def affordable_output_tokens(nanodollars: int, input_tokens: int, rates: Rates) -> int:
    """How many output tokens a sum covers beside `input_tokens`; 0 if not even the input."""
    left = nanodollars * PICODOLLARS_PER_NANODOLLAR - input_tokens * rates.dearest_input
    if left < 0 or rates.dearest_output == 0:
        return 0
    return left // rates.dearest_output
