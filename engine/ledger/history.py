"""Settled exchanges, from the database and from the files of archived receipts, as one sequence."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlite_utils import Database

from engine.ledger.queries import reading
from engine.ledger.receipts import format_time
from engine.ledger.records import LedgerError

_PAGE_ROWS = 1_000

_REFUNDED = """
SELECT coalesce(sum(amount), 0) FROM transfers JOIN postings USING (transfer_id)
WHERE transfers.request_id = ? AND transfers.kind = 'refund' AND amount > 0
"""
_PAGE = """
SELECT created_at, seq, body,
       (SELECT json_group_array(json_array(number, at_ms)) FROM attempts
        WHERE attempts.request_id = receipts.request_id),
       (SELECT coalesce(sum(amount), 0) FROM transfers JOIN postings USING (transfer_id)
        WHERE transfers.request_id = receipts.request_id AND transfers.kind = 'refund'
          AND amount > 0)
FROM receipts
WHERE (created_at, seq) > (:after, :seq) AND created_at < :until AND seq > :archived_to
  AND (:account_id IS NULL OR account_id = :account_id)
  AND (:key_id IS NULL OR key_id = :key_id)
  AND (:model IS NULL OR model = :model)
ORDER BY created_at, seq LIMIT :rows
"""
_ARCHIVES = """
SELECT path, to_seq, (SELECT max(at_ms) FROM hold_records
                      WHERE seq BETWEEN from_seq AND to_seq) AS last_at_ms
FROM archives WHERE from_seq > ? ORDER BY from_seq
"""

_Place = tuple[str, int]
"""How far the database was read: when an exchange arrived, and its record."""

_CLOCK_STEP_MS = 86_400_000
"""How far the clock may have been set back while a request ran: it ended before it arrived then."""

_LAST_MS = 253_402_300_799_999
"""The end of the year 9999: what RFC 3339 can say."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which exchanges: those that arrived in `[from_ms, to_ms)`; None: all."""

    from_ms: int | None = None
    to_ms: int | None = None
    account_id: str | None = None
    key_id: str | None = None
    model: str | None = None
    """The public name that was asked for."""

    def takes(self, receipt: Mapping[str, Any]) -> bool:
        """Whether a receipt's JSON is of it."""
        created_at = receipt["created_at"]
        return (
            (self.from_ms is None or created_at >= format_time(self.from_ms))
            and (self.to_ms is None or created_at < format_time(self.to_ms))
            and self.account_id in (None, receipt["account_id"])
            and self.key_id in (None, receipt["key_id"])
            and self.model in (None, receipt["model"])
        )


@dataclass(frozen=True, slots=True)
class SettledExchange:
    """A receipt's JSON, when its attempts were dispatched, and what was given back."""

    receipt: Mapping[str, Any]
    attempted_at_ms: Mapping[int, int]
    """By the number of the attempt."""
    refunded_nanodollars: int


def settled_exchanges(
    database: Path, selection: Selection, *, archives: bool = True
) -> Iterator[SettledExchange]:
    """Every settled exchange of a selection: archived ones first, then by their arrival.

    Read a page at a time, so that it holds no server up; what settles meanwhile may be in it. Each
    is there once, also while receipts are being archived: they are in the database and in a file
    until they have been removed.

    Raises:
        LedgerError: a file of archived receipts cannot be read.
        UnavailableError: the database cannot be read now.
    """
    place: _Place = ("" if selection.from_ms is None else format_time(selection.from_ms), -1)
    archived_to = 0
    with reading(database) as db:
        while True:
            db.execute("BEGIN")  # both are of one moment
            files = db.execute(_ARCHIVES, (archived_to,)).fetchall()
            archived_to = max([archived_to, *(to_seq for _, to_seq, _ in files)])
            rows = _page(db, selection, place, archived_to)
            db.execute("COMMIT")
            for path, _, last_at_ms in files if archives else ():
                if selection.from_ms is None or selection.from_ms <= last_at_ms + _CLOCK_STEP_MS:
                    yield from _archived(db, path, selection, place)
            for _, _, body, attempts, refunded in rows:
                yield SettledExchange(orjson.loads(body), dict(orjson.loads(attempts)), refunded)
            if len(rows) < _PAGE_ROWS:
                return
            place = rows[-1][:2]


def _page(
    db: Database, selection: Selection, place: _Place, archived_to: int
) -> list[tuple[Any, ...]]:
    parameters = {
        "after": place[0],
        "seq": place[1],
        "until": format_time(_LAST_MS if selection.to_ms is None else selection.to_ms),
        "archived_to": archived_to,
        "account_id": selection.account_id,
        "key_id": selection.key_id,
        "model": selection.model,
        "rows": _PAGE_ROWS,
    }
    rows: list[tuple[Any, ...]] = db.execute(_PAGE, parameters).fetchall()
    return rows


def _archived(
    db: Database, path: str, selection: Selection, place: _Place
) -> Iterator[SettledExchange]:
    """What a file has of a selection, and was not read from the database before."""
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                value = orjson.loads(line)
                receipt = value["receipt"]
                if not selection.takes(receipt) or (receipt["created_at"], value["seq"]) <= place:
                    continue
                attempts = {each["number"]: each["at_ms"] for each in value["attempts"]}
                (refunded,) = db.execute(_REFUNDED, (receipt["request_id"],)).fetchone()
                yield SettledExchange(receipt, attempts, refunded)
    except (OSError, EOFError, zlib.error, orjson.JSONDecodeError, KeyError) as error:
        raise LedgerError(f"the archived receipts {path} cannot be read: {error}") from error
