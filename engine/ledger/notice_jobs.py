"""Notices in the database: the queue of what is to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from engine.ledger.sqlite import Store

NoticeEnd = Literal["delivered", "given_up"]

_PENDING = """
SELECT notice_id, kind, body, at_ms, tries, due_at_ms
FROM pending_notices JOIN notices USING (notice_id) ORDER BY due_at_ms LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class PendingNotice:
    """A notice that is to be sent, how often that has failed, and when to try it next."""

    notice_id: str
    kind: str
    body: str
    at_ms: int
    tries: int
    due_at_ms: int


def pending_notices(db: Database, limit: int) -> list[PendingNotice]:
    """What is to be sent, the soonest due first."""
    return [PendingNotice(**row) for row in db.query(_PENDING, [limit])]


def told_of_budget(db: Database, change_id: int, window: str) -> list[str]:
    """The subjects of a budget's notices in one window."""
    prefix = f"budget {change_id} {window} "
    rows = db.query(
        "SELECT subject FROM notices WHERE subject >= ? AND subject < ?",
        [prefix, prefix[:-1] + "!"],
    )
    return [row["subject"] for row in rows]


def end_notice(store: Store, notice_id: str, outcome: NoticeEnd) -> None:
    """A notice was delivered, or is given up. May be done twice."""

    def insert(db: Database) -> None:
        row = {"notice_id": notice_id, "outcome": outcome, "at_ms": store.clock()}
        db.table("notice_ends").insert(row, ignore=True)
        db.execute("DELETE FROM pending_notices WHERE notice_id = ?", [notice_id])

    store.run(insert)


def defer_notice(store: Store, notice_id: str, due_at_ms: int) -> None:
    """Sending a notice has failed; try it again then."""

    def update(db: Database) -> None:
        db.execute(
            "UPDATE pending_notices SET tries = tries + 1, due_at_ms = ? WHERE notice_id = ?",
            [due_at_ms, notice_id],
        )

    store.run(update)
