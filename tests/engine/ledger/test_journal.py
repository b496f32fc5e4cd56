"""The journal: groups, stalls, what cannot be stored, and who owns the database."""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from sqlite_utils import Database

from engine.errors import UnavailableError
from engine.ledger import AttemptRow, CostLine, LedgerSettings, ProgressEntry, open_ledger
from engine.ledger.entries import Attempted, Ended, Entry, Opened, Rejected
from engine.ledger.journal import Journal
from engine.ledger.records import EpochLostError
from engine.ledger.sqlite import Store
from tests.engine.ledger.samples import (
    USD,
    completed,
    database_locked,
    funded_ledger,
    opening,
    raw_database,
    settings_for,
    wait_until,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@asynccontextmanager
async def running_journal(
    settings: LedgerSettings, on_rejected: Callable[[Rejected], None] = lambda rejected: None
) -> AsyncIterator[tuple[Journal, Store]]:
    """A journal over a real file with the account `acct_1`."""
    store = Store(settings)
    store.run(
        lambda db: db.execute("INSERT INTO accounts VALUES ('acct_1', 'customer', 'demo', 0)")
    )
    journal = Journal(store, settings, on_durable=lambda ticket: None, on_rejected=on_rejected)
    try:
        yield journal, store
    finally:
        with trio.move_on_after(10, shield=True):
            await journal.close()
        store.close()


def opened(request_id: str) -> Opened:
    return Opened(request_id, "acct_1", 10, opening(request_id), 0)


def ended(request_id: str) -> Ended:
    return Ended(request_id, "voided", 0, (), completed(opening(request_id)), 0)


def stored_requests(path: Path) -> list[str]:
    with raw_database(path) as connection:
        return [key for (key,) in connection.execute("SELECT request_id FROM holds ORDER BY seq")]


async def test_commits_are_durable_and_constraints_are_on(path: Path) -> None:
    async with running_journal(settings_for(path)) as (_, store):

        def pragma(name: str) -> object:
            return store.connection.execute(f"PRAGMA {name}").fetchone()[0]

        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == 2, "FULL"
        assert pragma("foreign_keys") == 1


async def test_what_gathers_during_a_commit_is_one_group(path: Path) -> None:
    async with running_journal(settings_for(path, group_max_records=1_000)) as (journal, _):
        with database_locked(path):
            tickets = [journal.append(opened(f"req_{number}")) for number in range(500)]
            assert journal.queued == 500
        await journal.wait_durable(tickets[-1])
        assert journal.committed_records == 500
        assert journal.groups <= 2, "one was on its way, the rest waited together"
        assert journal.queued == 0
    assert stored_requests(path) == [f"req_{number}" for number in range(500)]


async def test_a_group_is_bounded(path: Path) -> None:
    async with running_journal(settings_for(path, group_max_records=10)) as (journal, _):
        with database_locked(path):
            tickets = [journal.append(opened(f"req_{number}")) for number in range(95)]
        await journal.wait_durable(tickets[-1])
        assert journal.groups >= 10
    assert len(stored_requests(path)) == 95


async def test_those_who_wait_are_woken_by_the_commit_that_has_their_record(path: Path) -> None:
    async with running_journal(settings_for(path)) as (journal, _):
        woken = []

        async def wait(ticket: int) -> None:
            await journal.wait_durable(ticket)
            assert journal.durable_ticket >= ticket
            woken.append(ticket)

        async with trio.open_nursery() as nursery:
            with database_locked(path):
                tickets = [journal.append(opened(f"req_{number}")) for number in range(20)]
                for ticket in reversed(tickets):
                    nursery.start_soon(wait, ticket)
                await trio.testing.wait_all_tasks_blocked()
                assert woken == []
        assert sorted(woken) == tickets


async def test_a_wait_that_is_cancelled_loses_nothing(path: Path) -> None:
    async with running_journal(settings_for(path)) as (journal, _):
        with database_locked(path):
            ticket = journal.append(opened("req_1"))
            with trio.move_on_after(0) as scope:
                await journal.wait_durable(ticket)
            assert scope.cancelled_caught
        await journal.wait_durable(ticket)
        await journal.wait_durable(ticket)
    assert stored_requests(path) == ["req_1"]


async def test_a_moments_lock_is_waited_for_in_silence(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        with database_locked(path):
            hold = ledger.hold(account_id, "req_1", 1_000, opening("req_1", account_id))
            await wait_until(lambda: ledger.statistics().commit_errors > 3)
            assert ledger.healthy
            assert not ledger.is_durable(hold.ticket)
        await ledger.wait_durable(hold.ticket)


async def test_a_stalled_commit_closes_admission_until_it_succeeds(path: Path) -> None:
    async with funded_ledger(path, barrier_timeout_s=0.5) as (ledger, account_id):
        begun = opening("req_1", account_id)
        with database_locked(path):
            hold = ledger.hold(account_id, "req_1", 1_000, begun)
            await wait_until(lambda: not ledger.healthy)
            assert "waited" in (ledger.problem or "")
            assert not ledger.is_durable(hold.ticket)
            with pytest.raises(UnavailableError):
                ledger.hold(account_id, "req_2", 1_000, opening("req_2", account_id))
            ticket = ledger.settle(
                hold,
                posted_nanodollars=5,
                overrun_nanodollars=0,
                costs=[],
                receipt=completed(begun),
            )
        await ledger.wait_durable(ticket)
        assert (ledger.healthy, ledger.problem) == (True, None)
        ledger.hold(account_id, "req_2", 1_000, opening("req_2", account_id))
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["price"]["nanodollars"] == 5


async def test_a_full_disk_is_told_at_once_and_recovered_from(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_journal(settings_for(path)) as (journal, store):
        store.connection.execute("PRAGMA max_page_count = 1")
        tickets = [journal.append(opened(f"req_{number}")) for number in range(200)]
        full = "the ledger cannot commit: database or disk is full"
        await wait_until(lambda: journal.problem == full)
        store.connection.execute("PRAGMA max_page_count = 1073741823")
        await journal.wait_durable(tickets[-1])
        assert journal.problem is None
        assert journal.rejected_records == 0
    assert stored_requests(path) == [f"req_{number}" for number in range(200)]
    assert "the ledger commits again" in caplog.text


async def test_a_record_the_database_refuses_does_not_stop_the_others(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejected: list[Rejected] = []
    async with running_journal(settings_for(path), rejected.append) as (journal, _):
        entries: list[Entry] = [opened(f"req_{number}") for number in range(20)]
        entries[7] = opened("req_3")
        entries[11] = Attempted("req_unknown", AttemptRow(1, "sim", "sim-openai", 0))
        entries[15] = Opened("req_15", "acct_1", 1, opening("req_15").replace(model="\ud800"), 0)
        with database_locked(path):
            tickets = [journal.append(entry) for entry in entries]
        await journal.wait_durable(tickets[-1])
        assert [each.seq for each in rejected] == [tickets[7], tickets[11], tickets[15]]
        assert journal.rejected_records == 3
        assert journal.problem is None
    kept = [f"req_{number}" for number in range(20) if number not in {7, 11, 15}]
    assert stored_requests(path) == kept
    with raw_database(path) as connection:
        evidence = connection.execute("SELECT seq, kind, error FROM rejected").fetchall()
    assert [row[:2] for row in evidence] == [
        (tickets[7], "Opened"),
        (tickets[11], "Attempted"),
        (tickets[15], "Opened"),
    ]
    assert "UNIQUE" in evidence[0][2]
    assert "FOREIGN KEY" in evidence[1][2]
    assert caplog.text.count("set aside") == 3


async def test_the_books_follow_when_a_settlement_is_refused(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        for _ in range(2):  # the second is a request id that was used before
            hold = ledger.hold(account_id, "req_1", 1_000, begun)
            ticket = ledger.settle(
                hold,
                posted_nanodollars=600,
                overrun_nanodollars=0,
                costs=[],
                receipt=completed(begun),
            )
            await ledger.wait_durable(ticket)
        findings = {finding.name: finding for finding in await ledger.audit()}
        broken = [name for name, finding in findings.items() if not finding.ok]
        assert broken == ["no record was refused by the database"]
        assert ledger.house_balances()["house:revenue"] == 600
        assert ledger.healthy


async def test_a_hold_whose_settlement_is_refused_ends_without_a_charge(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", USD, begun)
        ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 0))
        ticket = ledger.settle(
            hold,
            posted_nanodollars=5,
            overrun_nanodollars=0,
            costs=[CostLine("sim", 3)],
            receipt=completed(begun).replace(model="\ud800"),
        )
        again = ledger.hold(account_id, "req_2", USD - 5, opening("req_2", account_id))
        await ledger.wait_durable(again.ticket)

        assert not ledger.is_durable(ticket)
        assert ledger.available_nanodollars(account_id) == 5
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert (receipt["error"]["code"], receipt["price"]["nanodollars"]) == ("record_refused", 0)
        assert [attempt["provider"] for attempt in receipt["attempts"]] == ["sim"]
        broken = [finding.name for finding in await ledger.audit() if not finding.ok]
        assert broken == ["no record was refused by the database"]
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.recovered_holds == 1, "req_2; req_1 has ended"


async def test_another_owner_of_the_database_stops_the_journal(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_journal(settings_for(path)) as (journal, _):
        with raw_database(path) as connection:
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        journal.append(opened("req_1"))
        await wait_until(lambda: "database over" in (journal.problem or ""))
        with pytest.raises(UnavailableError):
            await journal.run(lambda store: None)
    assert stored_requests(path) == []
    assert "1 ledger records are lost" in caplog.text


async def test_a_job_finds_another_owner_too(path: Path) -> None:
    async with running_journal(settings_for(path)) as (journal, _):
        with raw_database(path) as connection:
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        with pytest.raises(EpochLostError):
            await journal.run(lambda store: store.run(lambda db: None))
        assert journal.problem is not None


async def test_a_job_runs_after_what_was_taken_in_before_it(path: Path) -> None:
    async with running_journal(settings_for(path)) as (journal, _):
        for number in range(50):
            journal.append(opened(f"req_{number}"))
        count = await journal.run(
            lambda store: store.connection.execute("SELECT count(*) FROM holds").fetchone()[0]
        )
        assert count == 50


async def test_a_job_that_fails_tells_its_submitter_and_leaves_no_trace(path: Path) -> None:
    async with running_journal(settings_for(path)) as (journal, _):

        def insert_and_fail(db: Database) -> None:
            db.execute("INSERT INTO balances VALUES ('acct_1', 1)")
            raise LookupError("changed my mind")

        with pytest.raises(LookupError, match="changed my mind"):
            await journal.run(lambda store: store.run(insert_and_fail))
        with database_locked(path), pytest.raises(UnavailableError, match="locked"):
            await journal.run(lambda store: store.run(lambda db: None))
        await journal.wait_durable(journal.append(opened("req_1")))
    with raw_database(path) as connection:
        stored = connection.execute("SELECT account_id FROM balances").fetchall()
    assert ("acct_1",) not in stored


async def test_closing_makes_everything_durable_first(path: Path) -> None:
    async with running_journal(settings_for(path, group_max_records=7)) as (journal, _):
        for number in range(300):
            journal.append(opened(f"req_{number}"))
    assert len(stored_requests(path)) == 300


async def test_closing_gives_up_on_a_stall_and_says_what_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        async with running_journal(settings_for(path, close_timeout_s=0.05)) as (journal, _):
            await journal.wait_durable(journal.append(opened("req_1")))
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN EXCLUSIVE")
            for number in range(2, 7):
                journal.append(opened(f"req_{number}"))
    blocker.close()
    assert "5 ledger records are lost" in caplog.text
    assert stored_requests(path) == ["req_1"]


async def test_progress_gathers_into_one_record_and_old_records_are_pruned(path: Path) -> None:
    def progress(request_id: str, tokens: int) -> ProgressEntry:
        return ProgressEntry(request_id, {"output_tokens": tokens}, tokens, tokens, tokens)

    def kept() -> int:
        with raw_database(path) as connection:
            (count,) = connection.execute("SELECT count(*) FROM progress").fetchone()
        return int(count)

    async with running_journal(settings_for(path)) as (journal, _):
        with database_locked(path):
            journal.append(opened("req_1"))
            journal.append(opened("req_2"))
            for tokens in range(1, 100):
                journal.gather([progress("req_1", tokens), progress("req_2", tokens)])
            assert journal.last_ticket <= 4, "while the thread is busy, progress is replaced"
        await journal.wait_durable(journal.last_ticket)
        assert kept() <= 2
        for tokens in range(100, 110):
            journal.gather([progress("req_2", tokens)])
            await journal.wait_durable(journal.last_ticket)
        assert kept() > 5, "the older record of req_1 is needed, and holds back what follows"
        journal.append(ended("req_1"))
        for tokens in range(110, 113):
            journal.gather([progress("req_2", tokens)])
            await journal.wait_durable(journal.last_ticket)
        assert kept() <= 3
        journal.append(ended("req_2"))
        journal.append(opened("req_3"))
        journal.gather([progress("req_3", 1)])
        await journal.wait_durable(journal.last_ticket)
        journal.gather([progress("req_3", 2)])
        await journal.wait_durable(journal.last_ticket)
        assert kept() <= 2


async def test_the_switch_interval_is_shortened_while_any_journal_runs(tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    first = settings_for(tmp_path / "first.db", switch_interval_s=0.001)
    second = settings_for(tmp_path / "second.db", switch_interval_s=0.0005)
    async with running_journal(first):
        assert sys.getswitchinterval() == pytest.approx(0.001)
        async with running_journal(second):
            assert sys.getswitchinterval() == pytest.approx(0.0005)
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(before)
