"""How much to hold for a call, when to extend it, and what it finally costs. Pure.

The input is bounded by bytes: a token is at least one byte, and no tokenizer runs at admission.
Output is covered a slice at a time, so that a long `max_tokens` does not lock a balance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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


def wanted_tokens(
    *,
    max_output_tokens: int | None,
    choices: int,
    stream: bool,
    unseen_tokens: int | None,
    settings: BillingConfig,
) -> int:
    """How much output is covered before it is asked for, of all choices."""
    if unseen_tokens is not None:
        return unseen_tokens
    if not stream:
        if max_output_tokens is None:
            max_output_tokens = settings.output_unary_tokens
        return max_output_tokens * choices
    if max_output_tokens is not None:
        return min(settings.output_slice_tokens, max_output_tokens * choices)
    return settings.output_slice_tokens


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
    lowerable: bool = True,
) -> FirstSlice:
    """Size the first hold.

    A stream can be extended, or cut when funds end; an answer in one piece can be neither, so all
    that it may generate is held at once. So is what a stream may generate where some of it is not
    seen before it is reported (`unseen_tokens`, of all choices). What is not `lowerable` cannot be
    asked to be shorter.

    Raises:
        InsufficientFundsError: not even a useful minimum of output is covered.
    """
    wanted = wanted_tokens(
        max_output_tokens=max_output_tokens,
        choices=choices,
        stream=stream,
        unseen_tokens=unseen_tokens,
        settings=settings,
    )
    amount = bound_nanodollars(input_bound_tokens, wanted, ceiling)
    if amount <= available_nanodollars:
        return FirstSlice(amount, wanted if ceiling.output else None, None)
    covered = affordable_output_tokens(available_nanodollars, input_bound_tokens, ceiling)
    each = covered // choices
    if not lowerable or not wanted or each < min(settings.output_min_tokens, wanted):
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
    billed: bool = False
    """The customer pays for it, be it nothing at the price of it."""

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
    return Bill(measured, measured.weakest, charge, provider_cost, billed)


def on_the_house(bill: Bill) -> Bill:
    """The same where nobody is asked to pay for it."""
    return replace(bill, charge_nanodollars=0, billed=False)


def together(earlier: Sequence[Bill], last: Bill) -> Bill:
    """What an answer comes to that several attempts have written, one after another.

    Each is charged by its own rules; what the last one consumed is of the answer only where it is
    billed. `cost_nanodollars` are of all of them.
    """
    if not earlier:
        return last
    parts = [*earlier, last] if last.billed else list(earlier)
    usage, provenance = Usage(), dict[str, Provenance]()
    for part in parts:
        usage = usage.plus(part.usage)
        for unit, how in part.measured.provenance.items():
            if provenance.get(unit) is not Provenance.COUNTED:
                provenance[unit] = how
    flags = dict.fromkeys(flag for part in parts for flag in part.measured.flags)
    measured = Measured(usage, provenance, tuple(flags), parts[-1].measured.service_tier)
    waived = last.provenance is Provenance.FLAT
    return Bill(
        measured,
        Provenance.FLAT if waived else measured.weakest,
        sum(part.charge_nanodollars for part in parts),
        sum(part.cost_nanodollars for part in (*earlier, last)),
        billed=True,
    )
