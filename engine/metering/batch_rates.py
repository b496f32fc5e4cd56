"""What the requests of a batch cost, and what many of them come to together."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engine.metering.pricing import (
    FREE,
    PICODOLLARS_PER_NANODOLLAR,
    Rates,
    charge_picodollars,
)
from engine.usage import Usage

BATCH: Final = "batch"
"""The service tier, in the words of `Rates.services`."""


def batch_rates(rates: Rates) -> Rates | None:
    """What applies to each of the requests, and nothing else does: a provider serves them all so.
    None: nobody says what a batch costs, and it is not free.

    >>> batch_rates(Rates(input=2, output=8)) is None
    True
    """
    found = rates.services.get(BATCH)
    if found is None:
        return FREE if rates == FREE else None
    return replace(found, services={})


def up_to(rates: Rates, longest_input_tokens: int) -> Rates:
    """The rates of requests that are no longer than that: all of them together are."""
    tiers = tuple((above, each) for above, each in rates.tiers if above < longest_input_tokens)
    return replace(rates, tiers=tiers)


class BatchSum:
    """What the requests of a batch have come to: each is priced by itself, the whole rounded down
    once."""

    def __init__(self, price: Rates, cost: Rates) -> None:
        self._price = price
        self._cost = cost
        self._price_picodollars = self._cost_picodollars = 0
        self.usage = Usage()
        self.charged = 0
        """How many requests."""

    def add(self, usage: Usage) -> None:
        """One more request has consumed this."""
        self.charged += 1
        self.usage = self.usage.plus(usage)
        self._price_picodollars += charge_picodollars(usage, self._price)
        self._cost_picodollars += charge_picodollars(usage, self._cost)

    def join(self, other: BatchSum) -> None:
        """All of another one, at the same rates, too."""
        self.charged += other.charged
        self.usage = self.usage.plus(other.usage)
        self._price_picodollars += other._price_picodollars
        self._cost_picodollars += other._cost_picodollars

    @property
    def price_nanodollars(self) -> int:
        """What the customer pays."""
        return self._price_picodollars // PICODOLLARS_PER_NANODOLLAR

    @property
    def cost_nanodollars(self) -> int:
        """What the house pays."""
        return self._cost_picodollars // PICODOLLARS_PER_NANODOLLAR
