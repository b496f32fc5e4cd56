"""A provider's report against the attempts of settled exchanges: items that may differ. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, get_args

from engine.ledger.history import SettledExchange
from engine.reconcile.lines import Report, ReportLine

Grouping = Literal["day", "model", "request"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
Key = tuple[Grouping, str, str]
"""How an item was told apart; its day ('' if nobody says); its model, request id, or ''."""

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(slots=True)
class Figures:
    """One side of an item."""

    requests: int = 0
    amount_nanodollars: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """What we have and what the provider says, of a day's model, a day or a request."""

    key: Key
    ours: Figures
    """With what earlier reconciliations have posted."""
    theirs: Figures

    @property
    def difference_nanodollars(self) -> int:
        """What the provider charges more than we know; negative: less."""
        return self.theirs.amount_nanodollars - self.ours.amount_nanodollars

    @property
    def differs(self) -> bool:
        ours, theirs = self.ours, self.theirs
        return (ours.amount_nanodollars, ours.input_tokens, ours.output_tokens) != (
            theirs.amount_nanodollars,
            theirs.input_tokens,
            theirs.output_tokens,
        )


@dataclass(frozen=True, slots=True)
class OurAttempt:
    """An attempt at the provider that is reconciled."""

    day: date
    model: str
    request_id: str | None
    amount_nanodollars: int
    input_tokens: int
    output_tokens: int


def attempts_at(provider: str, exchanges: Iterable[SettledExchange]) -> Iterator[OurAttempt]:
    """The attempts at one provider."""
    for exchange in exchanges:
        attempts = exchange.receipt["attempts"]
        for attempt in attempts:
            if attempt["provider"] != provider:
                continue
            usage = attempt.get("usage")
            if usage is None:  # an old receipt, whose last attempt alone has consumed anything
                usage = exchange.receipt["usage"] if attempt is attempts[-1] else {}
            at_ms = exchange.attempted_at_ms[attempt["number"]]
            yield OurAttempt(
                day=datetime.fromtimestamp(at_ms / 1_000, UTC).date(),
                model=attempt["model"],
                request_id=attempt["provider_request_id"],
                amount_nanodollars=attempt["cost"]["nanodollars"],
                input_tokens=usage.get("input_tokens", 0),
                output_tokens=usage.get("output_tokens", 0),
            )


def compare(
    report: Report, attempts: Iterable[OurAttempt], posted: Mapping[Key, int]
) -> list[Item]:
    """Every item of the report and of our attempts in its days, in order.

    What the file says only of tokens is compared by tokens, of amounts by amounts. `posted` is
    what earlier reconciliations have added to our cost.
    """
    known = list(attempts)
    request_days = _request_days(report, known)
    named = {line.request_id for line in report.lines if line.request_id is not None}
    by_model = {line.day for line in report.lines if line.request_id is None and line.model}
    models = {attempt.model for attempt in known}
    sides: dict[Key, tuple[Figures, Figures]] = {}
    for attempt in known:
        name = attempt.request_id or ""
        if name in named or (named and attempt.day in report.days):
            key: Key = ("request", attempt.day.isoformat(), name)
        elif attempt.day not in report.days:
            continue
        else:
            key = _day_key(attempt.day, attempt.model, by_model)
        _add(_side(sides, key)[0], attempt, report)
    for line in report.lines:
        model = None if line.model is None else _our_name(line.model, models)
        if line.request_id is not None:
            key = ("request", request_days[line.request_id], line.request_id)
        elif named:  # a file goes by requests as a whole
            key = ("request", "" if line.day is None else line.day.isoformat(), "")
        else:
            key = _day_key(line.day, model, by_model)
        _add(_side(sides, key)[1], line, report)
    told = _told(report, named, by_model)
    for (grouping, day, name), amount_nanodollars in posted.items() if report.has_amounts else ():
        key = (grouping, request_days.get(name, day) if grouping == "request" else day, name)
        if key in sides or (grouping, day) in told:
            _side(sides, key)[0].amount_nanodollars += amount_nanodollars
    return [Item(key, *sides[key]) for key in sorted(sides)]


def conflicts(items: Iterable[Item], posted: Collection[Key]) -> list[str]:
    """Days that were reconciled before by another grouping: posting again would count twice."""
    before = {(day, grouping) for grouping, day, _ in posted if day}
    days = {
        day
        for grouping, day, _ in (item.key for item in items)
        for other in GROUPINGS
        if day and other != grouping and (day, other) in before
    }
    return sorted(days)


def _request_days(report: Report, attempts: Iterable[OurAttempt]) -> dict[str, str]:
    """The day of each request, as we know it, else as the report says."""
    days = {line.request_id: line.day for line in report.lines if line.request_id is not None}
    days |= {each.request_id: each.day for each in attempts if each.request_id is not None}
    return {name: "" if day is None else day.isoformat() for name, day in days.items()}


def _day_key(day: date | None, model: str | None, by_model: Collection[date | None]) -> Key:
    """On a day whose report tells models apart, what has no model is an item of its own."""
    text = "" if day is None else day.isoformat()
    return ("model", text, model or "") if day in by_model else ("day", text, "")


def _told(
    report: Report, named: Collection[str], by_model: Collection[date | None]
) -> set[tuple[Grouping, str]]:
    """The days of which a report says something also where it has no line, and by what."""
    told: set[tuple[Grouping, str]] = set()
    for each in report.days if report.lines else ():
        if named:
            told.add(("request", each.isoformat()))
        else:
            told.add(("model" if each in by_model else "day", each.isoformat()))
    return told


def _our_name(model: str, ours: Collection[str]) -> str:
    """Providers report snapshots (`gpt-5-2025-08-07`) of what we asked for (`gpt-5`)."""
    bare = _DATED.sub("", model)
    candidates = [model, bare, *sorted(name for name in ours if _DATED.sub("", name) == bare)]
    return next((name for name in candidates if name in ours), model)


def _side(sides: dict[Key, tuple[Figures, Figures]], key: Key) -> tuple[Figures, Figures]:
    return sides.setdefault(key, (Figures(), Figures()))


def _add(figures: Figures, each: OurAttempt | ReportLine, report: Report) -> None:
    figures.requests += 1
    if report.has_amounts:
        figures.amount_nanodollars += each.amount_nanodollars or 0
    if report.has_tokens:
        figures.input_tokens += each.input_tokens or 0
        figures.output_tokens += each.output_tokens or 0
