"""Jobs in the database: those that are open, and what an account is shown of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from sqlite_utils import Database

from engine.job import JobKind, bare_job_id
from engine.ledger.job_json import ACCEPTANCE_COLUMNS, read_submit, read_view
from engine.ledger.job_rows import JobPage, JobQuery, JobSubmit, JobView
from engine.ledger.queries import reading
from engine.ledger.receipts import Receipt
from engine.ledger.records import AttemptRow
from engine.ledger.sqlite import Store

PRUNED_AT_ONCE: Final = 500
_PRUNED: Final = ("job_deletions", "job_records", "job_acceptances", "jobs")
"""Children before parents."""

_ACCEPTED = ", ".join(
    f"accepted.{column} AS accepted_{column}" for column in ACCEPTANCE_COLUMNS if column != "job_id"
)
_LAST = ", ".join(
    f"last.{column} AS last_{column}"
    for column in ("state", "at_ms", "error", "results", "units", "files")
)
_VIEWS = f"""
SELECT jobs.*, {_ACCEPTED}, {_LAST}, ended.amount AS posted, unstored.code AS store_code,
       unstored.message AS store_message,
       jobs.job_id NOT IN (SELECT job_id FROM open_jobs) AS is_closed
FROM jobs LEFT JOIN job_acceptances AS accepted USING (job_id)
    LEFT JOIN job_records AS last
        ON last.seq = (SELECT max(seq) FROM job_records WHERE job_id = jobs.job_id)
    LEFT JOIN hold_records AS ended ON ended.request_id = jobs.request_id
        AND ended.kind IN ('posted', 'voided', 'expired')
    LEFT JOIN failed_copies AS unstored ON unstored.job_id = jobs.job_id
"""  # noqa: S608 - constants
_SHOWN = """
accepted.job_id IS NOT NULL AND jobs.kind IN ('video', 'music')
    AND jobs.job_id NOT IN (SELECT job_id FROM job_deletions)
"""
"""What no provider has taken, its client was never told of; what is only followed, its provider
shows."""
_OPEN = f"""
SELECT views.*, holds.seq AS hold_seq, holds.opening, open_jobs.number AS submit_number,
       open_jobs.submit,
       (SELECT sum(amount) FROM hold_records WHERE request_id = views.request_id) AS held
FROM ({_VIEWS}) AS views JOIN open_jobs USING (job_id) JOIN holds USING (request_id)
ORDER BY holds.seq
"""  # noqa: S608 - constants
_OLD = """
SELECT jobs.job_id FROM jobs JOIN job_records USING (job_id)
WHERE closed = 1 AND at_ms < ? ORDER BY at_ms LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job that is open in the database.

    Attributes:
        hold_seq: the record of its hold.
        receipt: as far as its exchange had come; the opening one where no provider has taken it.
        attempts: in the order of their numbers.
        submit: of the last one.
    """

    view: JobView
    hold_seq: int
    held_nanodollars: int
    receipt: Receipt
    attempts: tuple[AttemptRow, ...]
    submit: JobSubmit | None


def stored_open_jobs(db: Database) -> list[StoredJob]:
    """Whatever has not closed, the oldest hold first."""
    return [_stored(db, row) for row in db.query(_OPEN)]


def _stored(db: Database, row: dict[str, Any]) -> StoredJob:
    view, receipt = read_view(row), row["accepted_receipt"]
    attempts = db.execute(
        "SELECT number, provider, upstream_model, at_ms, role, model FROM attempts"
        " WHERE request_id = ? ORDER BY number",
        (view.row.request_id,),
    )
    return StoredJob(
        view,
        row["hold_seq"],
        row["held"],
        Receipt.from_json(orjson.loads(row["opening"] if receipt is None else receipt)),
        tuple(AttemptRow(*each) for each in attempts),
        read_submit(view.row.job_id, row["submit_number"], row["submit"]),
    )


def find_job(path: Path, account_id: str, shown_id: str) -> JobView | None:
    """One of this account's jobs, that a provider has taken. Raises UnavailableError."""
    job_id = f"job_{bare_job_id(shown_id)}"
    with reading(path) as db:
        sql = f"{_VIEWS} WHERE jobs.job_id = ? AND jobs.account_id = ? AND {_SHOWN}"
        return next((read_view(row) for row in db.query(sql, [job_id, account_id])), None)


def find_followed(
    path: Path, account_id: str, kind: JobKind, provider: str, known_as: str
) -> JobView | None:
    """One of this account's jobs, by what its provider calls it. Raises UnavailableError."""
    with reading(path) as db:
        sql = (
            f"{_VIEWS} WHERE jobs.account_id = ? AND jobs.kind = ?"
            " AND accepted.provider = ? AND accepted.provider_job_id = ?"
        )
        said = [account_id, kind, provider, known_as]
        return next((read_view(row) for row in db.query(sql, said)), None)


def page_jobs(path: Path, account_id: str, query: JobQuery) -> JobPage | None:
    """A page of this account's jobs; None: there is none to go on behind. Raises
    UnavailableError."""
    descending = query.order == "desc"
    sql = f"{_VIEWS} WHERE jobs.account_id = :account_id AND {_SHOWN}"
    said: dict[str, Any] = {"account_id": account_id, "limit": query.limit + 1}
    if query.kind is not None:
        sql, said["kind"] = f"{sql} AND jobs.kind = :kind", query.kind
    with reading(path) as db:
        if query.after is not None:
            place = db.execute(
                "SELECT seq FROM jobs WHERE job_id = ? AND account_id = ?",
                (f"job_{bare_job_id(query.after)}", account_id),
            ).fetchone()
            if place is None:
                return None
            sql, said["seq"] = f"{sql} AND jobs.seq {'<' if descending else '>'} :seq", place[0]
        sql += f" ORDER BY jobs.seq {'DESC' if descending else ''} LIMIT :limit"
        rows = [read_view(row) for row in db.query(sql, said)]
    return JobPage(tuple(rows[: query.limit]), len(rows) > query.limit)


def known_provider_jobs(db: Database, provider: str, ids: Collection[str]) -> frozenset[str]:
    """Which of a provider's ids it has taken jobs as."""
    rows = db.execute(
        "SELECT provider_job_id FROM job_acceptances"
        " WHERE provider = ? AND provider_job_id IN (SELECT value FROM json_each(?))",
        (provider, orjson.dumps(list(ids)).decode()),
    )
    return frozenset(known_as for (known_as,) in rows)


def delete_job(store: Store, job_id: str) -> None:
    """Show it no more. May be done twice."""

    def insert(db: Database) -> None:
        db.execute("INSERT OR IGNORE INTO job_deletions VALUES (?, ?)", (job_id, store.clock()))

    store.run(insert)


def prune_jobs(store: Store, before_ms: int) -> int:
    """Remove a slice of what closed before a moment; how many."""

    def remove(db: Database) -> int:
        rows = db.execute(_OLD, (before_ms, PRUNED_AT_ONCE)).fetchall()
        old = orjson.dumps([job_id for (job_id,) in rows]).decode()
        for table in _PRUNED if rows else ():
            db.execute(
                f"DELETE FROM {table} WHERE job_id IN (SELECT value FROM json_each(?))",  # noqa: S608 - a constant
                (old,),
            )
        return len(rows)

    return store.run(remove)
