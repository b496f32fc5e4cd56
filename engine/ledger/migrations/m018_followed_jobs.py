"""Jobs of further kinds: what its provider answers in the background is held for, too."""

from __future__ import annotations

from sqlite_utils import Database

_JOBS = """
CREATE TABLE jobs_wider (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL UNIQUE REFERENCES holds (request_id),
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    key_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN
        ('video', 'music', 'response', 'run', 'batch', 'fine_tune')),
    protocol TEXT NOT NULL,
    model TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    params TEXT NOT NULL,
    store_result INTEGER NOT NULL CHECK (store_result IN (0, 1)),
    webhook_url TEXT
) STRICT
"""


def apply(db: Database) -> None:
    """Widen what a job can be, by rebuilding its table; foreign keys rest meanwhile, and so do
    triggers that name it, wherever they are."""
    triggers = db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND sql LIKE '%jobs%'"
    ).fetchall()
    indexes = db.execute(
        "SELECT sql FROM sqlite_schema"
        " WHERE tbl_name = 'jobs' AND type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute(_JOBS)
    db.execute("INSERT INTO jobs_wider SELECT * FROM jobs")
    db.execute("DROP TABLE jobs")
    db.execute("ALTER TABLE jobs_wider RENAME TO jobs")
    for (sql,) in indexes:
        db.execute(sql)
    for _, sql in triggers:
        db.execute(sql)
