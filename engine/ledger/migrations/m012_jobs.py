"""Jobs: what outlives its request, and the funds that are held for it meanwhile."""

from __future__ import annotations

from sqlite_utils import Database

_TABLES = (
    """CREATE TABLE jobs (
           seq INTEGER PRIMARY KEY,
           job_id TEXT NOT NULL UNIQUE,
           request_id TEXT NOT NULL UNIQUE REFERENCES holds (request_id),
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           key_id TEXT,
           kind TEXT NOT NULL CHECK (kind IN ('video', 'music')),
           protocol TEXT NOT NULL,
           model TEXT NOT NULL,
           created_at_ms INTEGER NOT NULL,
           expires_at_ms INTEGER NOT NULL,
           params TEXT NOT NULL,
           store_result INTEGER NOT NULL CHECK (store_result IN (0, 1)),
           webhook_url TEXT
       ) STRICT""",
    """CREATE TABLE job_acceptances (
           job_id TEXT PRIMARY KEY REFERENCES jobs (job_id),
           number INTEGER NOT NULL CHECK (number >= 1),
           provider TEXT NOT NULL,
           upstream_model TEXT NOT NULL,
           credential TEXT NOT NULL,
           provider_job_id TEXT NOT NULL,
           terms TEXT NOT NULL,
           at_ms INTEGER NOT NULL,
           receipt TEXT NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE job_records (
           seq INTEGER PRIMARY KEY,
           job_id TEXT NOT NULL REFERENCES jobs (job_id),
           state TEXT NOT NULL CHECK (state IN
               ('submitted', 'running', 'succeeded', 'failed', 'expired', 'cancelled')),
           at_ms INTEGER NOT NULL,
           error TEXT,
           results TEXT NOT NULL,
           units TEXT NOT NULL,
           closed INTEGER NOT NULL CHECK (closed IN (0, 1)),
           files TEXT NOT NULL
       ) STRICT""",
    "CREATE UNIQUE INDEX job_closes_once ON job_records (job_id) WHERE closed = 1",
    "CREATE INDEX job_records_by_job ON job_records (job_id, seq)",
    "CREATE INDEX jobs_by_account ON jobs (account_id, kind, seq)",
    """CREATE TABLE job_deletions (
           job_id TEXT PRIMARY KEY REFERENCES jobs (job_id),
           at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE open_jobs (
           job_id TEXT PRIMARY KEY REFERENCES jobs (job_id),
           number INTEGER NOT NULL,
           submit TEXT
       ) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER jobs_open AFTER INSERT ON jobs BEGIN
           INSERT INTO open_jobs VALUES (NEW.job_id, 0, NULL);
       END""",
    """CREATE TRIGGER jobs_close AFTER INSERT ON job_records WHEN NEW.closed = 1 BEGIN
           DELETE FROM open_jobs WHERE job_id = NEW.job_id;
       END""",
)
"""`open_jobs` is bookkeeping: what has not closed, and what an attempt has sent, where that can be
sent again. A job closes in the transaction that ends its hold."""

_APPEND_ONLY = ("jobs", "job_acceptances", "job_records", "job_deletions")


def apply(db: Database) -> None:
    """Add jobs, which never change; closed ones are removed when they are old."""
    for statement in _TABLES:
        db.execute(statement)
    for table in _APPEND_ONLY:
        db.execute(
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
        open_ = "EXISTS (SELECT 1 FROM open_jobs WHERE job_id = OLD.job_id)"
        db.execute(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} WHEN {open_}"
            f" BEGIN SELECT RAISE(ABORT, '{table}: the job is open'); END"
        )
