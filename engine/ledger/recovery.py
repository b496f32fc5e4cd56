"""What nobody ends any more: holds that a process that died left behind, at the next start, and
holds whose settlement the database has refused, at once.

Each is posted at its last durable progress, never above the hold; without progress it is voided.
The customer is never charged for more than was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from engine.events import Outcome, Provenance
from engine.job import JobError
from engine.ledger.entries import Ended, HoldEnd, Rejected
from engine.ledger.job_rows import JobRecord
from engine.ledger.receipts import Attempt, Receipt, ReceiptError
from engine.ledger.records import AttemptFigures, AttemptRow, CostLine, ProgressEntry
from engine.ledger.sqlite import Store
from engine.ledger.transfers import settlement, within_hold

_OPEN_HOLDS = """
SELECT holds.seq, holds.request_id, holds.account_id, holds.opening,
       (SELECT job_id FROM jobs WHERE jobs.request_id = holds.request_id) AS job_id,
       (SELECT sum(amount) FROM hold_records WHERE hold_records.request_id = holds.request_id)
FROM holds
WHERE holds.seq >= (SELECT value FROM meta WHERE name = 'open_from')
  AND NOT EXISTS (
    SELECT 1 FROM hold_records AS ended
    WHERE ended.request_id = holds.request_id AND ended.kind IN ('posted', 'voided', 'expired')
  )
  AND (:request_id IS NULL OR holds.request_id = :request_id)
