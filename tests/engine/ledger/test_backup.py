"""Copies made under load, put back, audited; and what is refused."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from engine.ledger import Ledger, LedgerError, LedgerLockedError, ProgressEntry, open_ledger
from engine.ledger.backup import Backup, back_up, restore
from tests.engine.ledger.samples import (
    completed,
    funded_ledger,
    opening,
    raw_database,
    replay,
    settings_for,
    wait_until,
)

FUNDS = 10**15


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def stored_balances(path: Path) -> dict[str, int]:
    with raw_database(path) as connection:
        return dict(connection.execute("SELECT account_id, amount FROM balances"))


def files(folder: Path, pattern: str) -> list[str]:
    return [file.name for file in folder.glob(pattern)]


def receipts(path: Path) -> dict[str, str]:
    with raw_database(path) as connection:
        return dict(connection.execute("SELECT request_id, body FROM receipts"))


async def keep_busy(ledger: Ledger, account_id: str, name: str) -> None:
    """Exchanges one after the other, until cancelled."""
    number = 0
    while True:
        number += 1
        begun = opening(f"req_{name}_{number}", account_id)
        hold = ledger.hold(account_id, begun.request_id, 1_000, begun)
        ledger.progress([ProgressEntry(begun.request_id, {"output_tokens": 7}, 7, 7, 7)])
        await ledger.wait_durable(hold.ticket)
        ticket = ledger.settle(
            hold,
            posted_nanodollars=number,
            overrun_nanodollars=0,
            costs=[],
            receipt=completed(begun),
        )
        await ledger.wait_durable(ticket)


async def test_a_backup_under_load_is_one_moments_state(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    drill = tmp_path / "drill.db"
    async with funded_ledger(path, FUNDS) as (ledger, account_id):
        ledger.hold(account_id, "req_open", 1_000, opening("req_open", account_id))
        async with trio.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(keep_busy, ledger, account_id, name)
            await wait_until(lambda: ledger.statistics().committed_records > 100)
            backup = await trio.to_thread.run_sync(back_up, path, copy)
            nursery.cancel_scope.cancel()
        assert [finding for finding in backup.findings if not finding.ok] == []
        assert backup.open_holds >= 1
        assert 0 < backup.sequence <= ledger.statistics().committed_records + 4
        assert copy.stat().st_mode & 0o077 == 0
        assert backup.size_bytes == copy.stat().st_size
        assert ledger.healthy

    restored = restore(copy, drill, replace=False)
    assert [finding for finding in restored.findings if not finding.ok] == []
    assert restored.recovered_holds == backup.open_holds
    assert restored.kept is None
    assert stored_balances(drill) == replay(drill)
    original = receipts(path)
    with raw_database(copy) as connection:
        copied = dict(connection.execute("SELECT request_id, body FROM receipts"))
    assert {key: original[key] for key in copied} == copied
    assert copied.items() <= receipts(drill).items()
    async with open_ledger(settings_for(drill)) as ledger:
        assert ledger.recovered_holds == 0
        await ledger.fund(account_id, 5, "after the drill")
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
    assert files(tmp_path, "*partial*") == []


def back_up_and_kill(path: Path, account_id: str, copy: Path) -> tuple[Backup, list[str]]:
    """A backup of a process under load, which is killed then; what it had said before."""
    command = [sys.executable, "-m", "tests.engine.ledger.crash_child"]
    with subprocess.Popen(
        [*command, str(path), account_id, "1"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(300)]
        backup = back_up(path, copy)
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    return backup, said


async def test_the_drill_a_killed_server_and_its_last_backup(path: Path, tmp_path: Path) -> None:
    """What was acknowledged before the backup began is in it; the rest is as at a crash."""
    copy = tmp_path / "copy.db"
    async with funded_ledger(path, FUNDS) as (_, account_id):
        pass
    backup, said = await trio.to_thread.run_sync(back_up_and_kill, path, account_id, copy)
    restored = restore(copy, path, replace=True)
    assert restored.recovered_holds == backup.open_holds
    assert [finding for finding in restored.findings if not finding.ok] == []
    assert stored_balances(path) == replay(path)
    kept = receipts(path)
    settled = [line.split()[1] for line in said if line.startswith("settled")]
    assert settled
    assert set(settled) <= kept.keys()
    assert restored.kept is not None
    assert receipts(restored.kept).keys() >= kept.keys() - set_of_recovered(path)


def set_of_recovered(path: Path) -> set[str]:
    with raw_database(path) as connection:
        rows = connection.execute(
            "SELECT request_id FROM receipts WHERE json_extract(body, '$.provenance') = 'recovered'"
        )
        return {request_id for (request_id,) in rows}


async def test_a_restore_keeps_the_database_that_was_there(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with funded_ledger(path) as (ledger, account_id):
        back_up(path, copy)
        await ledger.fund(account_id, 5, "after the backup")
        with pytest.raises(LedgerLockedError):
            restore(copy, path, replace=True)
        later = ledger.balances()
    with pytest.raises(LedgerError, match="there is a database"):
        restore(copy, path, replace=False)
    restored = restore(copy, path, replace=True)
    assert restored.kept is not None
    assert stored_balances(restored.kept) == later
    assert stored_balances(path)[account_id] == later[account_id] - 5
    again = restore(copy, path, replace=True)
    assert again.kept not in (None, restored.kept)


async def test_a_copy_is_put_back_with_its_write_ahead_log(path: Path, tmp_path: Path) -> None:
    """What a restore has kept of a killed server has one, and can itself be put back."""
    kept = tmp_path / "kept.db"
    async with funded_ledger(path) as (ledger, account_id):
        await ledger.fund(account_id, 5, "in the log")
        for suffix in ("", "-wal"):
            live = path.with_name(path.name + suffix)
            kept.with_name(kept.name + suffix).write_bytes(live.read_bytes())
        expected = ledger.balances()
    restore(kept, path, replace=True)
    assert stored_balances(path) == expected


async def test_a_copy_of_a_newer_program_leaves_the_database(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with funded_ledger(path):
        back_up(path, copy)
    with raw_database(copy) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('parshall.ledger', 'm999_later', '')"
        )
    before = stored_balances(path)
    with pytest.raises(LedgerError, match="newer than this program"):
        restore(copy, path, replace=True)
    assert stored_balances(path) == before
    assert files(tmp_path, "*before*") == files(tmp_path, "*partial*") == []


async def test_a_restore_follows_a_link_to_the_database(path: Path, tmp_path: Path) -> None:
    copy, link = tmp_path / "copy.db", tmp_path / "link.db"
    async with funded_ledger(path) as (ledger, account_id):
        back_up(path, copy)
        await ledger.fund(account_id, 5, "after the backup")
    link.symlink_to(path)
    restored = restore(copy, link, replace=True)
    assert link.is_symlink()
    assert restored.path == path
    assert stored_balances(path) == stored_balances(copy)


async def test_a_backup_never_replaces_a_file(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with funded_ledger(path):
        copy.write_text("mine")
        with pytest.raises(LedgerError, match="is there already"):
            back_up(path, copy)
        with pytest.raises(LedgerError, match="cannot write"):
            back_up(path, tmp_path / "nowhere" / "copy.db")
    assert copy.read_text() == "mine"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4_096])


def overwrite(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'postings'"
        ).fetchone()
    connection.close()
    with file.open("r+b") as opened:
        opened.seek((page - 1) * 4_096)
        opened.write(b"\xff" * 8)


def replace_by_text(file: Path) -> None:
    file.write_text("not a database at all\n" * 100)


def replace_by_another(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE meta (name TEXT, value INTEGER)")
    connection.close()


@pytest.mark.parametrize("damage", [cut, overwrite, replace_by_text, replace_by_another])
async def test_a_damaged_copy_is_not_put_back(
    path: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    copy = tmp_path / "copy.db"
    async with funded_ledger(path):
        made: Backup = back_up(path, copy)
    assert made.size_bytes > 4_096
    damage(copy)
    before = stored_balances(path)
    with pytest.raises(LedgerError, match=r"damaged|not a copy of a ledger"):
        restore(copy, path, replace=True)
    assert stored_balances(path) == before
    assert files(tmp_path, "*before*") == []
