"""Receipts exported: as they are and summed up, archived ones included."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from engine.clock import wall_ms
from engine.ledger import CostLine, Ledger, open_ledger
from engine.ledger.archive import record_archive, write_archive
from engine.ledger.history import Selection, settled_exchanges
from engine.ledger.sqlite import Store
from frontends.cli import main
from frontends.cli_reports import write_rows
from tests.engine.ledger.samples import USD, completed, opening, settings_for

DAY_MS = 86_400_000
FIRST_MS = 1_777_593_600_000  # 2026-05-01T00:00:00Z


def parshall(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def settle(ledger: Ledger, account_id: str, request_id: str, **changes: Any) -> None:
    """An exchange that cost 100 and was charged 250."""
    begun = opening(request_id, account_id).replace(**changes)
    hold = ledger.hold(account_id, request_id, 1_000, begun)
    ticket = ledger.settle(
        hold,
        posted_nanodollars=250,
        overrun_nanodollars=7,
        costs=[CostLine("sim", 100)],
        receipt=completed(begun),
    )
    await ledger.wait_durable(ticket)


@asynccontextmanager
async def two_accounts(db: Path) -> AsyncIterator[Ledger]:
    """Three days of two accounts: alice asks for two models with two keys, bob for one."""
    async with open_ledger(settings_for(db)) as ledger:
        for name in ("alice", "bob"):
            account_id = (await ledger.create_account(name)).account_id
            await ledger.fund(account_id, USD, name)
            for day in range(3):
                at_ms = FIRST_MS + day * DAY_MS
                await settle(ledger, account_id, f"{name}_{day}", created_at_ms=at_ms)
        account_id = (await ledger.account("alice")).account_id
        later = {"created_at_ms": FIRST_MS + DAY_MS - 1, "model": "o4", "key_id": "key_2"}
        await settle(ledger, account_id, "alice_late", **later)
        await ledger.refund("bob_1", 50, "goodwill", "ticket-1")
        yield ledger


def table(*arguments: str | Path) -> list[dict[str, str]]:
    result = parshall("receipts", "export", *arguments)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


async def exported(*arguments: str | Path) -> list[dict[str, str]]:
    return await trio.to_thread.run_sync(lambda: table(*arguments))


async def test_every_settled_request_is_a_row(db: Path) -> None:
    async with two_accounts(db):
        rows = await exported("--db", db)
    assert [row["request_id"] for row in rows] == [
        "alice_0", "bob_0", "alice_late", "alice_1", "bob_1", "alice_2", "bob_2",
    ]  # fmt: skip
    [refunded] = [row for row in rows if row["request_id"] == "bob_1"]
    assert refunded["account"] == "bob"
    assert json.loads(refunded.pop("usage")) == {"input_tokens": 9, "output_tokens": 20}
    assert (refunded["input_tokens"], refunded["output_tokens"]) == ("9", "20")
    assert {name: refunded[f"{name}_usd"] for name in ("price", "refunded", "cost", "margin")} == {
        "price": "0.000000250",
        "refunded": "0.000000050",
        "cost": "0.000000100",
        "margin": "0.000000100",
    }
    assert refunded["overrun_usd"] == "0.000000007"


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        (("--from", "2026-05-02"), 4),
        (("--to", "2026-05-02"), 3),
        (("--from", "2026-05-01T23:59:59.999Z", "--to", "2026-05-02T00:00:00.000Z"), 1),
        (("--from", "2026-05-02T02:00:00+02:00", "--to", "2026-05-03"), 2),
        (("--account", "alice"), 4),
        (("--account", "bob", "--from", "2026-05-03"), 1),
        (("--key", "key_2"), 1),
        (("--model", "gpt-5"), 6),
        (("--from", "2027-01-01"), 0),
    ],
)
async def test_a_selection(db: Path, options: tuple[str, ...], requests: int) -> None:
    async with two_accounts(db) as ledger:
        assert len(await exported("--db", db, *options)) == requests
        await ledger.archive(db.parent / "old", 2**50)
        assert len(await exported("--db", db, *options)) == requests, "archived ones too"
        assert await exported("--db", db, "--without-archives", *options) == []


async def test_sums_are_the_ledgers(db: Path) -> None:
    async with two_accounts(db) as ledger:
        by_account = await exported("--db", db, "--by", "account")
        by_all = await exported("--db", db, "--by", "day,account,key,model")
        await ledger.archive(db.parent / "old", 2**50)
        await settle(ledger, (await ledger.account("bob")).account_id, "bob_new")
        [total] = await exported("--db", db, "--by", "model", "--model", "gpt-5")
        revenue = ledger.house_balances()["house:revenue"]
    assert [(row["account"], row["requests"], row["margin_usd"]) for row in by_account] == [
        ("alice", "4", "0.000000600"),
        ("bob", "3", "0.000000400"),
    ]
    assert len(by_all) == 7
    assert by_all[0] == {
        "day": "2026-05-01", "account": "alice", "key": "key_1", "model": "gpt-5",
        "requests": "1", "input_tokens": "9", "output_tokens": "20",
        "usage": '{"input_tokens":9,"output_tokens":20}',
        "price_usd": "0.000000250", "refunded_usd": "0.000000000", "cost_usd": "0.000000100",
        "overrun_usd": "0.000000007", "margin_usd": "0.000000150",
    }  # fmt: skip
    assert (total["requests"], total["price_usd"]) == ("7", "0.000001750")
    assert revenue == 8 * (250 + 7) - 50


async def test_lines_of_json_to_a_file(db: Path, tmp_path: Path) -> None:
    file = tmp_path / "receipts.jsonl"
    async with two_accounts(db):
        await exported("--db", db, "--format", "jsonl", "--output", file)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 7
    assert rows[0]["price_usd"] == "0.000000250"
    assert rows[0]["output_tokens"] == 20


def partial_files(folder: Path) -> list[Path]:
    return list(folder.glob("*partial*"))


async def test_a_file_is_replaced_as_a_whole_and_private(db: Path, tmp_path: Path) -> None:
    file = tmp_path / "receipts.csv"
    await trio.Path(file).write_text("of last month")
    async with two_accounts(db) as ledger:
        [archive] = await ledger.archive(db.parent / "old", 2**50)
        await exported("--db", db, "--output", file, "--from", "2027-01-01")
        assert await trio.Path(file).read_text() == "", "nothing was asked for then"
        await exported("--db", db, "--output", file)
        whole = await trio.Path(file).read_text()
        assert len(whole.splitlines()) == 8
        assert (await trio.Path(file).stat()).st_mode & 0o077 == 0
        packed = await trio.Path(archive.path).read_bytes()
        await trio.Path(archive.path).write_bytes(packed[:-20])
    assert parshall("receipts", "export", "--db", db, "--output", file).exit_code == 1
    assert await trio.Path(file).read_text() == whole
    assert partial_files(tmp_path) == []


async def test_a_name_is_never_a_formula(db: Path) -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "plain"]
    async with open_ledger(settings_for(db)) as ledger:
        for number, name in enumerate(names):
            account_id = (await ledger.create_account(name)).account_id
            await ledger.fund(account_id, USD, name)
            await settle(ledger, account_id, f"req_{number}", created_at_ms=FIRST_MS + number)
        rows = await exported("--db", db)
        by_account = await exported("--db", db, "--by", "account")
    assert [row["account"] for row in rows] == [*(f"'{name}" for name in names[:-1]), "plain"]
    assert {row["account"] for row in by_account} == {row["account"] for row in rows}
    written = io.StringIO()
    write_rows([{"account": "\t=1"}], "csv", written)  # of a ledger that took such names
    assert written.getvalue() == "account\n'\t=1\n"


async def test_more_rows_than_a_page(db: Path) -> None:
    async with open_ledger(settings_for(db)) as ledger:
        account_id = (await ledger.create_account("alice")).account_id
        await ledger.fund(account_id, USD, "first")
        async with trio.open_nursery() as nursery:
            for number in range(1_050):
                nursery.start_soon(settle, ledger, account_id, f"req_{number}")
        rows = await exported("--db", db)
    assert len({row["request_id"] for row in rows}) == len(rows) == 1_050


async def test_each_is_there_once_while_receipts_are_archived(db: Path) -> None:
    """Killed or read between the file and the removal: both the file and the database have them."""
    async with two_accounts(db):
        before = await exported("--db", db)
    written = write_archive(db, db.parent / "old", 2**50, 4)
    assert written is not None
    store = Store(settings_for(db))
    record_archive(store, written)
    store.close()
    again = await exported("--db", db)
    assert sorted(row["request_id"] for row in again) == sorted(row["request_id"] for row in before)
    assert len(await exported("--db", db, "--without-archives")) == 3


async def test_one_that_ended_before_it_arrived_is_found_in_its_archive(db: Path) -> None:
    """The clock was set back meanwhile."""
    arrived_ms = wall_ms() + 3_600_000
    async with open_ledger(settings_for(db)) as ledger:
        account_id = (await ledger.create_account("alice")).account_id
        await ledger.fund(account_id, USD, "first")
        await settle(ledger, account_id, "req_0", created_at_ms=arrived_ms)
        assert await ledger.archive(db.parent / "old", 2**50)
    [found] = settled_exchanges(db, Selection(from_ms=arrived_ms - 1_000))
    assert found.receipt["request_id"] == "req_0"


async def test_none_is_missed_that_is_archived_between_two_pages(db: Path) -> None:
    async with open_ledger(settings_for(db)) as ledger:
        account_id = (await ledger.create_account("alice")).account_id
        await ledger.fund(account_id, USD, "first")
        async with trio.open_nursery() as nursery:
            for number in range(1_050):
                nursery.start_soon(settle, ledger, account_id, f"req_{number}")
        reading = settled_exchanges(db, Selection())
        seen = [next(reading).receipt["request_id"]]
        await ledger.archive(db.parent / "old", 2**50)
        seen += [exchange.receipt["request_id"] for exchange in reading]
    assert len(set(seen)) == len(seen) == 1_050


async def test_an_archive_that_is_gone_is_named(db: Path) -> None:
    async with two_accounts(db) as ledger:
        [file] = await ledger.archive(db.parent / "old", 2**50)
    await trio.Path(file.path).write_bytes(b"not gzip")
    gone = parshall("receipts", "export", "--db", db)
    assert gone.exit_code == 1
    assert f"the archived receipts {file.path} cannot be read" in gone.stderr


def test_wrong_options_are_told(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    for options, code, message in (
        (("--account", "carol"), 1, "no account 'carol'"),
        (("--by", "week"), 2, "must be some of day,account,key,model"),
        (("--by", "day,day"), 2, "each once"),
        (("--from", "yesterday"), 2, "not a day such as"),
    ):
        result = parshall("receipts", "export", "--db", db, *options)
        assert result.exit_code == code
        assert message in result.stderr
    assert "Examples:" in parshall("receipts", "export", "--help").output
    assert parshall("receipts", "export", "--db", db.with_name("none.db")).exit_code == 1
