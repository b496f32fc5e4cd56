"""Receipts of one account, the newest first, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlite_utils import Database

from engine.errors import InvalidRequestError
from engine.ledger.queries import reading
from engine.ledger.receipts import Receipt, State, format_time

PAGE_MAX = 200
SCANNED_MAX = 10_000
"""Receipts looked at for one page: what is sought may be rare."""

SETTLED_FROM = "settled"
"""The cursor behind the receipts that are running."""

_PAGE = """
WITH scanned AS (
    SELECT seq, request_id, model, outcome, created_at, body FROM receipts
    WHERE account_id = :account_id AND seq < :before AND (:key_id IS NULL OR key_id = :key_id)
    ORDER BY seq DESC LIMIT :scanned_max
)
SELECT request_id, body FROM scanned
WHERE (:model IS NULL OR model = :model) AND (:outcome IS NULL OR outcome = :outcome)
    AND (:from_time IS NULL OR created_at >= :from_time)
    AND (:to_time IS NULL OR created_at < :to_time)
ORDER BY seq DESC LIMIT :matches_max
"""
_LAST_SCANNED = """
SELECT request_id FROM receipts
WHERE account_id = :account_id AND seq < :before AND (:key_id IS NULL OR key_id = :key_id)
ORDER BY seq DESC LIMIT 1 OFFSET :scanned_max - 1
"""
_PLACE = """
SELECT hold_records.seq FROM hold_records JOIN holds USING (request_id)
WHERE holds.request_id = ? AND holds.account_id = ?
    AND hold_records.kind IN ('posted', 'voided', 'expired')
"""
_END = 1 << 62


@dataclass(frozen=True, slots=True)
class ReceiptQuery:
    """Which receipts are sought; None is any.

    Attributes:
        from_ms, to_ms: when their requests came, milliseconds since 1970, `to_ms` left out.
        cursor: `ReceiptPage.cursor` of the page before.
    """

    key_id: str | None = None
    model: str | None = None
    outcome: str | None = None
    state: State | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    limit: int = 50
    cursor: str | None = None

    def takes(self, receipt: Receipt) -> bool:
        """Whether a receipt in memory is one of them."""
        at_ms = receipt.created_at_ms
        return (
            self.key_id in (None, receipt.key_id)
            and self.model in (None, receipt.model)
            and self.outcome in (None, str(receipt.outcome))
            and self.state in (None, receipt.state)
            and (self.from_ms is None or at_ms >= self.from_ms)
            and (self.to_ms is None or at_ms < self.to_ms)
        )


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    """Receipts as JSON, the newest first; `cursor` leads to the next page, None: there is none."""

    receipts: tuple[dict[str, Any], ...]
    cursor: str | None


def list_receipts(
    path: Path,
    account_id: str,
    query: ReceiptQuery,
    running: list[Receipt],
    scanned_max: int = SCANNED_MAX,
) -> ReceiptPage:
    """A page of an account's receipts. `running` are those in memory that may be among them: they
    are on the first page, unless they have been stored meanwhile.

    No more than `scanned_max` stored receipts are looked at: a page may be short, and still lead
    to another.

    Raises:
        InvalidRequestError: the cursor is none.
        UnavailableError: the database cannot be read now.
    """
    shown = [] if query.cursor is not None else [each for each in running if query.takes(each)]
    shown.sort(key=lambda receipt: receipt.created_at_ms, reverse=True)
    if len(shown) >= query.limit:
        return ReceiptPage(_as_json(shown[: query.limit]), SETTLED_FROM)
    stored: dict[str, dict[str, Any]] = {}
    cursor = None
    if query.state in (None, "settled"):
        room = query.limit - len(shown)
        stored, cursor = _stored(path, account_id, query, room, scanned_max)
    still = [receipt for receipt in shown if receipt.request_id not in stored]
    return ReceiptPage((*_as_json(still), *stored.values()), cursor)


def _as_json(receipts: list[Receipt]) -> tuple[dict[str, Any], ...]:
    return tuple(receipt.to_json() for receipt in receipts)


def _stored(
    path: Path, account_id: str, query: ReceiptQuery, room: int, scanned_max: int
) -> tuple[dict[str, dict[str, Any]], str | None]:
    with reading(path) as db:
        parameters = {
            "account_id": account_id,
            "key_id": query.key_id,
            "model": query.model,
            "outcome": query.outcome,
            "from_time": None if query.from_ms is None else format_time(query.from_ms),
            "to_time": None if query.to_ms is None else format_time(query.to_ms),
            "before": _place(db, account_id, query.cursor),
            "scanned_max": scanned_max,
            "matches_max": room + 1,
        }
        found = {row["request_id"]: row["body"] for row in db.query(_PAGE, parameters)}
        if len(found) > room:
            found.popitem()
            cursor = next(reversed(found))
        else:
            last = db.execute(_LAST_SCANNED, parameters).fetchone()
            cursor = None if last is None else last[0]
    return {request_id: orjson.loads(body) for request_id, body in found.items()}, cursor


def _place(db: Database, account_id: str, cursor: str | None) -> int:
    """The record before which the page begins. A receipt that was archived keeps its place."""
    if cursor in (None, SETTLED_FROM):
        return _END
    row = db.execute(_PLACE, (cursor, account_id)).fetchone()
    if row is None:
        raise InvalidRequestError("'cursor' is not the cursor of a page.", param="cursor")
    place: int = row[0]
    return place
