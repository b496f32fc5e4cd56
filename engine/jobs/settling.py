"""What the end of a job comes to: units, price, cost and the receipt. Pure, integers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.events import Outcome, Provenance
from engine.job import JobError, JobReport, JobSum
from engine.ledger.job_rows import JobTerms
from engine.ledger.receipts import Attempt, Receipt, ReceiptError
from engine.ledger.records import AttemptRow, CostLine
from engine.metering.pricing import charge_nanodollars
from engine.metering.rates_json import read_rates
from engine.usage import MoreUnit, Usage

_PICODOLLARS_PER_NANODOLLAR = 1_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What was consumed, how that is known, and what it comes to for the customer and the house.

    Attributes:
        service_tier: how it was served, where that is known.
        rates, cost_rates: picodollars a unit, of what is charged by all of its rates.
        flags: for the receipt.
    """

    units: Mapping[str, int]
    provenance: Mapping[str, Provenance]
    price_nanodollars: int
    cost_nanodollars: int
    service_tier: str | None = None
    rates: Mapping[str, int] = field(default_factory=dict)
    cost_rates: Mapping[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


NOTHING = Figures({}, {}, 0, 0)


def owed_of(terms: JobTerms, report: JobReport) -> Figures:
    """What the end of a job comes to. What is charged as an answer is, is charged by what its
    provider reports of it, however it has ended; what is charged by its units, only a success."""
    if report.usage is not None and terms.price is not None and terms.cost is not None:
        more = {**terms.units, **report.usage.more}
        usage = replace(report.usage, more=more) if terms.units else report.usage
        return _figures_by_rates(terms.price, terms.cost, terms.service_tier, report, usage)
    if report.state == "succeeded":
        return replace(figures_of(terms, report.units), flags=report.flags)
    return replace(NOTHING, flags=report.flags)


def _figures_by_rates(
    price: Mapping[str, Any],
    cost: Mapping[str, Any],
    asked_tier: str | None,
    report: JobReport,
    usage: Usage,
) -> Figures:
    """As an exchange charges; a sum of many requests as it was summed."""
    price_rates, cost_rates = read_rates(price), read_rates(cost)
    tier, count = report.service_tier or asked_tier, usage.input_tokens
    units = {unit: count for unit, count in usage.units().items() if count}
    made = report.sum
    if made is None:
        made = JobSum(
            charge_nanodollars(usage, price_rates, tier),
            charge_nanodollars(usage, cost_rates, tier),
        )
    else:  # none of them needs to have been as long as all of them
        count = 0
    return Figures(
        units,
        dict.fromkeys(units, Provenance.REPORTED),
        made.price_nanodollars,
        made.cost_nanodollars,
        tier,
        price_rates.at(count, tier).units(),
        cost_rates.at(count, tier).units(),
        report.flags,
    )


def figures_of(terms: JobTerms, reported: Mapping[MoreUnit, int]) -> Figures:
    """What a success comes to. Of a unit that the provider reports so much, but no more than was
    held for; else what was asked for. What no terms were made of is not charged."""
    units: dict[str, int] = {}
    provenance: dict[str, Provenance] = {}
    for unit in dict.fromkeys((*terms.units, *terms.most)):
        asked, said = terms.units.get(unit, 0), reported.get(unit)
        if said is None:
            count, how = asked, Provenance.FLAT
        else:
            count, how = max(0, min(said, terms.most.get(unit, asked))), Provenance.REPORTED
        if count:
            units[unit], provenance[unit] = count, how
    return Figures(
        units,
        provenance,
        _nanodollars(units, terms.price_picodollars),
        _nanodollars(units, terms.cost_picodollars),
    )


def _nanodollars(units: Mapping[str, int], rates: Mapping[str, int]) -> int:
    """Rounded down once: a fraction of a nanodollar is the client's."""
    picodollars = sum(count * rates.get(unit, 0) for unit, count in units.items())
    return picodollars // _PICODOLLARS_PER_NANODOLLAR


def ended_receipt(
    receipt: Receipt,
    number: int,
    outcome: Outcome,
    at_ms: int,
    figures: Figures = NOTHING,
    error: JobError | None = None,
    flags: tuple[str, ...] = (),
) -> Receipt:
    """The receipt of a job that has ended so, from that of its exchange; the attempt `number` has
    made it. The ledger sets its amounts by what was held."""
    took_ms = float(max(0, at_ms - receipt.created_at_ms))
    attempts = tuple(
        _ended(each, outcome, figures if each.number == number else NOTHING, error, took_ms)
        if each.number == number or each.outcome == Outcome.RUNNING
        else each
        for each in receipt.attempts
    )
    hows = dict(figures.provenance)
    weakest = None
    if hows:
        weakest = Provenance.FLAT if Provenance.FLAT in hows.values() else Provenance.REPORTED
    return receipt.replace(
        outcome=outcome,
        state="settled",
        attempts=attempts,
        usage=dict(figures.units),
        provenance=weakest,
        usage_provenance=hows,
        service_tier=figures.service_tier or receipt.service_tier,
        rates_picodollars=figures.rates or receipt.rates_picodollars,
        cost_rates_picodollars=figures.cost_rates or receipt.cost_rates_picodollars,
        price_nanodollars=figures.price_nanodollars,
        cost_nanodollars=sum(each.cost_nanodollars for each in attempts),
        flags=tuple(dict.fromkeys((*receipt.flags, *flags, *figures.flags))),
        error=None if error is None else ReceiptError(error.code, error.message),
        timings=replace(receipt.timings, ended_ms=took_ms, settled_ms=took_ms),
    )


def _ended(
    attempt: Attempt, outcome: Outcome, figures: Figures, error: JobError | None, took_ms: float
) -> Attempt:
    return replace(
        attempt,
        outcome=str(outcome) if error is None else error.code,
        won=outcome is Outcome.COMPLETED,
        usage=dict(figures.units),
        usage_provenance=dict(figures.provenance),
        price_nanodollars=figures.price_nanodollars,
        cost_nanodollars=figures.cost_nanodollars,
        ended_ms=took_ms,
    )


def with_attempts(receipt: Receipt, rows: Sequence[AttemptRow]) -> Receipt:
    """An opening receipt with the attempts that there were: more of them is not known."""
    attempts = (Attempt(r.number, r.provider, r.upstream_model, role=r.role) for r in rows)
    return receipt.replace(attempts=tuple(attempts))


def served_by(receipt: Receipt, rows: Sequence[AttemptRow], number: int) -> Receipt:
    """The receipt of what this attempt serves, not the one that it was opened with."""
    row = next(row for row in rows if row.number == number)
    route = None if receipt.route is None else receipt.route.through(rows, row)
    return receipt.replace(provider=row.provider, model_used=row.upstream_model, route=route)


def costs_of(receipt: Receipt) -> list[CostLine]:
    """What all attempts cost."""
    return [
        CostLine(each.provider, each.cost_nanodollars)
        for each in receipt.attempts
        if each.cost_nanodollars
    ]
