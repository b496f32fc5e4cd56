"""What the end of a job comes to: units, price, cost and the receipt. Pure, integers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.events import Outcome, Provenance
from engine.job import JobError
from engine.ledger.job_rows import JobTerms
from engine.ledger.receipts import Attempt, Receipt, ReceiptError
from engine.ledger.records import AttemptRow, CostLine
from engine.usage import MoreUnit

_PICODOLLARS_PER_NANODOLLAR = 1_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What was consumed, how that is known, and what it comes to for the customer and the house."""

    units: Mapping[MoreUnit, int]
    provenance: Mapping[MoreUnit, Provenance]
    price_nanodollars: int
    cost_nanodollars: int


NOTHING = Figures({}, {}, 0, 0)


def figures_of(terms: JobTerms, reported: Mapping[MoreUnit, int]) -> Figures:
    """What a success comes to. Of a unit that the provider reports so much, but no more than was
    held for; else what was asked for. What no terms were made of is not charged."""
    units: dict[MoreUnit, int] = {}
    provenance: dict[MoreUnit, Provenance] = {}
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


def _nanodollars(units: Mapping[MoreUnit, int], rates: Mapping[str, int]) -> int:
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
    hows = {str(unit): how for unit, how in figures.provenance.items()}
    weakest = None
    if hows:
        weakest = Provenance.FLAT if Provenance.FLAT in hows.values() else Provenance.REPORTED
    return receipt.replace(
        outcome=outcome,
        state="settled",
        attempts=attempts,
        usage={str(unit): count for unit, count in figures.units.items()},
        provenance=weakest,
        usage_provenance=hows,
        price_nanodollars=figures.price_nanodollars,
        cost_nanodollars=sum(each.cost_nanodollars for each in attempts),
        flags=(*receipt.flags, *flags),
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
        usage={str(unit): count for unit, count in figures.units.items()},
        usage_provenance={str(unit): how for unit, how in figures.provenance.items()},
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
