"""Files that providers have made: they stay there, and belong to an account all the same."""

from __future__ import annotations

from sqlite_utils import Database

_COLUMNS = (
    "seq, file_id, account_id, key_id, filename, purpose, mime_type, size_bytes, sha256,"
    " created_at_ms, expires_at_ms, origin, request_id"
)
_STATEMENTS = (
    """CREATE TABLE files_anew (
           seq INTEGER PRIMARY KEY AUTOINCREMENT,
           file_id TEXT NOT NULL UNIQUE,
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key_id TEXT,
           filename TEXT NOT NULL,
           purpose TEXT NOT NULL,
           mime_type TEXT NOT NULL,
           size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
           sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
           created_at_ms INTEGER NOT NULL,
           expires_at_ms INTEGER,
           origin TEXT NOT NULL CHECK (origin IN ('upload', 'job', 'provider')),
           request_id TEXT
       ) STRICT""",
    f"INSERT INTO files_anew ({_COLUMNS}) SELECT {_COLUMNS} FROM files",  # noqa: S608 - constants
    """INSERT INTO sqlite_sequence (name, seq)
       SELECT 'files_anew', seq FROM sqlite_sequence WHERE name = 'files'
           AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'files_anew')""",
    """UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'files')
       WHERE name = 'files_anew' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'files')""",
    "DROP TABLE files",
    "ALTER TABLE files_anew RENAME TO files",
    "CREATE INDEX files_by_account ON files (account_id, seq)",
    "CREATE INDEX files_by_end ON files (expires_at_ms) WHERE expires_at_ms IS NOT NULL",
    """CREATE TRIGGER files_no_update BEFORE UPDATE ON files
       BEGIN SELECT RAISE(ABORT, 'a file never changes'); END""",
    "CREATE INDEX provider_files_by_id ON provider_files (provider_file_id)",
)
"""No place in a list is given twice: the sequence goes on where it was."""


def apply(db: Database) -> None:
    """Allow them, and find a file by what a provider calls it."""
    for statement in _STATEMENTS:
        db.execute(statement)
