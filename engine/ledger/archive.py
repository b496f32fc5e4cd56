"""Receipts that are old go to a file, and then out of the database. Money never goes.

The file is written, durable and read back before the database learns of it; only then are
receipts, attempts and the openings of holds removed, a slice at a time. Whatever interrupts this,
the next run goes on with it.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlite_utils import Database

from engine.ledger.files import keep, partial_file
from engine.ledger.queries import reading
from engine.ledger.receipts import format_time
from engine.ledger.records import LedgerError
from engine.ledger.sqlite import Store

FILE_MAX = 100_000
"""Receipts of one file: a few seconds' work."""

SLICE_MAX = 200
"""Receipts read or removed at once: the journal waits meanwhile."""

_PLAN = """
WITH later AS (
    SELECT min(receipts.seq) AS seq FROM receipts JOIN hold_records USING (seq)
    WHERE receipts.seq > :archived_to AND hold_records.at_ms >= :before_ms
)
SELECT min(seq), max(seq), count(*) FROM (
    SELECT seq FROM receipts
    WHERE seq > :archived_to AND seq < coalesce((SELECT seq FROM later), 1 << 62)
    ORDER BY seq LIMIT :receipts_max
)
"""
_PAGE = """
SELECT receipts.seq, hold_records.at_ms, receipts.body,
       (SELECT json_group_array(json_object('number', number, 'provider', provider,
                                            'model', upstream_model, 'at_ms', at_ms))
        FROM (SELECT * FROM attempts WHERE attempts.request_id = receipts.request_id
              ORDER BY number)) AS attempts
FROM receipts JOIN hold_records USING (seq)
WHERE receipts.seq > ? AND receipts.seq <= ? ORDER BY receipts.seq LIMIT ?
"""
_DOOMED = f"""
SELECT request_id FROM receipts
WHERE seq <= (SELECT value FROM meta WHERE name = 'archived_to') ORDER BY seq LIMIT {SLICE_MAX}
"""  # noqa: S608 - a constant
_REMOVALS = (
    "DELETE FROM attempts WHERE request_id IN (SELECT value FROM json_each(?))",
    "UPDATE holds SET opening = '' WHERE request_id IN (SELECT value FROM json_each(?))",
    "DELETE FROM receipts WHERE request_id IN (SELECT value FROM json_each(?))",
)


@dataclass(frozen=True, slots=True)
class Archive:
    """A file of receipts: gzipped lines of JSON, in the order of their settlements."""

    path: str
    sha256: str
    """Of the file."""
    from_seq: int
    to_seq: int
    receipts: int


def write_archive(
    database: Path, folder: Path, before_ms: int, receipts_max: int = FILE_MAX
) -> Archive | None:
    """Write a file of the oldest receipts settled before a moment; None when there is none.

    Doing it again writes the same file. Its name has its digest, so that none is replaced by
    another: a restored database gives numbers again, two databases may share a folder. The
    database stays as it is.

    Raises:
        LedgerError: the file cannot be written, or does not read back.
        UnavailableError: the database cannot be read now.
    """
    with reading(database) as db:
        (archived_to,) = db.execute("SELECT value FROM meta WHERE name = 'archived_to'").fetchone()
        bounds = {
            "archived_to": archived_to,
            "before_ms": before_ms,
            "receipts_max": receipts_max,
        }
        from_seq, to_seq, count = db.execute(_PLAN, bounds).fetchone()
        if not count:
            return None
        path = folder.absolute() / f"receipts-{from_seq:012d}-{to_seq:012d}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with partial_file(path) as partial:
                written = _write(partial, _lines(db, from_seq - 1, to_seq))
                if written != count or _read_back(partial) != count:
                    raise LedgerError(f"{path} does not hold what was written")
                digest = _sha256(partial)
                path = path.with_name(f"{path.name}-{digest[:12]}.jsonl.gz")
                keep(partial, path)
        except OSError as error:
            raise LedgerError(f"cannot write {path}: {error.strerror or error}") from error
    return Archive(str(path), digest, from_seq, to_seq, count)


def _lines(db: Database, after_seq: int, to_seq: int) -> Iterator[dict[str, Any]]:
    while True:
        rows = db.execute(_PAGE, (after_seq, to_seq, SLICE_MAX)).fetchall()
        for seq, at_ms, body, attempts in rows:
            yield {
                "seq": seq,
                "settled_at": format_time(at_ms),
                "receipt": orjson.loads(body),
                "attempts": orjson.loads(attempts),
            }
        if not rows:
            return
        after_seq = rows[-1][0]


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        for line in lines:
            packed.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _read_back(path: Path) -> int:
    with gzip.open(path, "rb") as lines:
        return sum("receipt" in orjson.loads(line) for line in lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_archive(store: Store, archive: Archive) -> None:
    """Let the database know of a file; a job of the journal's thread.

    Raises:
        LedgerError: another archive has these receipts.
    """

    def insert(db: Database) -> None:
        (archived_to,) = db.execute("SELECT value FROM meta WHERE name = 'archived_to'").fetchone()
        if archived_to >= archive.from_seq:
            raise LedgerError(f"the receipts of {archive.path} are archived already")
        db.table("archives").insert(
            {
                "path": archive.path,
                "sha256": archive.sha256,
                "from_seq": archive.from_seq,
                "to_seq": archive.to_seq,
                "receipts": archive.receipts,
                "at_ms": store.clock(),
            }
        )
        db.table("meta").update("archived_to", {"value": archive.to_seq})

    store.run(insert)


def remove_archived(store: Store) -> int:
    """Remove a slice of what is in an archive; how many receipts went, 0 when none is left.

    A job of the journal's thread.
    """

    def remove(db: Database) -> int:
        doomed = [request_id for (request_id,) in db.execute(_DOOMED).fetchall()]
        parameter = orjson.dumps(doomed).decode()
        for statement in _REMOVALS if doomed else ():
            db.execute(statement, (parameter,))
        return len(doomed)

    return store.run(remove)
