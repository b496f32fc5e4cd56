"""Budgets, and what every key has spent by day."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE budget_changes (
           change_id INTEGER PRIMARY KEY,
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key_id TEXT REFERENCES keys (key_id),
           period TEXT NOT NULL CHECK (period IN ('day', 'month', 'total')),
           limit_nanodollars INTEGER CHECK (limit_nanodollars > 0),
           hard INTEGER NOT NULL CHECK (hard IN (0, 1)),
           soft_percents TEXT NOT NULL,
           at_ms INTEGER NOT NULL
       ) STRICT""",
    """CREATE TRIGGER budget_changes_no_update BEFORE UPDATE ON budget_changes
       BEGIN SELECT RAISE(ABORT, 'budget_changes is append-only'); END""",
    """CREATE TRIGGER budget_changes_no_delete BEFORE DELETE ON budget_changes
       BEGIN SELECT RAISE(ABORT, 'budget_changes is append-only'); END""",
    """CREATE VIEW budgets AS
       SELECT * FROM budget_changes
       WHERE limit_nanodollars IS NOT NULL AND change_id IN (
           SELECT max(change_id) FROM budget_changes
           GROUP BY account_id, coalesce(key_id, ''), period
       )""",
    """CREATE TABLE spending (
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key_id TEXT NOT NULL,
           day INTEGER NOT NULL,
           amount INTEGER NOT NULL,
           PRIMARY KEY (account_id, key_id, day)
       ) STRICT, WITHOUT ROWID""",
    # By request: its account and key, the day (since 1970, UTC) of its charge, and what is left of
    # the charge after refunds.
    """CREATE VIEW charges_by_day AS
       SELECT holds.account_id, coalesce(holds.key_id, '') AS key_id,
              charges.at_ms / 86400000 AS day, -postings.amount AS amount
       FROM transfers JOIN postings USING (transfer_id)
           JOIN holds ON holds.request_id = transfers.request_id
               AND holds.account_id = postings.account_id
           JOIN transfers AS charges ON charges.request_id = transfers.request_id
               AND charges.kind = 'charge'
       WHERE transfers.kind IN ('charge', 'refund')""",
    """INSERT INTO spending
       SELECT account_id, key_id, day, sum(amount) FROM charges_by_day GROUP BY 1, 2, 3""",
)
"""`budget_changes`: the latest of an account, key and period is in force; without a limit there is
none. `spending` is derived, as balances are; a key of '' is none."""


def apply(db: Database) -> None:
    """Add budgets, and to each hold the key that asked for it."""
    ((guard,),) = db.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = 'holds_no_update'"
    ).fetchall()
    db.execute("DROP TRIGGER holds_no_update")
    db.execute("ALTER TABLE holds ADD COLUMN key_id TEXT")
    db.execute("UPDATE holds SET key_id = json_extract(opening, '$.key_id') WHERE opening <> ''")
    db.execute(guard)
    for statement in _STATEMENTS:
        db.execute(statement)
