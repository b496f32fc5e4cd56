"""Budgets on the command line, with a server and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from engine.errors import BudgetExceededError
from frontends.cli import main
from frontends.control import CommandRefusedError, ask, open_control
from tests.clocks import HandClock
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


async def test_a_budget_is_set_while_the_server_serves(tmp_path: Path, db: Path) -> None:
    clock = HandClock("2026-01-15 12:00")
    async with open_setup(tmp_path, clock=clock) as setup, open_control(setup.gateway, db):
        key_id = setup.gateway.authenticate(setup.key).key_id

        async def asked(*arguments: str) -> Result:
            return await trio.to_thread.run_sync(
                lambda: parshall("budgets", *arguments, "--db", db)
            )

        _, receipt, _ = await run(setup, setup.call("tokens=20"))
        done = parsed(
            await asked("set", "test", "0.000001", "--per", "day", "--key", key_id, "--json")
        )
        assert done == {
            "account_id": setup.account_id,
            "key_id": key_id,
            "period": "day",
            "limit": {"nanodollars": 1_000, "usd": "0.000001000"},
            "hard": True,
            "soft_percents": [80, 100],
            "spent": done["spent"],
            "held": {"nanodollars": 0, "usd": "0.000000000"},
            "resets_at": "2026-01-16T00:00:00.000Z",
        }
        assert done["spent"]["nanodollars"] == receipt.price_nanodollars
        with pytest.raises(BudgetExceededError):
            await run(setup, setup.call("tokens=20"))
        shown = await asked("show", "test")
        assert "$0.000001" in shown.stdout
        assert "SOFT PERCENTS" in shown.stdout
        assert (await asked("remove", "test", "--per", "day", "--key", key_id)).exit_code == 0
        _, _, error = await run(setup, setup.call("tokens=20"))
        assert error is None
        assert (await asked("show")).stdout == "(none)\n"

        wrong: list[dict[str, object]] = [
            {"period": "week"},
            {"soft_percents": ["80"]},
            {"key_id": "key_none"},
        ]
        for parameters in wrong:
            whole: dict[str, object] = {
                "account": "test",
                "key_id": None,
                "period": "day",
                "limit_nanodollars": 5,
                "hard": True,
                "soft_percents": [],
            }
            with pytest.raises(CommandRefusedError):
                await trio.to_thread.run_sync(ask, db, "budgets.set", whole | parameters)


def test_budgets_are_kept_without_a_server(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    parshall("budgets", "set", "alice", "50", "--per", "month", "--soft", "--db", db)
    parshall("budgets", "set", "alice", "500", "--per", "total", "--tell-at", "50", "--db", db)
    month, total = parsed(parshall("budgets", "show", "alice", "--db", db, "--json"))
    assert (month["period"], month["hard"], month["key_id"]) == ("month", False, None)
    assert (total["period"], total["hard"], total["resets_at"]) == ("total", True, None)
    assert total["soft_percents"] == [50]
    refused = parshall("budgets", "remove", "alice", "--per", "day", "--db", db)
    assert (refused.exit_code, refused.stderr) == (1, "parshall: error: There is no such budget.\n")
    assert parshall("budgets", "set", "alice", "0", "--per", "day", "--db", db).exit_code == 2
    assert parshall("budgets", "set", "alice", "1", "--db", db).exit_code == 2
