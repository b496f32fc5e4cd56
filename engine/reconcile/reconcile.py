"""One report reconciled with one database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from engine.ledger.history import Selection, settled_exchanges
from engine.ledger.queries import paid_providers, posted_reconciliations
from engine.ledger.receipts import format_usd
from engine.ledger.records import ReconciliationLine
from engine.reconcile.compare import Item, Key, attempts_at, compare, conflicts
from engine.reconcile.lines import Report, ReportError


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Everything that was compared."""

    provider: str
    items: list[Item]
    conflicts: list[str]
    """Days that were posted by another grouping before, and must not be posted by this one."""
    postings: Mapping[Key, int]
    """How often each item was posted before."""

    @property
    def differing(self) -> list[Item]:
        return [item for item in self.items if item.differs]


def reconcile(database: Path, provider: str, report: Report) -> Reconciliation:
    """Compare a report with the attempts at a provider. Reads only, beside a server.

    Raises:
        ReportError: nothing was ever paid to this provider.
        LedgerError: a file of archived receipts cannot be read.
        UnavailableError: the database cannot be read now.
    """
    providers = paid_providers(database)
    if provider not in providers:
        known = ", ".join(providers) or "none yet"
        raise ReportError(f"nothing was ever paid to a provider '{provider}'; there are: {known}")
    posted: dict[Key, int] = {}
    postings: Counter[Key] = Counter()
    for reference, amount_nanodollars in posted_reconciliations(database, provider).items():
        key = _key_of(provider, reference)
        if key is not None:
            posted[key] = posted.get(key, 0) + amount_nanodollars
            postings[key] += 1
    exchanges = settled_exchanges(database, _selection(report))
    items = compare(report, attempts_at(provider, exchanges), posted)
    return Reconciliation(provider, items, conflicts(items, posted), postings)


def _selection(report: Report) -> Selection:
    """What may have attempts in the report's days: an exchange lasts a day at most. A provider may
    date a request by a day of another time zone; where it does not date one, that is any."""
    requests = [line for line in report.lines if line.request_id is not None]
    if not report.days or any(line.day is None for line in requests):
        return Selection()
    margin = timedelta(days=1 if requests else 0)
    first, last = min(report.days) - margin, max(report.days) + margin
    return Selection(_begin_ms(first - timedelta(days=1)), _begin_ms(last + timedelta(days=1)))


def _begin_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000


def lines_to_post(
    reconciliation: Reconciliation, file_name: str, sha256: str
) -> Sequence[ReconciliationLine]:
    """A transfer for each item whose amount differs.

    Which of an item's transfers it is makes it idempotent: of two that were compared with the same
    state, from whatever files, one is posted.
    """
    return [
        ReconciliationLine(
            amount_nanodollars=item.difference_nanodollars,
            reason=(
                f"{file_name} ({sha256[:16]}):"
                f" {' '.join(part for part in item.key[1:] if part) or 'no day'}:"
                f" ${format_usd(item.theirs.amount_nanodollars)}"
                f" against ${format_usd(item.ours.amount_nanodollars)}"
            ),
            reference="/".join(
                (reconciliation.provider, *item.key, str(reconciliation.postings.get(item.key, 0)))
            ),
        )
        for item in reconciliation.items
        if item.difference_nanodollars
    ]


def _key_of(provider: str, reference: str) -> Key | None:
    """The inverse of the reference that `lines_to_post` writes; None: that was not it."""
    item, _, _ = reference.removeprefix(f"{provider}/").rpartition("/")
    match item.split("/", 2):
        case [("day" | "model" | "request") as grouping, day, name]:
            return grouping, day, name
        case _:
            return None
