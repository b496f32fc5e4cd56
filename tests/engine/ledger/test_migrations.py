"""The schema: what may never change, and which program may use it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio
from sqlite_utils import Database

from engine.ledger import LedgerError, open_ledger
from engine.ledger.migrations import migrate
from tests.engine.ledger.samples import (
    completed,
    funded_ledger,
    opening,
    raw_database,
    settings_for,
)

IMMUTABLE = [
    ("accounts", "name"),
    ("keys", "account_id"),
    ("key_revocations", "at_ms"),
    ("holds", "epoch"),
    ("hold_records", "amount"),
    ("transfers", "kind"),
    ("postings", "amount"),
    ("attempts", "provider"),
    ("receipts", "body"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a row in every table that may not change."""
    path = tmp_path / "ledger.db"

    async def prepare() -> None:
        async with funded_ledger(path) as (ledger, account_id):
            key = await ledger.create_key(account_id, "laptop", "digest", "sk-parshall-ab")
            await ledger.revoke_key(key.key_id)
            begun = opening("req_1", account_id)
            hold = ledger.hold(account_id, "req_1", 10, begun)
            ledger.settle(
                hold,
                posted_nanodollars=5,
                overrun_nanodollars=0,
                costs=[],
                receipt=completed(begun),
            )

    trio.run(prepare)
    with raw_database(path) as connection:
        connection.execute("INSERT INTO attempts VALUES ('req_1', 1, 'sim', 'sim-openai', 0)")
    return path


@pytest.mark.parametrize(("table", "column"), IMMUTABLE)
def test_what_was_written_stays(path: Path, table: str, column: str) -> None:
    with raw_database(path) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"UPDATE {table} SET {column} = {column}")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("INSERT INTO hold_records VALUES (99, 'req_1', 'voided', 0, 0)", "UNIQUE"),
        ("INSERT INTO hold_records VALUES (99, 'req_1', 'forgiven', 0, 0)", "CHECK"),
        ("INSERT INTO hold_records VALUES (99, 'req_1', 'extended', -1, 0)", "CHECK"),
        ("INSERT INTO hold_records VALUES (99, 'req_1', 'extended', 0.5, 0)", "cannot store REAL"),
        ("INSERT INTO transfers VALUES (99, 'charge', 'req_1', NULL, NULL, 0)", "UNIQUE"),
        ("INSERT INTO transfers VALUES (99, 'funding', NULL, NULL, 'first', 0)", "UNIQUE"),
        ("INSERT INTO postings VALUES (1, 'house:revenue', 0)", "CHECK"),
    ],
)
def test_the_database_refuses_what_breaks_a_rule(
    path: Path, statement: str, complaint: str
) -> None:
    with raw_database(path) as connection, pytest.raises(sqlite3.IntegrityError, match=complaint):
        connection.execute(statement)


def test_the_files_are_their_owners_alone(path: Path) -> None:
    for file in path.parent.glob("ledger.db*"):
        assert file.stat().st_mode & 0o077 == 0, file.name


async def test_a_database_of_a_newer_program_is_refused(path: Path) -> None:
    with raw_database(path) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('parshall.ledger', 'm999_future', '2031-01-01')"
        )
    with pytest.raises(LedgerError, match=r"newer than this program.*m999_future"):
        async with open_ledger(settings_for(path)):
            pytest.fail("it is not ours to read")


def test_a_migration_is_applied_once() -> None:
    db = Database(memory=True)
    migrate(db)
    before = db.schema
    migrate(db)
    assert db.schema == before
    db.close()
