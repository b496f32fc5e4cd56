"""What follows from the end of a job: who is told of it, and which results become files.

Triggers write both down, in the transaction that ends the job: whichever way it ends, also at the
start after a crash.
"""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    """CREATE TABLE webhook_secrets (
           account_id TEXT PRIMARY KEY REFERENCES accounts (account_id),
           secret TEXT NOT NULL,
           former TEXT,
           changed_at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE webhooks (
           seq INTEGER PRIMARY KEY AUTOINCREMENT,
           webhook_id TEXT NOT NULL UNIQUE,
           account_id TEXT NOT NULL,
           job_id TEXT NOT NULL,
           record_seq INTEGER NOT NULL,
           state TEXT NOT NULL,
           url TEXT NOT NULL,
           receiver TEXT NOT NULL,
           at_ms INTEGER NOT NULL,
           UNIQUE (job_id, state)
       ) STRICT""",
    "CREATE INDEX webhooks_by_time ON webhooks (at_ms)",
    """CREATE TABLE pending_webhooks (
           seq INTEGER PRIMARY KEY REFERENCES webhooks (seq) ON DELETE CASCADE,
           account_id TEXT NOT NULL,
           receiver TEXT NOT NULL,
           tries INTEGER NOT NULL,
           due_at_ms INTEGER NOT NULL
       ) STRICT""",
    "CREATE INDEX webhooks_due ON pending_webhooks (account_id, receiver, due_at_ms)",
    """CREATE TABLE webhook_ends (
           seq INTEGER PRIMARY KEY REFERENCES webhooks (seq) ON DELETE CASCADE,
           outcome TEXT NOT NULL CHECK (outcome IN ('delivered', 'given_up')),
           tries INTEGER NOT NULL,
           at_ms INTEGER NOT NULL
       ) STRICT""",
    """CREATE TABLE pending_copies (
           job_id TEXT PRIMARY KEY,
           tries INTEGER NOT NULL,
           due_at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE failed_copies (
           job_id TEXT PRIMARY KEY,
           code TEXT NOT NULL,
           message TEXT NOT NULL,
           at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER webhooks_wait AFTER INSERT ON webhooks BEGIN
           INSERT INTO pending_webhooks
           VALUES (NEW.seq, NEW.account_id, NEW.receiver, 0, NEW.at_ms);
       END""",
    """CREATE TRIGGER jobs_call AFTER INSERT ON job_records
       WHEN NEW.state IN ('succeeded', 'failed', 'expired', 'cancelled') BEGIN
           INSERT INTO webhooks
               (webhook_id, account_id, job_id, record_seq, state, url, receiver, at_ms)
           SELECT 'msg_' || lower(hex(randomblob(12))), account_id, jobs.job_id, NEW.seq,
                  NEW.state, webhook_url,
                  substr(webhook_url, 1, 7 + instr(substr(webhook_url, 9) || '/', '/')),
                  NEW.at_ms
           FROM jobs JOIN job_acceptances USING (job_id)
           WHERE jobs.job_id = NEW.job_id AND webhook_url IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM webhooks
                               WHERE job_id = NEW.job_id AND state = NEW.state);
       END""",
    """CREATE TRIGGER jobs_store AFTER INSERT ON job_records WHEN NEW.state = 'succeeded' BEGIN
           INSERT INTO pending_copies
           SELECT job_id, 0, NEW.at_ms FROM jobs
           WHERE job_id = NEW.job_id AND store_result = 1 AND NEW.files = '[]'
               AND NOT EXISTS (SELECT 1 FROM pending_copies WHERE job_id = NEW.job_id)
               AND NOT EXISTS (SELECT 1 FROM failed_copies WHERE job_id = NEW.job_id);
           DELETE FROM pending_copies WHERE job_id = NEW.job_id AND NEW.files <> '[]';
       END""",
    """CREATE TRIGGER jobs_forget AFTER DELETE ON jobs BEGIN
           DELETE FROM pending_copies WHERE job_id = OLD.job_id;
           DELETE FROM failed_copies WHERE job_id = OLD.job_id;
           DELETE FROM pending_webhooks
               WHERE seq IN (SELECT seq FROM webhooks WHERE job_id = OLD.job_id);
       END""",
    """CREATE TRIGGER jobs_store_no_more AFTER INSERT ON job_deletions BEGIN
           DELETE FROM pending_copies WHERE job_id = NEW.job_id;
       END""",
    """CREATE TRIGGER webhooks_no_update BEFORE UPDATE ON webhooks
       BEGIN SELECT RAISE(ABORT, 'webhooks is append-only'); END""",
)
"""`receiver` is the origin of the URL, which is written with a path. Of a job each ending is told
once; of one that no provider has taken its client knows nothing."""


def apply(db: Database) -> None:
    """Add webhooks, and copies of results."""
    for statement in _STATEMENTS:
        db.execute(statement)
