"""Things that accounts have at providers: whose each id is."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE owned_ids (
           seq INTEGER PRIMARY KEY,
           object_id TEXT NOT NULL,
           kind TEXT NOT NULL,
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key_id TEXT,
           provider TEXT NOT NULL,
           credential TEXT NOT NULL,
           created_at_ms INTEGER NOT NULL,
           parent_id TEXT,
           model TEXT,
           context_tokens INTEGER,
           disowned_at_ms INTEGER,
           UNIQUE (object_id, provider)
       ) STRICT""",
    "CREATE INDEX owned_ids_by_account ON owned_ids (account_id, kind, seq)",
    """CREATE INDEX owned_ids_by_parent ON owned_ids (parent_id, seq)
           WHERE parent_id IS NOT NULL""",
    """CREATE INDEX owned_ids_by_time ON owned_ids (created_at_ms)
           WHERE kind IN ('response', 'item')""",
    """CREATE INDEX owned_ids_by_end ON owned_ids (disowned_at_ms)
           WHERE disowned_at_ms IS NOT NULL""",
    """CREATE TRIGGER owned_ids_no_update BEFORE UPDATE ON owned_ids
       WHEN NEW.object_id <> OLD.object_id OR NEW.kind <> OLD.kind
           OR NEW.account_id <> OLD.account_id OR NEW.provider <> OLD.provider
           OR NEW.credential <> OLD.credential
       BEGIN SELECT RAISE(ABORT, 'the owner of an id never changes'); END""",
)
"""What has no owner any more stays for a while: it is nobody else's."""


def apply(db: Database) -> None:
    """Add ids that are owned."""
    for statement in _STATEMENTS:
        db.execute(statement)
