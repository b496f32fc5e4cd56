"""Files in the database: jobs of the journal's thread, and what readers ask.

A row is written once what it names is stored, and removed before that is: what a crash leaves is
at most something stored that no row names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

import orjson
from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.file_rows import FilePage, FileQuery, FileRow, ProviderFile, StoredBytes
from engine.ledger.paging import read_page
from engine.ledger.queries import is_customer, reading
from engine.ledger.records import ConflictError
from engine.ledger.sqlite import Store
from engine.ledger.upload_rows import PART_PURPOSE

NAMES_MAX: Final = 20_000

_COLUMNS: Final = ", ".join(spec.name for spec in fields(FileRow))
_COPY_COLUMNS: Final = ", ".join(spec.name for spec in fields(ProviderFile))

_WHOLE: Final = f"purpose != '{PART_PURPOSE}'"
"""Not a part of one that still comes: nobody is shown those."""
_FIND: Final = f"""
SELECT {_COLUMNS} FROM files WHERE file_id = :file AND account_id = :account
    AND coalesce(expires_at_ms > :now, 1) AND {_WHOLE}
"""  # noqa: S608 - a constant
_PAGE: Final = f"""
SELECT {_COLUMNS} FROM files WHERE account_id = :account AND coalesce(expires_at_ms > :now, 1)
    AND {_WHOLE} AND (:purposes IS NULL OR purpose IN (SELECT value FROM json_each(:purposes)))
"""  # noqa: S608 - a constant
_PLACE: Final = """
SELECT seq FROM files WHERE file_id = :cursor AND account_id = :account
UNION ALL
SELECT seq FROM removed_files WHERE file_id = :cursor AND account_id = :account
"""
_REMOVE: Final = f"DELETE FROM files WHERE file_id = ? RETURNING seq, {_COLUMNS}"  # noqa: S608 - a constant
_EXPIRED: Final = """
SELECT file_id FROM files WHERE expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?
"""
_UNWANTED_COPIES: Final = f"""
SELECT {_COPY_COLUMNS} FROM provider_files
WHERE file_id > ? AND file_id NOT IN (SELECT file_id FROM files) ORDER BY file_id LIMIT ?
"""  # noqa: S608 - a constant
_NAMES: Final = """
SELECT provider_file_id, file_id FROM files JOIN provider_files USING (file_id)
WHERE account_id = ? AND provider = ? AND credential = ? ORDER BY files.seq DESC LIMIT ?
"""
_CALLED: Final = """
SELECT provider_file_id, file_id, account_id FROM provider_files LEFT JOIN files USING (file_id)
WHERE provider = ? AND credential = ? AND provider_file_id IN (SELECT value FROM json_each(?))
"""


def add_file(store: Store, row: FileRow) -> None:
    """Write a file down: from now on it is there.

    Raises:
        ConflictError: there is, or was, one of this id.
        NotFoundError: no such account.
    """

    def insert(db: Database) -> None:
        if not is_customer(db, row.account_id):
            raise NotFoundError("There is no such account.")
        removed = db.execute("SELECT 1 FROM removed_files WHERE file_id = ?", (row.file_id,))
        if removed.fetchone() is not None:
            raise ConflictError("There was a file of this id.")
        try:
            db.table("files").insert(asdict(row))
        except sqlite3.IntegrityError as error:
            raise ConflictError("There is a file of this id already.") from error

    store.run(insert)


def remove_files(
    store: Store, file_ids: Sequence[str], account_id: str | None = None
) -> list[FileRow]:
    """Remove the rows of those that are there and, where an account is named, its own; these."""

    def remove(db: Database) -> list[FileRow]:
        removed = []
        for file_id in file_ids:
            if account_id is not None and not _is_of(db, account_id, file_id):
                continue
            for seq, *columns in db.execute(_REMOVE, (file_id,)).fetchall():
                row = FileRow(*columns)
                db.execute(
                    "INSERT OR REPLACE INTO removed_files VALUES (?, ?, ?, ?)",
                    (file_id, row.account_id, seq, store.clock()),
                )
                removed.append(row)
        return removed

    return store.run(remove)


def _is_of(db: Database, account_id: str, file_id: str) -> bool:
    sql = "SELECT 1 FROM files WHERE file_id = ? AND account_id = ?"
    return db.execute(sql, (file_id, account_id)).fetchone() is not None


def forget_removed(store: Store, before_ms: int) -> None:
    """Forget where files stood that were removed before a moment."""
    store.run(lambda db: db.execute("DELETE FROM removed_files WHERE at_ms < ?", (before_ms,)))


def find_file(path: Path, account_id: str, file_id: str, now_ms: int) -> FileRow | None:
    """An account's file, unless its time is over."""
    with reading(path) as db:
        row = db.execute(_FIND, {"file": file_id, "account": account_id, "now": now_ms}).fetchone()
        return None if row is None else FileRow(*row)


