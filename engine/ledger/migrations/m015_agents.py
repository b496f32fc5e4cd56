"""Agents of accounts. They are changed and removed in place: what a call of one has come to, its
receipt says."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE agents (
           seq INTEGER PRIMARY KEY AUTOINCREMENT,
           agent_id TEXT NOT NULL UNIQUE,
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           name TEXT NOT NULL,
           definition TEXT NOT NULL,
           version INTEGER NOT NULL,
           created_at_ms INTEGER NOT NULL,
           updated_at_ms INTEGER NOT NULL,
           UNIQUE (account_id, name)
       ) STRICT""",
)


def apply(db: Database) -> None:
    """Add agents."""
    for statement in _STATEMENTS:
        db.execute(statement)
