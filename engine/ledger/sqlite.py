"""The database: opening it, writing groups of entries, and the rows administration adds.

One connection writes, and one thread at a time uses it: the opener's, then the journal's. Readers
have connections of their own (`queries.py`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import orjson
from sqlite_utils import Database

from engine.ledger.admin_log import Standing, insert_order
from engine.ledger.entries import Attempted, Ended, Entry, HandedOver, Opened, Rejected
from engine.ledger.groups import EPOCH_LOST, SETUP_SQL, GroupRows, OpenHolds
from engine.ledger.job_rows import JobRow
from engine.ledger.migrations import migrate
from engine.ledger.records import EpochLostError, LedgerError, LedgerSettings
from engine.ledger.transfers import Transfer, changes

T = TypeVar("T")

_LOG_MAX_BYTES = 64 * 1024 * 1024
"""What a long reader has made of the write-ahead log is cut back to this."""

_TRIGGER_ABORT = 1811
"""SQLITE_CONSTRAINT_TRIGGER: RAISE(ABORT) in a trigger."""

_LAST_JOB = "SELECT value FROM meta WHERE name = 'last_job'"
_MARK_JOB = (
    "INSERT INTO meta VALUES ('last_job', ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)

_SQL_ERROR = sqlite3.SQLITE_ERROR
"""The statement itself is wrong: our fault, and no reason to try again."""


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection that commits durably: write-ahead log, and an fsync at every commit.

    A file that is made here is its owner's alone: it tells who asked for what, and when.

    Raises:
        LedgerError: the file cannot be opened, or is not a database that can be made durable.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_MAX_BYTES}")
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"cannot open the database {path}: {error}") from error
    if mode != "wal":
        connection.close()
        raise LedgerError(f"the database {path} cannot use a write-ahead log (it uses {mode})")
    return connection


class Store:
    """The database of one process that owns it: schema up to date, a new epoch begun."""

    def __init__(self, settings: LedgerSettings) -> None:
        self.clock = settings.clock
        self.connection = connect(settings.path, settings.busy_timeout_s)
        try:
            self.db = Database(self.connection, execute_plugins=False)
            migrate(self.db)
            self._begin_epoch()
            for statement in SETUP_SQL:
                self.connection.execute(statement)
        except sqlite3.Error as error:
            self.connection.close()
            raise LedgerError(f"cannot use the database {settings.path}: {error}") from error
        except BaseException:
            self.connection.close()
            raise
        self.open_holds = OpenHolds()
        self._standing: Standing | None = None
        self._made: str | None = None
        self._jobs = 0
        self._next_transfer_id = 1 + self._figure("SELECT max(transfer_id) FROM transfers")

    def _begin_epoch(self) -> None:
        self.connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        self.epoch = self._figure("SELECT value FROM meta WHERE name = 'epoch'")

    def _figure(self, sql: str) -> int:
        (value,) = self.connection.execute(sql).fetchone()
        return int(value or 0)

    @property
    def sequence(self) -> int:
        """The last ticket that is durable; read from the database."""
        return self._figure("SELECT value FROM meta WHERE name = 'sequence'")

    def commit(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Make a group durable, all of it or nothing.

        Raises:
            EpochLostError: another process owns the database now.
            sqlite3.IntegrityError, TypeError: an entry of the group cannot be stored, ever.
            sqlite3.Error: not now: locked, full, I/O error. The group may be tried again.
        """
        rows = GroupRows(self.epoch, self._next_transfer_id)
        for seq, entry in entries:
            rows.add(seq, entry)
        first, last = entries[0][0], entries[-1][0]
        open_from = self.open_holds.open_from(first)
        progress_from = self.open_holds.progress_from(first)
        try:
            self.connection.execute(*rows.statement(last, open_from, progress_from))
        except sqlite3.Error as error:
            self._roll_back()
            _raise_if_epoch_lost(error)
            raise
        self._follow(entries, rows.next_transfer_id)

    def note_committed(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Follow a group that is durable although `commit` has raised."""
        self._follow(entries, 1 + self._figure("SELECT max(transfer_id) FROM transfers"))

    def _follow(self, entries: Sequence[tuple[int, Entry]], next_transfer_id: int) -> None:
        self._next_transfer_id = next_transfer_id
        for seq, entry in entries:
            self.open_holds.committed(seq, entry)

    def reject(self, rejected: Rejected) -> None:
        """Keep an entry that cannot be stored, with the reason, as evidence for the audit.

        Once: a second time changes nothing.
        """
        entry = _without_words(rejected.entry)
        try:
            record = orjson.dumps(entry, default=str).decode()
        except TypeError:
            record = ascii(entry)

        def insert(db: Database) -> None:
            db.table("rejected").insert(
                {
                    "seq": rejected.seq,
                    "kind": type(rejected.entry).__name__,
                    "record": record,
                    "error": rejected.error,
                    "at_ms": self.clock(),
                },
                ignore=True,
            )
            db.table("meta").update("sequence", {"value": rejected.seq})

        self.run(insert)

    def do(self, work: Callable[[Store], T], standing: Standing | None) -> T:
        """Let `work` run its jobs, by somebody's order."""
        self._standing = standing
        try:
            return work(self)
        finally:
            self._standing = None

    def run(self, job: Callable[[Database], T]) -> T:
        """Run one job in a transaction of its own and return what it returns, durable. The
        first job of a standing order takes the row of the log along.

        Raises what the job raises, after undoing its work.
        """
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            if self._figure("SELECT value FROM meta WHERE name = 'epoch'") != self.epoch:
                raise EpochLostError("another process has taken the ledger's database over")
            self._jobs += 1
            mark = self.epoch << 32 | self._jobs
            connection.execute(_MARK_JOB, (mark,))
            self._made = None
            result = job(self.db)
            standing = self._standing
            if standing is not None and not standing.logged:
                insert_order(self.db, standing.order, self._made, self.clock())
            self._commit_job(mark)
            if standing is not None:
                standing.logged = True
        except BaseException:
            self._roll_back()
            raise
        return result

    def _commit_job(self, mark: int) -> None:
        """Commit. SQLite may report a failure behind a commit that is done: then nobody would apply
        to the books what the database has, nor do it again."""
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error:
            if self.connection.in_transaction or self._figure(_LAST_JOB) != mark:
                raise

    def concerns(self, made: str) -> None:
        """Say what a job is about that has just been made; within the job."""
        self._made = made

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def insert_transfer(self, transfer: Transfer) -> None:
        """Add a transfer and change the balances, within a job."""
        number = self._next_transfer_id
        self._next_transfer_id = number + 1
        self.db.table("transfers").insert(
            {
                "transfer_id": number,
                "kind": transfer.kind,
                "request_id": transfer.request_id,
                "reason": transfer.reason,
                "reference": transfer.reference,
                "at_ms": self.clock(),
            }
        )
        moved = changes([transfer]).items()
        self.db.table("postings").insert_all(
            {"transfer_id": number, "account_id": account_id, "amount": amount_nanodollars}
            for account_id, amount_nanodollars in moved
        )
        for account_id, amount_nanodollars in moved:
            self.db.execute(
                "INSERT INTO balances VALUES (?, ?)"
                " ON CONFLICT (account_id) DO UPDATE SET amount = amount + excluded.amount",
                (account_id, amount_nanodollars),
            )

    def close(self) -> None:
        self.connection.close()


def _without_words(entry: Entry) -> Entry:
    """What was said, by whom ever, is no evidence."""
    match entry:
        case Ended() | HandedOver():
            return replace(entry, answer=None)
        case Attempted():
            return replace(entry, submit=None)
        case Opened(job=JobRow() as job):
            return replace(entry, job=replace(job, params={}, webhook_url=None))
        case _:
            return entry


def error_code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 when the error is the Python module's own."""
    return getattr(error, "sqlite_errorcode", 0)


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another connection merely holds a lock for now."""
    return error_code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def first_of(error: sqlite3.Error) -> sqlite3.Error:
    """What went wrong first: where SQLite has undone a transaction, undoing it again raises."""
    while isinstance(error.__context__, sqlite3.Error):
        error = error.__context__
    return error


def is_passing(error: sqlite3.Error) -> bool:
    """Whether the database's state is at fault (locked, full, I/O error), not the statement."""
    return isinstance(error, sqlite3.OperationalError) and error_code(error) & 0xFF != _SQL_ERROR


def _raise_if_epoch_lost(error: sqlite3.Error) -> None:
    if error_code(error) == _TRIGGER_ABORT and EPOCH_LOST in str(error):
        message = "another process has taken the ledger's database over"
        raise EpochLostError(message) from error
