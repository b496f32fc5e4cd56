"""Old receipts go to files; money stays; nothing else goes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

from engine.clock import Clock
from engine.ledger import (
    AttemptRow,
    CostLine,
    Ledger,
    LedgerError,
    LedgerSettings,
    open_ledger,
)
from engine.ledger.archive import Archive, record_archive, remove_archived, write_archive
from engine.ledger.records import ReceiptArchivedError
from engine.ledger.sqlite import Store
from tests.engine.ledger.samples import USD, completed, opening, raw_database, replay, won

DAY_MS = 86_400_000


class Calendar:
    """A wall clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at_ms = 100 * DAY_MS

    def __call__(self) -> int:
        return self.at_ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def dated(path: Path, clock: Clock) -> LedgerSettings:
    return LedgerSettings(path, clock=clock)


async def settle(ledger: Ledger, account_id: str, request_id: str) -> None:
    begun = opening(request_id, account_id)
    hold = ledger.hold(account_id, request_id, 1_000, begun)
    ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 7))
    ticket = ledger.settle(
        hold,
        posted_nanodollars=700,
        overrun_nanodollars=3,
        costs=[CostLine("sim", 100)],
        receipt=completed(begun, won(703, 100)),
    )
    await ledger.wait_durable(ticket)


async def ten_days(ledger: Ledger, calendar: Calendar) -> str:
    """One exchange a day, and one that is still under way; the account."""
    account_id = (await ledger.create_account("demo")).account_id
    await ledger.fund(account_id, USD, "first")
    ledger.hold(account_id, "req_open", 5, opening("req_open", account_id))
    for day in range(10):
        await settle(ledger, account_id, f"req_{day}")
        calendar.at_ms += DAY_MS
    return account_id


def lines(file: str) -> list[dict[str, Any]]:
    with gzip.open(file, "rt") as read:
        return [json.loads(line) for line in read]


def digest_of_private(file: str) -> str:
    path = Path(file)
    assert path.stat().st_mode & 0o077 == 0
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def assert_sound(ledger: Ledger, path: Path) -> None:
    assert [finding for finding in await ledger.audit() if not finding.ok] == []
    assert ledger.balances() == replay(path)


