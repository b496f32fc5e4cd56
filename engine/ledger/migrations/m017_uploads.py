"""Files that come in parts which outlive the process: what was announced of each. The parts are
files themselves."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE uploads (
           upload_id TEXT PRIMARY KEY,
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key_id TEXT,
           file_id TEXT NOT NULL UNIQUE,
           filename TEXT NOT NULL,
           purpose TEXT NOT NULL,
           mime_type TEXT NOT NULL,
           size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
           created_at_ms INTEGER NOT NULL,
           expires_at_ms INTEGER NOT NULL,
           file_expires_after_s INTEGER,
           status TEXT NOT NULL CHECK (status IN ('pending', 'completed', 'cancelled'))
       ) STRICT""",
    "CREATE INDEX uploads_by_account ON uploads (account_id, expires_at_ms)",
    "CREATE INDEX uploads_by_end ON uploads (expires_at_ms)",
)


def apply(db: Database) -> None:
    """Add uploads."""
    for statement in _STATEMENTS:
        db.execute(statement)
