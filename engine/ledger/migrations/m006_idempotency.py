"""Idempotency keys of requests, and the answers that are given again under them."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE idempotency (
           seq INTEGER PRIMARY KEY,
           request_id TEXT NOT NULL UNIQUE REFERENCES holds (request_id),
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key TEXT NOT NULL,
           digest TEXT NOT NULL,
           stream INTEGER NOT NULL CHECK (stream IN (0, 1)),
           at_ms INTEGER NOT NULL
       ) STRICT""",
    "CREATE INDEX idempotency_by_key ON idempotency (account_id, key, seq)",
    "CREATE INDEX idempotency_by_time ON idempotency (at_ms)",
    """CREATE TABLE answers (
           request_id TEXT PRIMARY KEY REFERENCES holds (request_id),
           status INTEGER NOT NULL,
           headers TEXT NOT NULL,
           body TEXT NOT NULL
       ) STRICT""",
    """CREATE TRIGGER idempotency_no_update BEFORE UPDATE ON idempotency
       BEGIN SELECT RAISE(ABORT, 'idempotency is append-only'); END""",
    """CREATE TRIGGER answers_no_update BEFORE UPDATE ON answers
       BEGIN SELECT RAISE(ABORT, 'answers is append-only'); END""",
)
"""Of the requests with one key the latest decides. Both are pruned when they are old."""


def apply(db: Database) -> None:
    """Add keys and answers."""
    for statement in _STATEMENTS:
        db.execute(statement)
