"""The schema: what may never change, and which program may use it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio
from sqlite_utils import Database, Migrations

from engine.ledger import ConflictError, LedgerError, open_ledger
from engine.ledger.admin_log import Order, ordered_by
from engine.ledger.migrations import (
    m001_ledger,
    m002_corrections,
    m003_archives,
    m004_budgets,
    m005_notices,
    m006_idempotency,
    migrate,
)
from engine.ledger.records import TermsRow, UsageRow
from tests.engine.ledger.samples import (
    USD,
    completed,
    funded_ledger,
    opening,
    raw_database,
    replay,
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


OPERATED = [
    ("budget_changes", "origin"),
    ("key_terms", "name"),
    ("account_plans", "plan"),
    ("plan_changes", "body"),
    ("price_changes", "rates"),
    ("switches", "off"),
    ("admin_log", "actor"),
]
"""Likewise, since operators change what runs."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a row in every table that may not change."""
    path = tmp_path / "ledger.db"

    async def prepare() -> None:
        async with funded_ledger(path) as (ledger, account_id):
            key = await ledger.create_key(account_id, "laptop", "digest", "sk-parshall-ab")
            await ledger.set_key_terms(key.key_id, lambda terms: replace(terms, name="phone"))
            with ordered_by(Order("admin", None, "keys.revoke", key.key_id)):
                await ledger.revoke_key(key.key_id)
            await ledger.set_account_plan(account_id, "free", monthly_budget_nanodollars=USD)
            await ledger.set_plan("free", {})
            await ledger.set_price("all", "", "gpt-5", {})
            await ledger.switch("model", "gpt-5", off=True)
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
        connection.execute("INSERT INTO attempts VALUES ('req_1', 1, 'sim', 'm', 0, 'first', '')")
    return path


@pytest.mark.parametrize(("table", "column"), [*IMMUTABLE, *OPERATED])
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


async def test_a_database_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    """Its rows stay as they were, its guards stand, and it goes on from there."""
    old = path.with_name("old.db")
    make_first_version(old)
    columns = columns_of(old)
    before = rows_of(old, columns)
    async with open_ledger(settings_for(old)) as ledger:
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
        assert ledger.balances() == replay(old)
        assert ledger.recovered_holds == 1
        assert ledger.house_balances()["house:adjustment"] == 0
        receipt = await ledger.read_receipt("acct_1", "req_1")
        assert receipt is not None
        done = await ledger.refund("req_1", 100, "an old charge", "ticket-1")
        assert done.amount_nanodollars == 100
        await ledger.fund("acct_1", 1_000, "invoice")
        with pytest.raises(ConflictError):
            await ledger.fund("acct_1", 1_001, "invoice")
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
    after = rows_of(old, columns)
    for table, rows in before.items():
        assert rows <= after[table], table
    with raw_database(old) as connection:
        for table, column in IMMUTABLE:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(f"UPDATE {table} SET {column} = {column}")
        found = connection.execute(
            "SELECT key_id, model, outcome, created_at FROM receipts WHERE request_id = 'req_1'"
        ).fetchone()
    assert found == ("key_1", "gpt-5", "completed", "2026-01-02T03:04:05.678Z")


def make_first_version(path: Path) -> None:
    """A database as the first migration left it: funded, charged, an open hold."""
    begun = opening("req_1", "acct_1")
    receipt = completed(begun).replace(price_nanodollars=700, cost_nanodollars=100)
    body, opened = (orjson.dumps(each.to_json()).decode() for each in (receipt, begun))
    later = orjson.dumps(opening("req_2", "acct_1").to_json()).decode()
    db = Database(path)
    first = Migrations("parshall.ledger")
    first(name="m001_ledger")(m001_ledger.apply)
    first.apply(db)
    rows: dict[str, list[tuple[object, ...]]] = {
        "accounts": [("acct_1", "customer", "demo", 0), ("provider:sim", "provider", "sim", 0)],
        "keys": [("key_1", "acct_1", "laptop", "digest", "sk-parshall-ab", 0)],
        "key_revocations": [("key_1", 5)],
        "holds": [(1, "req_1", "acct_1", 1, opened), (3, "req_2", "acct_1", 1, later)],
        "hold_records": [
            (1, "req_1", "held", 1_000, 5),
            (2, "req_1", "posted", 700, 6),
            (3, "req_2", "held", 50, 7),
        ],
        "transfers": [
            (1, "funding", None, None, "first", 1),
            (2, "charge", "req_1", "completed", None, 6),
            (3, "cost", "req_1", "completed", None, 6),
        ],
        "postings": [
            (1, "acct_1", USD),
            (1, "house:funding", -USD),
            (2, "acct_1", -700),
            (2, "house:revenue", 700),
            (3, "house:cost", -100),
            (3, "provider:sim", 100),
        ],
        "attempts": [("req_2", 1, "sim", "sim-openai", 7)],
        "receipts": [(2, "req_1", "acct_1", body)],
    }
    with db.conn:
        for table, values in rows.items():
            marks = ", ".join("?" * len(values[0]))
            db.conn.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
        db.execute(
            "INSERT INTO balances SELECT account_id, sum(amount) FROM postings"
            " WHERE true GROUP BY account_id"
            " ON CONFLICT (account_id) DO UPDATE SET amount = excluded.amount"
        )
        db.execute("UPDATE meta SET value = 3 WHERE name = 'sequence'")
        db.execute("UPDATE meta SET value = 1 WHERE name = 'epoch'")
    db.close()


