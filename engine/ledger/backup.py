"""Copies of the database: made beside a running server, and put back in its place.

A copy is one moment's state, read in one transaction; it is checked before it gets its name.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.ledger.audit import FILE_IS_SOUND, audit_database
from engine.ledger.files import keep, partial_file
from engine.ledger.lock import own_database
from engine.ledger.queries import reading
from engine.ledger.records import Finding, LedgerError, LedgerSettings
from engine.ledger.recovery import recover
from engine.ledger.sqlite import Store


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that was made, and what the audit says of it."""

    path: Path
    size_bytes: int
    sequence: int
    """The last record of the journal that is in it."""
    open_holds: int
    """Exchanges that were under way; a restore ends them at their last progress."""
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Restored:
    """A database that was put back."""

    path: Path
    kept: Path | None
    """Where the database that was there before is now."""
    recovered_holds: int
    findings: list[Finding]


def back_up(database: Path, target: Path) -> Backup:
    """Copy the database to a file that is not there yet. A server may go on writing meanwhile.

    Its write-ahead log grows while the copy is read, and is cut back afterwards.

    Raises:
        LedgerError: the file is there already, or cannot be written.
        UnavailableError: the database cannot be read now.
    """
    if target.exists():
        raise LedgerError(f"{target} is there already; a backup never replaces a file")
    with partial_file(target) as partial:
        _copy(database, partial)
        backup = _described(partial, target)
        keep(partial, target)
    return backup


def _copy(database: Path, partial: Path) -> None:
    """All that a reader sees now, what is in the write-ahead log beside it too."""
    try:
        with reading(database) as db:
            db.execute("VACUUM INTO ?", (str(partial.absolute()),))
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"cannot copy {database}: {error}") from error


def _described(partial: Path, target: Path) -> Backup:
    with reading(partial) as db:
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        (open_holds,) = db.execute("SELECT count(*) FROM hold_totals WHERE ends = 0").fetchone()
    return Backup(
        path=target,
        size_bytes=partial.stat().st_size,
        sequence=meta["sequence"],
        open_holds=open_holds,
        findings=audit_database(partial, meta["epoch"]),
    )


def restore(backup: Path, database: Path, *, replace: bool) -> Restored:
    """Put a copy in the place of a database, and end what was under way when it was made.

    A database that is there is kept beside it under another name, once the copy is ready for use:
    brought up to date, and what was under way ended. Whatever was written after the copy was made
    is not in it.

    Raises:
        LedgerLockedError: a process owns the database.
        LedgerError: a database is there and `replace` is false; the copy cannot be read, is
            damaged or of a newer program; a file cannot be written.
        UnavailableError: the copy cannot be read now.
    """
    database = database.resolve()
    if database.exists() and not replace:
        raise LedgerError(f"there is a database at {database} already")
    _check_copy(backup)
    with own_database(database), partial_file(database) as partial:
        _copy(backup, partial)
        recovered_holds = _made_ready(partial)
        findings = audit_database(partial)
        kept = _set_aside(database)
        keep(partial, database)
        return Restored(database, kept, recovered_holds, findings)


def _made_ready(partial: Path) -> int:
    """Open a copy as a server would; how many holds that has ended. All of it is in the file."""
    settings = LedgerSettings(partial)
    store = Store(settings)
    try:
        recovered_holds = recover(store, settings.group_max_records)
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise LedgerError(f"cannot recover {partial}: {error}") from error
    finally:
        store.close()
    return recovered_holds


def _check_copy(backup: Path) -> None:
    try:
        with reading(backup) as db:
            (epoch,) = db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        findings = {finding.name: finding for finding in audit_database(backup, epoch)}
    except (sqlite3.DatabaseError, TypeError) as error:
        raise LedgerError(f"{backup} is not a copy of a ledger: {error}") from error
    if not findings[FILE_IS_SOUND].ok:
        raise LedgerError(f"{backup} is damaged: {findings[FILE_IS_SOUND].detail}")


def _set_aside(database: Path) -> Path | None:
    """Rename a database with its write-ahead log; a stale log would be taken for the copy's."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    kept = database.with_name(f"{database.name}.before-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept if kept.exists() else None
