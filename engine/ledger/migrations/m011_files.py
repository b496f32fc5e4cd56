"""Stored files: what is known of each, and which copies of them are at providers."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE files (
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
           origin TEXT NOT NULL CHECK (origin IN ('upload', 'job')),
           request_id TEXT
       ) STRICT""",
    "CREATE INDEX files_by_account ON files (account_id, seq)",
    "CREATE INDEX files_by_end ON files (expires_at_ms) WHERE expires_at_ms IS NOT NULL",
    """CREATE TRIGGER files_no_update BEFORE UPDATE ON files
       BEGIN SELECT RAISE(ABORT, 'a file never changes'); END""",
    """CREATE TABLE removed_files (
           file_id TEXT PRIMARY KEY,
           account_id TEXT NOT NULL,
           seq INTEGER NOT NULL,
           at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX removed_files_by_time ON removed_files (at_ms)",
    """CREATE TABLE provider_files (
           file_id TEXT NOT NULL,
           provider TEXT NOT NULL,
           credential TEXT NOT NULL,
           provider_file_id TEXT NOT NULL,
           uri TEXT,
           mime_type TEXT NOT NULL,
           uploaded_at_ms INTEGER NOT NULL,
           expires_at_ms INTEGER,
           PRIMARY KEY (file_id, provider, credential)
       ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE file_store (store_id TEXT NOT NULL) STRICT",
    "INSERT INTO file_store VALUES (lower(hex(randomblob(16))))",
)
"""`removed_files` remembers for a while where a file stood, for who pages through a list and
removes what it shows. `provider_files` outlives its file until the copy is removed at the provider,
too. `file_store` is what the folder or the bucket has to say: no other's files are in it."""


def apply(db: Database) -> None:
    """Add files."""
    for statement in _STATEMENTS:
        db.execute(statement)
