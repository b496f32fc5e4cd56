"""Notices for the operator, and which of them are still to be sent."""

from __future__ import annotations

from sqlite_utils import Database

_TABLES = (
    """CREATE TABLE notices (
           notice_id TEXT PRIMARY KEY,
           kind TEXT NOT NULL,
           subject TEXT NOT NULL UNIQUE,
           body TEXT NOT NULL,
           at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE notice_ends (
           notice_id TEXT PRIMARY KEY REFERENCES notices (notice_id),
           outcome TEXT NOT NULL CHECK (outcome IN ('delivered', 'given_up')),
           at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE pending_notices (
           notice_id TEXT PRIMARY KEY REFERENCES notices (notice_id),
           tries INTEGER NOT NULL,
           due_at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX notices_due ON pending_notices (due_at_ms)",
    """CREATE TRIGGER notices_wait AFTER INSERT ON notices BEGIN
           INSERT INTO pending_notices VALUES (NEW.notice_id, 0, NEW.at_ms);
       END""",
)
"""`subject` says what a notice is about: of each there is one. `pending_notices` is the queue."""


def apply(db: Database) -> None:
    """Add notices, whose text and end never change."""
    for statement in _TABLES:
        db.execute(statement)
    for table in ("notices", "notice_ends"):
        for change in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
