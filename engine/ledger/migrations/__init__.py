"""The database's schema, as migrations: one module each, numbered, with `apply(db)`.

What was written is never changed: triggers see to it. Mutable are only what is derived
(`balances`), bookkeeping (`meta`), what is pruned (`progress`), removed (`files`) or set up by
accounts themselves (`agents`). A
migration that has been released is never edited; a later one changes what it made.
"""

from __future__ import annotations

from typing import Final

from sqlite_utils import Database, Migrations

from engine.ledger.migrations import (
    m001_ledger,
    m002_corrections,
    m003_archives,
    m004_budgets,
    m005_notices,
    m006_idempotency,
    m007_operations,
    m008_usage_days,
    m009_attempt_roles,
    m010_usage_units,
    m011_files,
    m012_jobs,
    m013_webhooks,
    m014_owned_ids,
    m015_agents,
    m016_provided_files,
    m017_uploads,
    m018_followed_jobs,
)
from engine.ledger.records import LedgerError

_MODULES = (
    m001_ledger,
    m002_corrections,
    m003_archives,
    m004_budgets,
    m005_notices,
    m006_idempotency,
    m007_operations,
    m008_usage_days,
    m009_attempt_roles,
    m010_usage_units,
    m011_files,
    m012_jobs,
    m013_webhooks,
    m014_owned_ids,
    m015_agents,
    m016_provided_files,
    m017_uploads,
    m018_followed_jobs,
)

migrations = Migrations("parshall.ledger")
_OURS: Final = {_module.__name__.rpartition(".")[2]: _module for _module in _MODULES}
for _name, _module in _OURS.items():
    migrations(name=_name)(_module.apply)


def migrate(db: Database) -> None:
    """Bring the schema up to date, each step in its own transaction.

    Foreign keys rest meanwhile, so that a step may rebuild a table that others refer to (SQLite's
    page on ALTER TABLE, section 7), and are checked as a whole at the end.

    Raises:
        LedgerError: a newer version of the program made this database, or a reference is broken.
    """
    applied = {migration.name for migration in migrations.applied(db)}
    if applied - _OURS.keys():
        unknown = ", ".join(sorted(applied - _OURS.keys()))
        raise LedgerError(f"the database is newer than this program (it has {unknown})")
    if applied == _OURS.keys():
        return
    db.execute("PRAGMA foreign_keys = OFF")
    try:
        migrations.apply(db)
        broken = db.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        db.execute("PRAGMA foreign_keys = ON")
    if broken:
        raise LedgerError(f"the database refers to rows that are not there: {broken[0]}")
