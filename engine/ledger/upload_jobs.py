"""Uploads in the database: jobs of the journal's thread, and what readers ask. Their parts are
files, of which each names its upload where those of jobs name their request."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from engine.errors import ConcurrencyLimitedError, NotFoundError
from engine.ledger.file_rows import FileRow
from engine.ledger.queries import is_customer, reading
from engine.ledger.sqlite import Store
from engine.ledger.upload_rows import PART_PURPOSE, UploadRow, UploadStatus

_COLUMNS: Final = ", ".join(spec.name for spec in fields(UploadRow))
_PART_COLUMNS: Final = ", ".join(spec.name for spec in fields(FileRow))
_OPEN: Final = """
SELECT count(*) FROM uploads
WHERE account_id = ? AND status = 'pending' AND expires_at_ms > ?
"""
_PARTS: Final = f"""
SELECT {_PART_COLUMNS} FROM files
WHERE account_id = ? AND request_id = ? AND purpose = '{PART_PURPOSE}' ORDER BY seq
"""  # noqa: S608 - constants


def add_upload(store: Store, row: UploadRow, open_max: int) -> None:
    """Write an upload down.

    Raises:
        ConcurrencyLimitedError: the account has `open_max` of them open.
        NotFoundError: no such account.
    """

    def insert(db: Database) -> None:
        if not is_customer(db, row.account_id):
            raise NotFoundError("There is no such account.")
        ((open_now,),) = db.execute(_OPEN, (row.account_id, store.clock())).fetchall()
        if open_now >= open_max:
            raise ConcurrencyLimitedError(
                f"The account may have {open_max:,} uploads open at once; complete or cancel some."
            )
        db.table("uploads").insert(asdict(row))

    store.run(insert)


def end_upload(store: Store, upload_id: str, status: UploadStatus) -> None:
    """It has come to its end. One that has ended stays as it is."""
    sql = "UPDATE uploads SET status = ? WHERE upload_id = ? AND status = 'pending'"
    store.run(lambda db: db.execute(sql, (status, upload_id)))


def forget_uploads(store: Store, before_ms: int) -> None:
    """Forget those whose time was over before a moment."""
    sql = "DELETE FROM uploads WHERE expires_at_ms < ?"
    store.run(lambda db: db.execute(sql, (before_ms,)))


def find_upload(path: Path, account_id: str, upload_id: str) -> UploadRow | None:
    """An account's upload, also one that has ended."""
    sql = f"SELECT {_COLUMNS} FROM uploads WHERE upload_id = ? AND account_id = ?"  # noqa: S608 - constants
    with reading(path) as db:
        row = db.execute(sql, (upload_id, account_id)).fetchone()
        return None if row is None else UploadRow(*row)


def parts_of(path: Path, account_id: str, upload_id: str) -> list[FileRow]:
    """The parts that have come of an upload."""
    with reading(path) as db:
        return [FileRow(*row) for row in db.execute(_PARTS, (account_id, upload_id))]