def make_sixth_version(path: Path) -> None:
    """The same database, brought as far as the sixth migration: with a refund and a budget."""
    make_first_version(path)
    db = Database(path)
    others = Migrations("parshall.ledger")
    for module in (
        m001_ledger,
        m002_corrections,
        m003_archives,
        m004_budgets,
        m005_notices,
        m006_idempotency,
    ):
        others(name=module.__name__.rpartition(".")[2])(module.apply)
    others.apply(db)
    with db.conn:
        db.conn.executescript(
            "INSERT INTO transfers VALUES (4, 'refund', 'req_1', 'why', 'r-1', 86400001);"
            "INSERT INTO postings VALUES (4, 'acct_1', 200), (4, 'house:revenue', -200);"
            "UPDATE balances SET amount = amount + 200 WHERE account_id = 'acct_1';"
            "UPDATE balances SET amount = amount - 200 WHERE account_id = 'house:revenue';"
            "UPDATE spending SET amount = amount - 200;"
            "INSERT INTO budget_changes VALUES (1, 'acct_1', NULL, 'month', 900, 1, '[]', 8);"
            "INSERT INTO budget_changes VALUES (2, 'acct_1', 'key_1', 'day', 800, 1, '[]', 8);"
            "INSERT INTO budget_changes VALUES (3, 'acct_1', 'key_1', 'day', NULL, 0, '[]', 9);"
        )
    db.close()


async def test_usage_is_summed_up_from_the_receipts_that_there_were(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_sixth_version(path)
    async with open_ledger(settings_for(path)) as ledger:
        usage = await ledger.usage("acct_1", 0, 1)
        assert usage.rows == (UsageRow(0, "key_1", "gpt-5", 1, 9, 0, 20, 700, 200),)
        assert usage.complete_from_day == 0
        (view,) = await ledger.budgets()
        assert (view.budget.limit_nanodollars, view.budget.origin) == (900, "operator")
        key = await ledger.key("key_1")
        assert key.terms == TermsRow("laptop")
        assert key.key.revoked_at_ms == 5
        assert await ledger.load_operations() == ()
        await ledger.refund("req_1", 100, "why", "r-2")
        (row,) = (await ledger.usage("acct_1", 0, 1)).rows
        assert row.refunded_nanodollars == 300
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_other_units_are_summed_up_from_the_receipts_that_there_were(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_sixth_version(path)
    with raw_database(path) as connection:
        connection.executescript(
            "DROP TRIGGER receipts_no_update;"
            "UPDATE receipts SET body = json_set(body, '$.usage.images', 3,"
            " '$.usage.web_searches', 0, '$.usage.milliseconds', 1500);"
        )
    async with open_ledger(settings_for(path)) as ledger:
        (row,) = (await ledger.usage("acct_1", 0, 1)).rows
        assert (row.output_tokens, row.units) == (20, {"images": 3, "milliseconds": 1_500})
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_usage_is_complete_from_the_day_after_what_was_archived(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_sixth_version(path)
    with raw_database(path) as connection:
        connection.executescript(
            "INSERT INTO archives VALUES (1, 'old.gz', 'x', 2, 2, 1, 0);"
            "UPDATE meta SET value = 2 WHERE name = 'archived_to';"
            "UPDATE holds SET opening = '' WHERE request_id = 'req_1';"
            "DELETE FROM receipts WHERE request_id = 'req_1'"
        )
    async with open_ledger(settings_for(path)) as ledger:
        usage = await ledger.usage("acct_1", 0, 1)
        assert (usage.rows, usage.complete_from_day) == ((), 1)
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


def rows_of(path: Path, columns: dict[str, str]) -> dict[str, set[tuple[object, ...]]]:
    """What may not change, in the columns that there were at first."""
    with raw_database(path) as connection:
        return {
            table: set(connection.execute(f"SELECT {names} FROM {table}"))
            for table, names in columns.items()
        }


def columns_of(path: Path) -> dict[str, str]:
    with raw_database(path) as connection:
        return {
            table: ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            for table, _ in IMMUTABLE
        }


def test_a_migration_is_applied_once() -> None:
    db = Database(memory=True)
    migrate(db)
    before = db.schema
    migrate(db)
    assert db.schema == before
    db.close()
