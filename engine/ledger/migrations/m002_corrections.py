"""Refunds, adjustments and reconciliations; what an expired hold posted."""

from __future__ import annotations

from sqlite_utils import Database

_TRANSFERS = """
CREATE TABLE transfers_wider (
    transfer_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN (
        'funding', 'charge', 'overrun', 'cost', 'refund', 'adjustment', 'reconciliation'
    )),
    request_id TEXT REFERENCES holds (request_id),
    reason TEXT,
    reference TEXT,
    at_ms INTEGER NOT NULL,
    CHECK (kind NOT IN ('refund', 'adjustment', 'reconciliation')
        OR (reason IS NOT NULL AND reason <> '' AND reference IS NOT NULL AND reference <> '')),
    CHECK (kind <> 'refund' OR request_id IS NOT NULL)
) STRICT
"""

_AFTERWARDS = (
    "DROP INDEX funding_reference",
    """CREATE UNIQUE INDEX transfer_reference ON transfers (kind, reference)
       WHERE reference IS NOT NULL""",
    "CREATE INDEX refunds_by_request ON transfers (request_id) WHERE kind = 'refund'",
    "DROP VIEW hold_totals",
    """CREATE VIEW hold_totals AS
       SELECT request_id,
           sum(CASE WHEN kind IN ('held', 'extended') THEN amount ELSE 0 END) AS amount,
           sum(kind = 'held') AS openings,
           sum(kind IN ('posted', 'voided', 'expired')) AS ends,
           sum(CASE WHEN kind IN ('posted', 'expired') THEN amount ELSE 0 END) AS posted
       FROM hold_records GROUP BY request_id""",
    "INSERT INTO accounts VALUES ('house:adjustment', 'house', 'house:adjustment', 0)",
    "INSERT INTO balances VALUES ('house:adjustment', 0)",
)


def apply(db: Database) -> None:
    """Widen what a transfer can be, by rebuilding its table; foreign keys rest meanwhile."""
    guards = db.execute(
        "SELECT sql FROM sqlite_schema WHERE tbl_name = 'transfers'"
        " AND type IN ('index', 'trigger') AND sql IS NOT NULL"
    ).fetchall()
    db.execute(_TRANSFERS)
    db.execute("INSERT INTO transfers_wider SELECT * FROM transfers")
    db.execute("DROP TABLE transfers")
    db.execute("ALTER TABLE transfers_wider RENAME TO transfers")
    for (sql,) in guards:
        db.execute(sql)
    for statement in _AFTERWARDS:
        db.execute(statement)