ORDER BY holds.seq
"""

_GENERATED = ("output_tokens", "images", "characters", "milliseconds")
"""What an attempt has that the customer got something of: text, images, speech, a transcript."""

_ERROR = ReceiptError("gateway_failed", "The gateway stopped before this request had ended.")
_REFUSED = ReceiptError("record_refused", "The gateway could not record how this request ended.")


@dataclass(frozen=True, slots=True)
class OrphanHold:
    """A hold that no process will end any more."""

    account_id: str
    held_nanodollars: int
    opening: Receipt
    attempts: tuple[AttemptRow, ...]
    """In the order of their numbers."""
    progress: ProgressEntry | None
    job_id: str | None = None
    """Of the job that it was held for."""


def recovered(
    orphan: OrphanHold,
    at_ms: int,
    *,
    error: ReceiptError = _ERROR,
    end: HoldEnd | None = None,
) -> Ended:
    """How an orphan ends: by default posted, or voided without progress. Pure."""
    opening, progress = orphan.opening, orphan.progress
    serving = _serving(orphan)
    receipt = opening.replace(
        outcome=Outcome.GATEWAY_FAILED,
        state="settled",
        provenance=Provenance.RECOVERED,
        durability="durable",
        error=error,
        attempts=tuple(_attempts(orphan, serving)),
        **_served_by(serving, orphan),
    )
    if progress is None:
        job = _failed(orphan.job_id, error, at_ms)
        return Ended(opening.request_id, end or "voided", 0, (), receipt, at_ms, job=job)
    posted, overrun = within_hold(progress.charge_nanodollars, 0, orphan.held_nanodollars)
    transfers = settlement(
        orphan.account_id,
        opening.request_id,
        posted_nanodollars=posted,
        overrun_nanodollars=overrun,
        costs=progress.costs,
        reason=end or "recovered",
    )
    receipt = receipt.replace(
        usage=progress.usage,
        received_output_tokens=progress.received_output_tokens,
        delivered_output_tokens=progress.delivered_output_tokens,
        price_nanodollars=posted,
        overrun_nanodollars=overrun,
        cost_nanodollars=sum(cost.amount_nanodollars for cost in progress.costs),
    )
    return Ended(opening.request_id, end or "posted", posted, transfers, receipt, at_ms)


def _failed(job_id: str | None, error: ReceiptError, at_ms: int) -> JobRecord | None:
    """What the job of an orphan closes with, if it had one. It is answered in one piece: nothing
    of it is ever in progress."""
    if job_id is None:
        return None
    return JobRecord(job_id, "failed", at_ms, JobError(error.code, error.message), closed=True)


def _serving(orphan: OrphanHold) -> AttemptRow | None:
    """The attempt whose answer the client got last; without progress, the last one."""
    rows, progress = orphan.attempts, orphan.progress
    number = 0 if progress is None else progress.number
    named = (row for row in rows if row.number == number)
    return next(named, rows[-1] if rows else None)


def _served_by(serving: AttemptRow | None, orphan: OrphanHold) -> dict[str, Any]:
    """What the opening receipt says of the first attempt, of the one that served. Rates were only
    known to the process that died."""
    route = orphan.opening.route
    if serving is None:
        return {}
    changes: dict[str, Any] = {
        "provider": serving.provider,
        "model_used": serving.upstream_model,
        "route": None if route is None else route.through(orphan.attempts, serving),
    }
    if serving.path != orphan.attempts[0].path:
        changes["cost_rates_picodollars"] = {}
    if route is not None and serving.model not in ("", route.served):
        changes["rates_picodollars"] = {}
    return changes


def _attempts(orphan: OrphanHold, serving: AttemptRow | None) -> Iterator[Attempt]:
    """All attempts; the serving one has what the others have left of the progress."""
    progress = orphan.progress
    ended = {} if progress is None else {each.number: each for each in progress.ended}
    for row in orphan.attempts:
        attempt = Attempt(
            row.number,
            row.provider,
            row.upstream_model,
            outcome=str(Outcome.GATEWAY_FAILED),
            role=row.role,
        )
        figures = ended.get(row.number)
        if figures is None and progress is not None and row is serving:
            figures = _left(progress)
        if figures is not None:
            attempt = replace(
                attempt,
                won=figures.won,
                usage=figures.usage,
                usage_provenance=dict.fromkeys(figures.usage, Provenance.RECOVERED),
                price_nanodollars=figures.price_nanodollars,
                cost_nanodollars=figures.cost_nanodollars,
            )
        yield attempt


def _left(progress: ProgressEntry) -> AttemptFigures:
    """What of the totals is of no attempt that has ended: of the answer, and of all costs."""
    costs = sum(cost.amount_nanodollars for cost in progress.costs)
    usage, charge = dict(progress.usage), progress.charge_nanodollars
    for each in progress.ended:
        costs -= each.cost_nanodollars
        if each.won:
            charge -= each.price_nanodollars
            for unit, count in each.usage.items():
                usage[unit] = usage.get(unit, 0) - count
    has_output = any(usage.get(unit, 0) > 0 for unit in _GENERATED)
    return AttemptFigures(progress.number, usage, max(0, charge), costs, won=has_output)


def recover(store: Store, group_max_records: int) -> int:
    """End every orphan in the database, durably, in groups; returns how many there were. What is
    held for a job is none, once a provider has been asked for that.

    May be interrupted anywhere: what is left is found again at the next start.
    """
    at_ms = store.clock()
    sequence = store.sequence
    orphans = list(_orphans(store))
    for start in range(0, len(orphans), group_max_records):
        group = []
        for orphan in orphans[start : start + group_max_records]:
            sequence += 1
            group.append((sequence, recovered(orphan, at_ms)))
        store.commit(group)
    return len(orphans)


def end_refused(store: Store, rejected: Rejected) -> None:
    """End, without a charge, the hold whose settlement was refused: the books have released it.

    All of the receipt comes from what the database took before. May be done twice.
    """
    if not isinstance(rejected.entry, Ended):
        return
    at_ms = store.clock()
    rows = store.connection.execute(_OPEN_HOLDS, {"request_id": rejected.entry.request_id})
    for _, request_id, account_id, opening, job_id, held in rows.fetchall():
        orphan = _orphan(store, request_id, account_id, opening, held, None, job_id)
        store.commit([(rejected.seq, recovered(orphan, at_ms, error=_REFUSED))])
    store.note_committed([(rejected.seq, rejected.entry)])


def _orphans(store: Store) -> Iterator[OrphanHold]:
    last_progress = _last_progress(store)
    rows = store.connection.execute(_OPEN_HOLDS, {"request_id": None})
    for seq, request_id, account_id, opening, job_id, held in rows.fetchall():
        progress_seq, progress = last_progress.get(request_id, (None, None))
        store.open_holds.adopt(request_id, seq, progress_seq)
        orphan = _orphan(store, request_id, account_id, opening, held, progress, job_id)
        if job_id is None or not orphan.attempts:
            yield orphan


def _orphan(
    store: Store,
    request_id: str,
    account_id: str,
    opening: str,
    held_nanodollars: int,
    progress: ProgressEntry | None,
    job_id: str | None,
) -> OrphanHold:
    attempts = store.connection.execute(
        "SELECT number, provider, upstream_model, at_ms, role, model FROM attempts"
        " WHERE request_id = ? ORDER BY number",
        (request_id,),
    )
    return OrphanHold(
        account_id=account_id,
        held_nanodollars=held_nanodollars,
        opening=Receipt.from_json(orjson.loads(opening)),
        attempts=tuple(AttemptRow(*row) for row in attempts),
        progress=progress,
        job_id=job_id,
    )


def _last_progress(store: Store) -> dict[str, tuple[int, ProgressEntry]]:
    """For each request the last progress record that names it, and where that is."""
    last: dict[str, tuple[int, ProgressEntry]] = {}
    for seq, entries in store.connection.execute("SELECT seq, entries FROM progress ORDER BY seq"):
        for value in orjson.loads(entries):
            last[value["id"]] = (seq, _progress_entry(value))
    return last


def _progress_entry(value: dict[str, Any]) -> ProgressEntry:
    """The inverse of `groups.progress_json`."""
    return ProgressEntry(
        request_id=value["id"],
        usage=value["usage"],
        charge_nanodollars=value["charge"],
        received_output_tokens=value["received"],
        delivered_output_tokens=value["delivered"],
        costs=tuple(CostLine(provider, amount) for provider, amount in value["costs"]),
        number=value.get("number", 0),
        ended=tuple(AttemptFigures(*figures) for figures in value.get("ended", ())),
    )
