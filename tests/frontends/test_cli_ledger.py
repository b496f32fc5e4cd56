"""Backups, restores and replays on the command line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from frontends.cli import main
from frontends.control import open_control
from tests.gateways import open_setup, run


def parshall(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_a_drill_beside_a_running_server(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        call = setup.call("tokens=20")
        await run(setup, call)

        async def asked(*arguments: str | Path) -> Result:
            return await trio.to_thread.run_sync(lambda: parshall(*arguments))

        copy, drill = tmp_path / "copy.db", tmp_path / "drill.db"
        made = parsed(await asked("ledger", "backup", copy, "--db", db, "--json"))
        assert (made["open_holds"], made["broken"]) == (0, [])
        put_back = parsed(await asked("ledger", "restore", copy, "--db", drill, "--json"))
        assert (put_back["accounts"], put_back["broken"]) == (1, [])
        receipt = ("receipts", "show", call.request_id, "--json")
        original = parsed(await asked(*receipt, "--db", db))
        assert parsed(await asked(*receipt, "--db", drill)) == original
        live = await asked("ledger", "restore", copy, "--db", db, "--force")
        assert live.exit_code == 4
        assert "in use" in live.stderr
        balances = parsed(await asked("ledger", "replay", "--db", db, "--json"))
        assert all(balance["ok"] for balance in balances)


def test_a_backup_that_breaks_an_invariant_is_kept_and_told(db: Path, tmp_path: Path) -> None:
    parshall("accounts", "create", "alice", "--fund", "1", "--db", db)
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE balances SET amount = amount + 5 WHERE account_id LIKE 'acct%'")
    connection.close()
    copy = tmp_path / "copy.db"
    backup = parshall("ledger", "backup", copy, "--db", db)
    assert backup.exit_code == 1
    assert "invariants do not hold" in backup.stderr
    assert copy.exists()


def test_balances_are_replayed_and_repaired(db: Path) -> None:
    parshall("accounts", "create", "alice", "--fund", "1", "--db", db)
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE balances SET amount = amount + 5 WHERE account_id LIKE 'acct%'")
    connection.close()
    found = parshall("ledger", "replay", "--db", db)
    assert found.exit_code == 1
    assert "1 of 6 balances differ; --repair rewrites them" in found.stderr
    repaired = parshall("ledger", "replay", "--repair", "--db", db)
    assert (repaired.exit_code, repaired.stderr) == (0, "1 balances were rewritten\n")
    assert parshall("ledger", "audit", "--db", db).exit_code == 0


async def test_old_receipts_are_archived_by_the_server(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        call = setup.call("tokens=20")
        await run(setup, call)

        async def asked(*arguments: str | Path) -> Result:
            return await trio.to_thread.run_sync(lambda: parshall(*arguments, "--db", db))

        archive = ("ledger", "archive", tmp_path / "old", "--json", "--before")
        assert parsed(await asked(*archive, "2020-01-01")) == []
        [file] = parsed(await asked(*archive, "2999-01-01T00:00:00Z"))
        assert file["receipts"] == 1
        shown = await asked("receipts", "show", call.request_id)
        assert shown.exit_code == 1
        assert f"is in the archive {file['file']}" in shown.stderr
        assert (await asked("ledger", "audit")).exit_code == 0
        (tmp_path / "no folder").touch()
        await run(setup, setup.call("tokens=20"))
        folder = tmp_path / "no folder" / "x"
        refused = await asked("ledger", "archive", folder, "--before", "2999-01-01")
        assert refused.exit_code == 1
        assert "The receipts stay in the database: cannot write" in refused.stderr
    wrong = parshall("ledger", "archive", tmp_path, "--before", "May", "--db", db)
    assert wrong.exit_code == 2
    assert "not a day such as" in wrong.stderr


def test_what_is_refused(db: Path, tmp_path: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    copy = tmp_path / "copy.db"
    assert parshall("ledger", "backup", copy, "--db", db).exit_code == 0
    for arguments, message in (
        (("backup", copy, "--db", db), "is there already"),
        (("backup", tmp_path / "other.db", "--db", tmp_path / "none.db"), "there is no database"),
        (("restore", copy, "--db", db), "--force replaces it"),
        (("restore", tmp_path / "none.db", "--db", db, "--force"), "there is no file"),
        (("restore", __file__, "--db", db, "--force"), "is not a copy of a ledger"),
        (("replay", "--db", tmp_path / "none.db"), "there is no database"),
    ):
        result = parshall("ledger", *arguments)
        assert result.exit_code == 1, arguments
        assert message in result.stderr


@pytest.mark.parametrize("command", ["backup", "restore", "replay", "archive"])
def test_help_teaches(command: str) -> None:
    assert "Examples:" in parshall("ledger", command, "--help").output
