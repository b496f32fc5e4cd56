"""How much to hold for a call, when to extend it, and what it finally costs. Pure.

The input is bounded by bytes: a token is at least one byte, and no tokenizer runs at admission.
Output is covered a slice at a time, so that a long `max_tokens` does not lock a balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.config import BillingConfig
from engine.errors import InsufficientFundsError
from engine.events import Outcome, Provenance, Usage
from engine.metering.pricing import (
    Ceiling,
    Rates,
    affordable_output_tokens,
    bound_nanodollars,
    charge_nanodollars,
)


@dataclass(frozen=True, slots=True)
class FirstSlice:
    """What to hold before dispatch.

    Attributes:
        amount_nanodollars: the hold.
        covered_tokens: the output it covers; None where output is free.
        lowered_limit: what each choice must be limited to, where funds cover less than a slice.
    """

    amount_nanodollars: int
    covered_tokens: int | None
    lowered_limit: int | None


def first_slice(
    *,
    input_bound_tokens: int,
    max_output_tokens: int | None,
    choices: int,
    stream: bool,
    unseen_tokens: int | None,
    ceiling: Ceiling,
    available_nanodollars: int,
    settings: BillingConfig,
) -> FirstSlice:
    """Size the first hold.

    A stream can be extended, or cut when funds end; an answer in one piece can be neither, so all
    that it may generate is held at once. So is what a stream may generate where some of it is not
    seen before it is reported (`unseen_tokens`, of all choices).

    Raises:
        InsufficientFundsError: not even a useful minimum of output is covered.
    """
    if unseen_tokens is not None:
        wanted = unseen_tokens
    elif not stream:
        wanted = (max_output_tokens or settings.output_unary_tokens) * choices
    elif max_output_tokens is not None:
        wanted = min(settings.output_slice_tokens, max_output_tokens * choices)
    else:
        wanted = settings.output_slice_tokens
    amount = bound_nanodollars(input_bound_tokens, wanted, ceiling)
    if amount <= available_nanodollars:
        return FirstSlice(amount, wanted if ceiling.output else None, None)
    covered = affordable_output_tokens(available_nanodollars, input_bound_tokens, ceiling)
    each = covered // choices
    if each < min(settings.output_min_tokens, wanted):
        raise InsufficientFundsError(
            "Your balance does not cover this request. Add funds, send a shorter prompt, or ask "
            "for less output."
        )
    covered = each * choices
    return FirstSlice(bound_nanodollars(input_bound_tokens, covered, ceiling), covered, each)


def extension_due(covered_tokens: int, known_tokens: int, slice_tokens: int) -> bool:
    """Whether three quarters of the slice in use are spent."""
    return known_tokens >= covered_tokens - slice_tokens // 4


@dataclass(frozen=True, slots=True)
class Measured:
    """What was consumed, how each unit of it is known, and what was odd about the figures."""

    usage: Usage
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    service_tier: str | None = None
    """How it was served, in `Begin`'s words."""

    @property
    def weakest(self) -> Provenance:
        """How the usage as a whole is known."""
        words = self.provenance.values()
        if not words or Provenance.COUNTED in words:
            return Provenance.COUNTED
        return next(iter(words))


@dataclass(frozen=True, slots=True)
class Bill:
    """What an exchange comes to, before it is held against its hold."""

    measured: Measured
    provenance: Provenance | None
    charge_nanodollars: int
    cost_nanodollars: int
    """What the provider charges the operator for it."""

    @property
    def usage(self) -> Usage:
        """What was consumed."""
        return self.measured.usage


NOTHING = Bill(Measured(Usage()), None, 0, 0)


def make_bill(
    outcome: Outcome,
    measured: Measured,
    *,
    answered: bool,
    has_output: bool,
    unary: bool,
    waive: bool,
    price: Rates,
    cost: Rates,
) -> Bill:
    """Who pays what, by how it ended.

    `answered` means that the provider has accepted the request (status 200): before that it is not
    known to have cost anything.
    """
    if not answered:
        return NOTHING
    usage = measured.usage
    provider_cost = charge_nanodollars(usage, cost, measured.service_tier)
    match outcome:
        case Outcome.COMPLETED | Outcome.FUNDS_EXHAUSTED:
            billed = True
        case Outcome.CLIENT_LEFT if waive:
            return Bill(measured, Provenance.FLAT, 0, provider_cost)
        case Outcome.CLIENT_LEFT | Outcome.DEADLINE | Outcome.SHUTDOWN:
            billed = not unary
        case Outcome.UPSTREAM_FAILED:
            billed = has_output and not unary
        case _:
            billed = False
    charge = charge_nanodollars(usage, price, measured.service_tier) if billed else 0
    return Bill(measured, measured.weakest, charge, provider_cost)
