"""How everything that operators change stands, read back as the changes that lead there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from engine.ledger.changes import AccountSet, Change, KeyPut, Switched
from engine.ledger.key_jobs import valid_keys
from engine.ledger.plan_jobs import made_plans, made_prices
from engine.ledger.queries import reading

_OFF = "SELECT kind, subject, reason FROM switched_off ORDER BY change_id"
_ACCOUNTS = """
SELECT account_id, plan, EXISTS (
    SELECT 1 FROM switched_off WHERE kind = 'account' AND subject = account_id
) FROM current_plans
UNION ALL
SELECT subject, NULL, 1 FROM switched_off
WHERE kind = 'account' AND subject NOT IN (SELECT account_id FROM current_plans)
"""


def load_operations(path: Path) -> tuple[Change, ...]:
    """See `Operating.load_operations`."""
    with reading(path) as db:
        db.execute("BEGIN")  # all of one snapshot
        keys = [KeyPut(key, terms) for key, terms in valid_keys(db)]
        return (*made_plans(db), *made_prices(db), *_accounts(db), *keys, *_switches(db))


def load_standing(db: Database) -> list[Change]:
    """Of `load_operations` what the ledger itself keeps in memory."""
    return [*_accounts(db), *_switches(db)]


def _accounts(db: Database) -> Iterator[AccountSet]:
    rows = db.execute(_ACCOUNTS).fetchall()
    return (AccountSet(account_id, plan, bool(off)) for account_id, plan, off in rows)


def _switches(db: Database) -> Iterator[Switched]:
    rows = db.execute(_OFF).fetchall()
    return (Switched(kind, subject, True, reason) for kind, subject, reason in rows)
