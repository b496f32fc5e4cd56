"""Balances rebuilt from nothing but the postings."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.ledger.lock import own_database
from engine.ledger.queries import reading
from engine.ledger.records import LedgerError
from engine.ledger.sqlite import connect

_REPLAY = """
SELECT account_id, name, kind, balances.amount AS stored, coalesce(sum(postings.amount), 0),
       count(postings.amount)
FROM accounts LEFT JOIN balances USING (account_id) LEFT JOIN postings USING (account_id)
GROUP BY account_id ORDER BY kind, created_at_ms, account_id
"""
_REPAIR = """
INSERT INTO balances SELECT account_id, sum(amount) FROM postings WHERE true GROUP BY account_id
ON CONFLICT (account_id) DO UPDATE SET amount = excluded.amount
"""


@dataclass(frozen=True, slots=True)
class ReplayedBalance:
    """One account's balance as stored, and as its postings say. Nanodollars."""

    account_id: str
    name: str
    kind: str
    stored_nanodollars: int | None
    """None when no balance is stored."""
    replayed_nanodollars: int
    postings: int

    @property
    def ok(self) -> bool:
        return (self.stored_nanodollars or 0) == self.replayed_nanodollars


def replay(database: Path) -> list[ReplayedBalance]:
    """Every account's balance from the postings, in one snapshot; a server may run.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    with reading(database) as db:
        return [ReplayedBalance(*row) for row in db.execute(_REPLAY).fetchall()]


def repair(database: Path) -> list[ReplayedBalance]:
    """Rewrite the stored balances from the postings; what they were before is returned.

    Raises:
        LedgerLockedError: a process owns the database: its books would not follow.
        LedgerError: it cannot be written.
    """
    with own_database(database), closing(connect(database, 5.0)) as connection:
        try:
            before = replay(database)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE balances SET amount = 0")
            connection.execute(_REPAIR)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerError(f"cannot repair {database}: {error}") from error
    return before
