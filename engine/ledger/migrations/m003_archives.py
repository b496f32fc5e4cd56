"""Receipts found by key, model and time; receipts archived to files."""

from __future__ import annotations

from sqlite_utils import Database

_ARCHIVED_TO = "(SELECT value FROM meta WHERE name = 'archived_to')"

_STATEMENTS = (
    """ALTER TABLE receipts ADD COLUMN key_id TEXT
       GENERATED ALWAYS AS (json_extract(body, '$.key_id')) VIRTUAL""",
    """ALTER TABLE receipts ADD COLUMN model TEXT
       GENERATED ALWAYS AS (json_extract(body, '$.model')) VIRTUAL""",
    """ALTER TABLE receipts ADD COLUMN outcome TEXT
       GENERATED ALWAYS AS (json_extract(body, '$.outcome')) VIRTUAL""",
    """ALTER TABLE receipts ADD COLUMN created_at TEXT
       GENERATED ALWAYS AS (json_extract(body, '$.created_at')) VIRTUAL""",
    "CREATE INDEX receipts_by_account ON receipts (account_id, seq)",
    "CREATE INDEX receipts_by_key ON receipts (key_id, seq)",
    "CREATE INDEX receipts_by_time ON receipts (created_at)",
    """CREATE TABLE archives (
           archive_id INTEGER PRIMARY KEY,
           path TEXT NOT NULL,
           sha256 TEXT NOT NULL,
           from_seq INTEGER NOT NULL,
           to_seq INTEGER NOT NULL CHECK (to_seq >= from_seq),
           receipts INTEGER NOT NULL CHECK (receipts > 0),
           at_ms INTEGER NOT NULL
       ) STRICT""",
    """CREATE TRIGGER archives_no_update BEFORE UPDATE ON archives
       BEGIN SELECT RAISE(ABORT, 'archives is append-only'); END""",
    """CREATE TRIGGER archives_no_delete BEFORE DELETE ON archives
       BEGIN SELECT RAISE(ABORT, 'archives is append-only'); END""",
    "INSERT INTO meta VALUES ('archived_to', 0)",
    "DROP TRIGGER receipts_no_delete",
    f"""CREATE TRIGGER receipts_no_delete BEFORE DELETE ON receipts
        WHEN OLD.seq > {_ARCHIVED_TO}
        BEGIN SELECT RAISE(ABORT, 'receipts is append-only'); END""",
    "DROP TRIGGER attempts_no_delete",
    f"""CREATE TRIGGER attempts_no_delete BEFORE DELETE ON attempts
        WHEN NOT EXISTS (
            SELECT 1 FROM receipts
            WHERE receipts.request_id = OLD.request_id AND seq <= {_ARCHIVED_TO}
        )
        BEGIN SELECT RAISE(ABORT, 'attempts is append-only'); END""",  # noqa: S608 - a constant
    "DROP TRIGGER holds_no_update",
    f"""CREATE TRIGGER holds_no_update BEFORE UPDATE ON holds
        WHEN NEW.opening <> '' OR NEW.seq <> OLD.seq OR NEW.request_id <> OLD.request_id
            OR NEW.account_id <> OLD.account_id OR NEW.epoch <> OLD.epoch
            OR NOT EXISTS (
                SELECT 1 FROM receipts
                WHERE receipts.request_id = OLD.request_id AND receipts.seq <= {_ARCHIVED_TO}
            )
        BEGIN SELECT RAISE(ABORT, 'holds is append-only'); END""",  # noqa: S608 - a constant
)
"""`archived_to` is the last record whose receipt is in an archive: up to it, receipts, attempts and
openings of holds may go. Money never goes."""


def apply(db: Database) -> None:
    """Add what finds receipts, and what lets archived ones go."""
    for statement in _STATEMENTS:
        db.execute(statement)