def page_of_files(path: Path, account_id: str, query: FileQuery, now_ms: int) -> FilePage:
    """A page of an account's files. A cursor may name one that was removed not long ago.

    Raises:
        InvalidRequestError: a cursor is none.
    """
    purposes = None if query.purposes is None else orjson.dumps(query.purposes).decode()
    rows, more = read_page(
        path,
        query,
        select=_PAGE,
        place=_PLACE,
        of={"account": account_id, "now": now_ms, "purposes": purposes},
        noun="file",
        make=FileRow,
    )
    return FilePage(rows, more)


def expired_files(path: Path, now_ms: int, limit: int) -> list[str]:
    """The ids of files whose time is over, whosever they are."""
    with reading(path) as db:
        return [file_id for (file_id,) in db.execute(_EXPIRED, (now_ms, limit))]


def stored_bytes(db: Database) -> list[StoredBytes]:
    """What each account has stored that has anything."""
    sql = (
        "SELECT account_id, sum(size_bytes), count(*) FROM files WHERE origin <> 'provider'"
        " GROUP BY account_id"
    )
    return [StoredBytes(*row) for row in db.execute(sql)]


def file_sizes(path: Path, prefix: str) -> dict[str, int]:
    """The sizes of all files whose ids begin so and that are stored here, by id."""
    with reading(path) as db:
        sql = (
            "SELECT file_id, size_bytes FROM files WHERE file_id >= ? AND file_id < ?"
            " AND origin <> 'provider'"
        )
        return dict(db.execute(sql, (prefix, prefix + "~")).fetchall())


def store_id(db: Database) -> str:
    """What the place says where the files of this database are, and no other's."""
    ((found,),) = db.execute("SELECT store_id FROM file_store").fetchall()
    return str(found)


def put_copy(store: Store, copy: ProviderFile) -> None:
    """Remember a copy at a provider, in the place of an earlier one with the same credential."""
    store.run(lambda db: db.table("provider_files").insert(asdict(copy), replace=True))


def forget_copy(store: Store, copy: ProviderFile) -> None:
    """A copy is gone, or is none any more. One that has replaced it meanwhile stays."""

    def remove(db: Database) -> None:
        db.execute(
            "DELETE FROM provider_files WHERE file_id = ? AND provider = ? AND credential = ?"
            " AND provider_file_id = ?",
            (copy.file_id, copy.provider, copy.credential, copy.provider_file_id),
        )

    store.run(remove)


def find_copy(path: Path, file_id: str, provider: str, credential: str) -> ProviderFile | None:
    """The copy of a file at a provider, for one credential; also one that has expired there."""
    with reading(path) as db:
        sql = (
            f"SELECT {_COPY_COLUMNS} FROM provider_files"  # noqa: S608 - constants
            " WHERE file_id = ? AND provider = ? AND credential = ?"
        )
        row = db.execute(sql, (file_id, provider, credential)).fetchone()
        return None if row is None else ProviderFile(*row)


def first_copy(path: Path, file_id: str) -> ProviderFile | None:
    """The copy that was known first; of what a provider has made it is the file itself."""
    with reading(path) as db:
        sql = (
            f"SELECT {_COPY_COLUMNS} FROM provider_files WHERE file_id = ?"  # noqa: S608 - constants
            " ORDER BY uploaded_at_ms LIMIT 1"
        )
        row = db.execute(sql, (file_id,)).fetchone()
        return None if row is None else ProviderFile(*row)


def files_called(
    path: Path, provider: str, credential: str, provider_file_ids: Sequence[str]
) -> list[tuple[str, str, str | None]]:
    """Of files of these names at a provider: the name, the bare id, and whose it is; None: it was
    removed here."""
    with reading(path) as db:
        return db.execute(
            _CALLED, (provider, credential, orjson.dumps(provider_file_ids).decode())
        ).fetchall()


def names_at(path: Path, account_id: str, provider: str, credential: str) -> dict[str, str]:
    """The bare ids of an account's files by what a provider calls them; of the latest ones."""
    with reading(path) as db:
        said = (account_id, provider, credential, NAMES_MAX)
        return dict(db.execute(_NAMES, said).fetchall())


def unwanted_copies(path: Path, after: str, limit: int) -> list[ProviderFile]:
    """Copies of files that are no more, behind an id."""
    with reading(path) as db:
        return [ProviderFile(*row) for row in db.execute(_UNWANTED_COPIES, (after, limit))]