async def test_old_receipts_go_to_a_file_and_money_stays(path: Path, tmp_path: Path) -> None:
    calendar = Calendar()
    async with open_ledger(dated(path, calendar)) as ledger:
        account_id = await ten_days(ledger, calendar)
        before = ledger.balances()
        old = await ledger.read_receipt(account_id, "req_3")

        [file] = await ledger.archive(tmp_path / "old", 104 * DAY_MS)
        assert file.receipts == 4
        assert digest_of_private(file.path) == file.sha256
        kept = lines(file.path)
        assert [line["receipt"]["request_id"] for line in kept] == [f"req_{n}" for n in range(4)]
        assert kept[3]["receipt"] == old
        assert kept[3]["settled_at"] == "1970-04-14T00:00:00.000Z"
        attempt = {"number": 1, "provider": "sim", "model": "sim-openai", "at_ms": 7}
        assert kept[3]["attempts"] == [attempt]

        with pytest.raises(ReceiptArchivedError, match="'req_3' has been archived"):
            await ledger.read_receipt(account_id, "req_3")
        assert await ledger.archive_of(account_id, "req_3") == file.path
        assert await ledger.archive_of("acct_other", "req_3") is None
        assert await ledger.read_receipt("acct_other", "req_3") is None
        assert await ledger.read_receipt(account_id, "req_4") is not None
        assert ledger.running_receipt(account_id, "req_open") is not None

        refunded = await ledger.refund("req_3", None, "still possible", "ticket-1")
        assert refunded.amount_nanodollars == 700
        assert ledger.balances()[account_id] == before[account_id] + 700
        await assert_sound(ledger, path)
        assert await ledger.archive(tmp_path / "old", 104 * DAY_MS) == []
        [rest] = await ledger.archive(tmp_path / "old", 200 * DAY_MS)
        assert rest.receipts == 6
        await assert_sound(ledger, path)
    with raw_database(path) as connection:
        for table, count in (("receipts", 0), ("attempts", 0), ("hold_records", 21)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
        (size,) = connection.execute("SELECT sum(length(opening)) FROM holds").fetchone()
        (open_size,) = connection.execute(
            "SELECT length(opening) FROM holds WHERE request_id = 'req_open'"
        ).fetchone()
    assert size == open_size > 0
    async with open_ledger(dated(path, calendar)) as ledger:
        assert ledger.recovered_holds == 1
        await assert_sound(ledger, path)


async def test_what_is_interrupted_is_gone_on_with(path: Path, tmp_path: Path) -> None:
    calendar = Calendar()
    folder = tmp_path / "old"
    async with open_ledger(dated(path, calendar)) as ledger:
        await ten_days(ledger, calendar)
    written = write_archive(path, folder, 108 * DAY_MS, 6)
    again = write_archive(path, folder, 108 * DAY_MS, 6)
    assert written is not None
    assert again == written, "the same file"
    store = Store(dated(path, calendar))
    record_archive(store, written)
    with pytest.raises(LedgerError, match="archived already"):
        record_archive(store, written)
    with pytest.raises(LedgerError, match="archived already"):
        record_archive(store, Archive("x", "x", written.to_seq, written.to_seq + 1, 1))
    store.close()
    async with open_ledger(dated(path, calendar)) as ledger:
        await assert_sound(ledger, path)
        [rest] = await ledger.archive(folder, 108 * DAY_MS)
        assert rest.receipts == 2
        await assert_sound(ledger, path)
    with raw_database(path) as connection:
        left = connection.execute("SELECT request_id FROM receipts ORDER BY seq").fetchall()
    assert left == [("req_8",), ("req_9",), ("req_open",)]


async def test_a_file_is_never_replaced_by_another(path: Path, tmp_path: Path) -> None:
    """Two databases that archive to one folder, or one that was put back from a copy."""
    files = []
    for name in ("one.db", "two.db"):
        calendar = Calendar()
        async with open_ledger(dated(path.with_name(name), calendar)) as ledger:
            await ten_days(ledger, calendar)
            [file] = await ledger.archive(tmp_path / "old", 104 * DAY_MS)
            files.append(file)
    for file in files:
        assert digest_of_private(file.path) == file.sha256


def leave_partial_files(written: Archive) -> None:
    stem = written.path.removesuffix(f"-{written.sha256[:12]}.jsonl.gz")
    for name in (written.path, stem, f"{stem}.jsonl.gz"):
        Path(f"{name}.partial-{os.getpid()}").touch()


async def test_what_a_killed_process_was_writing_is_in_nobodys_way(
    path: Path, tmp_path: Path
) -> None:
    """Its process id may be this one's: in a container it always is."""
    calendar = Calendar()
    async with open_ledger(dated(path, calendar)) as ledger:
        await ten_days(ledger, calendar)
        written = write_archive(path, tmp_path / "old", 104 * DAY_MS)
        assert written is not None
        leave_partial_files(written)
        assert len(await ledger.archive(tmp_path / "old", 104 * DAY_MS)) == 1


async def test_nothing_goes_that_is_not_archived(path: Path) -> None:
    calendar = Calendar()
    async with open_ledger(dated(path, calendar)) as ledger:
        await ten_days(ledger, calendar)
    with raw_database(path) as connection:
        for statement in (
            "DELETE FROM receipts",
            "DELETE FROM attempts",
            "UPDATE holds SET opening = ''",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
        (seq,) = connection.execute("SELECT min(seq) FROM receipts").fetchone()
        connection.execute("UPDATE meta SET value = ? WHERE name = 'archived_to'", (seq,))
        for statement in (
            "DELETE FROM receipts WHERE request_id = 'req_1'",
            "DELETE FROM attempts WHERE request_id = 'req_1'",
            "UPDATE holds SET opening = '' WHERE request_id = 'req_1'",
            "UPDATE holds SET opening = 'x' WHERE request_id = 'req_0'",
            "UPDATE holds SET opening = '', epoch = 9 WHERE request_id = 'req_0'",
            "DELETE FROM hold_records WHERE request_id = 'req_0'",
            "DELETE FROM archives",
        ):
            if "archives" in statement:
                connection.execute("INSERT INTO archives VALUES (1, 'x', 'x', 1, 2, 1, 0)")
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


async def test_a_file_that_cannot_be_written_leaves_everything(path: Path, tmp_path: Path) -> None:
    calendar = Calendar()
    (tmp_path / "a file").touch()
    async with open_ledger(dated(path, calendar)) as ledger:
        account_id = await ten_days(ledger, calendar)
        with pytest.raises(LedgerError, match="cannot write"):
            await ledger.archive(tmp_path / "a file" / "old", 105 * DAY_MS)
        assert await ledger.read_receipt(account_id, "req_0") is not None
        await assert_sound(ledger, path)


async def test_archiving_beside_a_busy_ledger(path: Path, tmp_path: Path) -> None:
    calendar = Calendar()
    async with open_ledger(dated(path, calendar)) as ledger:
        account_id = await ten_days(ledger, calendar)
        calendar.at_ms += DAY_MS

        async def work(name: str) -> None:
            for number in range(30):
                await settle(ledger, account_id, f"req_{name}_{number}")

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(work, name)
            files = await ledger.archive(tmp_path / "old", 110 * DAY_MS)
        assert sum(file.receipts for file in files) == 10
        await assert_sound(ledger, path)
        files = await ledger.archive(tmp_path / "old", 200 * DAY_MS)
        assert sum(file.receipts for file in files) == 90
        await assert_sound(ledger, path)


async def test_removing_goes_by_slices(path: Path) -> None:
    calendar = Calendar()
    async with open_ledger(dated(path, calendar)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        await ledger.fund(account_id, USD, "first")
        async with trio.open_nursery() as nursery:
            for number in range(450):
                nursery.start_soon(settle, ledger, account_id, f"req_{number}")
    written = write_archive(path, path.parent, 200 * DAY_MS)
    assert written is not None
    assert written.receipts == len(lines(written.path)) == 450
    store = Store(dated(path, calendar))
    record_archive(store, written)
    assert [remove_archived(store) for _ in range(4)] == [200, 200, 50, 0]
    store.close()
