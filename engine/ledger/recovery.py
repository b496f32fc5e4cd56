"""What nobody ends any more: holds that a process that died left behind, at the next start, and
holds whose settlement the database has refused, at once.

Each is posted at its last durable progress, never above the hold; without progress it is voided.
The customer is never charged for more than was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from engine.events import Outcome, Provenance
from engine.ledger.entries import Ended, HoldEnd, Rejected
from engine.ledger.receipts import Attempt, Receipt, ReceiptError
from engine.ledger.records import CostLine, ProgressEntry
from engine.ledger.sqlite import Store
from engine.ledger.transfers import settlement, within_hold

_OPEN_HOLDS = """
SELECT holds.seq, holds.request_id, holds.account_id, holds.opening,
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

_ERROR = ReceiptError("gateway_failed", "The gateway stopped before this request had ended.")
_REFUSED = ReceiptError("record_refused", "The gateway could not record how this request ended.")


@dataclass(frozen=True, slots=True)
class OrphanHold:
    """A hold that no process will end any more."""

    account_id: str
    held_nanodollars: int
    opening: Receipt
    attempts: tuple[Attempt, ...]
    progress: ProgressEntry | None


def recovered(
    orphan: OrphanHold,
    at_ms: int,
    *,
    error: ReceiptError = _ERROR,
    end: HoldEnd | None = None,
) -> Ended:
    """How an orphan ends: by default posted, or voided without progress. Pure."""
    opening = orphan.opening
    attempts = orphan.attempts
    receipt = opening.replace(
        outcome=Outcome.GATEWAY_FAILED,
        state="settled",
        provenance=Provenance.RECOVERED,
        durability="durable",
        error=error,
        attempts=attempts,
        provider=attempts[-1].provider if attempts else opening.provider,
    )
    progress = orphan.progress
    if progress is None:
        return Ended(opening.request_id, end or "voided", 0, (), receipt, at_ms)
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


def recover(store: Store, group_max_records: int) -> int:
    """End every orphan in the database, durably, in groups; returns how many there were.

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
    for _, request_id, account_id, opening, held in rows.fetchall():
        orphan = _orphan(store, request_id, account_id, opening, held, None)
        store.commit([(rejected.seq, recovered(orphan, at_ms, error=_REFUSED))])
    store.note_committed([(rejected.seq, rejected.entry)])


def _orphans(store: Store) -> Iterator[OrphanHold]:
    last_progress = _last_progress(store)
    rows = store.connection.execute(_OPEN_HOLDS, {"request_id": None})
    for seq, request_id, account_id, opening, held in rows.fetchall():
        progress_seq, progress = last_progress.get(request_id, (None, None))
        store.open_holds.adopt(request_id, seq, progress_seq)
        yield _orphan(store, request_id, account_id, opening, held, progress)


def _orphan(
    store: Store,
    request_id: str,
    account_id: str,
    opening: str,
    held_nanodollars: int,
    progress: ProgressEntry | None,
) -> OrphanHold:
    attempts = store.connection.execute(
        "SELECT number, provider, upstream_model FROM attempts WHERE request_id = ?"
        " ORDER BY number",
        (request_id,),
    )
    return OrphanHold(
        account_id=account_id,
        held_nanodollars=held_nanodollars,
        opening=Receipt.from_json(orjson.loads(opening)),
        attempts=tuple(
            Attempt(number, provider, model, outcome="gateway_failed")
            for number, provider, model in attempts
        ),
        progress=progress,
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
    )
