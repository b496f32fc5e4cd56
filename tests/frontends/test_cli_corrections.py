"""Refunds and adjustments on the command line, with a server and without one."""

from __future__ import annotations

import json
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


async def test_a_request_is_refunded_through_the_server(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        before = await setup.balance()
        call = setup.call("tokens=20")
        await run(setup, call)
        charged = before - await setup.balance()
        assert charged > 2_000

        async def asked(*arguments: str) -> Result:
            return await trio.to_thread.run_sync(lambda: parshall(*arguments, "--db", db))

        refund = ("receipts", "refund", call.request_id, "0.000002", "--reason", "it was cut")
        reference = ("--reference", "ticket-1", "--json")
        done = parsed(await asked(*refund, *reference))
        assert (done["amount"]["nanodollars"], done["changed"]) == (2_000, True)
        again = parsed(await asked(*refund, *reference))
        assert (again["balance"], again["changed"]) == (done["balance"], False)
        rest = await asked("receipts", "refund", call.request_id, "--reason", "all of it")
        assert rest.exit_code == 0, rest.output
        assert await setup.balance() == before
        too_much = await asked("receipts", "refund", call.request_id, "--reason", "again")
        assert too_much.exit_code == 1
        assert "$0.000000000 is left to refund" in too_much.stderr


def test_an_account_is_adjusted(db: Path) -> None:
    parshall("accounts", "create", "alice", "--fund", "25", "--db", db)
    why = ("--reason", "funded twice", "--db", db, "--json")
    given = parsed(parshall("accounts", "adjust", "alice", "0.50", *why))
    taken = parsed(parshall("accounts", "adjust", "alice", "-5.25", *why))
    assert given["available"]["usd"] == "25.500000000"
    assert taken["available"]["usd"] == "20.250000000"
    assert taken["amount"]["usd"] == "-5.250000000"
    refused = parshall("accounts", "adjust", "alice", "-20.26", *why)
    assert refused.exit_code == 1
    assert refused.stderr == (
        "parshall: error: The account has less than $20.260000000 available.\n"
    )
    assert parshall("ledger", "audit", "--db", db).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("accounts", "adjust", "alice", "5"), 2, "Missing option '--reason'"),
        (("accounts", "adjust", "alice", "0", "--reason", "x"), 2, "moves money"),
        (("accounts", "adjust", "alice", "1e999999999", "--reason", "x"), 2, "is not an amount"),
        (("accounts", "adjust", "bob", "5", "--reason", "x"), 1, "no account 'bob'"),
        (("accounts", "adjust", "alice", "5", "--reason", " "), 1, "needs a reason"),
        (("receipts", "refund", "req_0", "--reason", "x"), 1, "no request 'req_0'"),
        (("receipts", "refund", "req_0", "0", "--reason", "x"), 2, "moves money"),
    ],
)
def test_what_cannot_be_corrected(
    db: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    result = parshall(*arguments, "--db", db)
    assert result.exit_code == code
    assert message in result.stderr


@pytest.mark.parametrize("command", [("accounts", "adjust"), ("receipts", "refund")])
def test_help_teaches(command: tuple[str, str]) -> None:
    assert "Examples:" in parshall(*command, "--help").output
