"""Results of jobs that are to become files, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from engine.job import JobError
from engine.ledger.queries import reading
from engine.ledger.sqlite import Store

_PENDING: Final = """
SELECT job_id, account_id, tries, due_at_ms FROM pending_copies JOIN jobs USING (job_id)
ORDER BY due_at_ms LIMIT ?
"""
_MADE: Final = """
SELECT file_id, filename FROM files
WHERE account_id = ? AND request_id = ? AND origin = 'job' ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class PendingCopy:
    """A job whose results are to become files, and when to try that next."""

    job_id: str
    account_id: str
    tries: int
    due_at_ms: int


def pending_copies(path: Path, limit: int) -> list[PendingCopy]:
    """What is to be copied, the soonest due first."""
    with reading(path) as db:
        return [PendingCopy(**row) for row in db.query(_PENDING, [limit])]


def files_made(path: Path, account_id: str, request_id: str) -> dict[str, str]:
    """The files that were made of a job's results: their bare ids by their names."""
    with reading(path) as db:
        rows = db.query(_MADE, [account_id, request_id])
        return {row["filename"]: row["file_id"] for row in rows}


def is_copy_wanted(path: Path, job_id: str) -> bool:
    """Whether its results are still to become files."""
    with reading(path) as db:
        found = db.execute("SELECT 1 FROM pending_copies WHERE job_id = ?", [job_id])
        return found.fetchone() is not None


def defer_copy(store: Store, job_id: str, due_at_ms: int) -> None:
    """Copying has failed; try it again then."""

    def update(db: Database) -> None:
        db.execute(
            "UPDATE pending_copies SET tries = tries + 1, due_at_ms = ? WHERE job_id = ?",
            [due_at_ms, job_id],
        )

    store.run(update)


def fail_copy(store: Store, job_id: str, error: JobError) -> None:
    """Copying is given up. May be done twice; nothing where it is wanted no more."""

    def insert(db: Database) -> None:
        db.execute(
            "INSERT INTO failed_copies SELECT job_id, ?, ?, ? FROM pending_copies WHERE job_id = ?",
            [error.code, error.message, store.clock(), job_id],
        )
        db.execute("DELETE FROM pending_copies WHERE job_id = ?", [job_id])

    store.run(insert)
