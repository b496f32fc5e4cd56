"""The control socket: one table of commands, for its owner only, bounded."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from frontends.cli import main
from frontends.commands import COMMANDS
from frontends.control import (
    PATH_MAX_BYTES,
    REQUEST_MAX_BYTES,
    CommandRefusedError,
    ControlAbsentError,
    ControlFailedError,
    ask,
    control_path,
    open_control,
)
from frontends.server.binds import BindError
from tests.engine.ledger.samples import database_locked
from tests.gateways import open_setup, run, settled


async def tell(database: Path, command: str, **parameters: Any) -> Any:
    """As the command line asks: from another thread, since it blocks."""
    return await trio.to_thread.run_sync(ask, database, command, parameters)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_it_is_beside_the_database_and_for_its_owner_only(
    tmp_path: Path, database: Path
) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database) as path:
        assert path == tmp_path / "ledger.db.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_accounts_and_keys_over_the_socket(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        account = await tell(database, "accounts.create", name="alice")
        await tell(
            database,
            "accounts.fund",
            account="alice",
            amount_nanodollars=2_500_000_000,
            reference="alices-first",
        )
        key = await tell(database, "keys.create", account="alice", name="laptop")
        shown = await tell(database, "accounts.show", account="alice")

        assert shown["balance"] == {"nanodollars": 2_500_000_000, "usd": "2.500000000"}
        assert setup.gateway.authenticate(key["secret"]).account_id == account["account_id"]

        await tell(database, "keys.revoke", key_id=key["key_id"])
        (listed,) = (await tell(database, "keys.list", account="alice"))["data"]
        assert listed["revoked_at"] is not None
        assert "secret" not in listed
        with pytest.raises(Exception, match="Incorrect API key"):
            setup.gateway.authenticate(key["secret"])


async def test_nothing_is_added_while_the_ledger_cannot_commit(
    tmp_path: Path, database: Path
) -> None:
    async with (
        open_setup(tmp_path, storage="barrier_timeout_s = 1") as setup,
        open_control(setup.gateway, database),
    ):
        with database_locked(database):
            await run(setup, setup.call("tokens=2"))
            assert setup.gateway.ledger.problem is not None
            with pytest.raises(CommandRefusedError, match=r"Nothing was changed: .*Try again"):
                await tell(database, "accounts.create", name="alice")
        await settled(lambda: setup.gateway.ledger.healthy)

        listed = await tell(database, "accounts.list")
        assert [row["name"] for row in listed["data"]] == ["test"]
        await tell(database, "accounts.create", name="alice")


async def test_a_socket_that_cannot_be_made_is_named(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup:
        control_path(database).touch()
        with pytest.raises(BindError, match=r"control socket .*ledger\.db\.sock: .*not a socket"):
            async with open_control(setup.gateway, database):
                pass


async def test_the_opening_credit_is_given_once(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        account = await tell(database, "accounts.create", name="alice", fund_nanodollars=5)

        assert account["available"]["nanodollars"] == 5


async def test_a_receipt_of_any_account_is_found(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        await setup.gateway.ledger.create_account("another")
        call = setup.call("tokens=3")
        await run(setup, call)
        receipt = await tell(database, "receipts.show", request_id=call.request_id)

        assert receipt["usage"]["output_tokens"] == 3
        with pytest.raises(CommandRefusedError, match="no receipt"):
            await tell(database, "receipts.show", request_id=call.request_id, account="another")


async def test_the_audit_runs_on_the_live_database(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        findings = await tell(database, "ledger.audit")

        assert findings
        assert all(finding["ok"] for finding in findings)


@pytest.mark.parametrize(
    ("command", "parameters", "code"),
    [
        ("accounts.delete", {}, "bad_command"),
        ("accounts.create", {}, "bad_command"),
        ("accounts.create", {"name": ""}, "bad_command"),
        ("accounts.create", {"name": 7}, "bad_command"),
        ("accounts.create", {"name": "x", "admin": True}, "bad_command"),
        ("accounts.create", {"name": "test"}, "conflict"),
        ("accounts.fund", {"account": "test", "amount_nanodollars": True}, "bad_command"),
        ("accounts.fund", {"account": "test", "amount_nanodollars": -5}, "bad_command"),
        ("accounts.fund", {"account": "nobody", "amount_nanodollars": 5}, "not_found"),
        ("keys.revoke", {"key_id": "key_none"}, "not_found"),
    ],
)
async def test_a_refusal_says_why(
    tmp_path: Path, database: Path, command: str, parameters: dict[str, Any], code: str
) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        with pytest.raises(CommandRefusedError) as refused:
            await tell(database, command, **parameters)

        assert refused.value.code == code
        assert refused.value.message


@pytest.mark.parametrize(
    "line", [b"", b"nonsense", b"[]", b'{"parameters": []}', b'{"command": ["a"]}', b"\xff\xfe"]
)
async def test_a_malformed_request_is_answered(tmp_path: Path, line: bytes) -> None:
    database = tmp_path / "ledger.db"
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database) as path:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(line + b"\n")
            answer = json.loads(bytes(await stream.receive_some(65_536)))

        assert answer["error"]["code"] == "bad_command"


async def test_a_request_without_end_is_cut(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database) as path:
        async with await trio.open_unix_socket(path) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x" * 100 * REQUEST_MAX_BYTES)
        assert await tell(database, "accounts.list")


async def test_several_requests_share_a_connection(tmp_path: Path, database: Path) -> None:
    request = b'{"command": "accounts.list"}\n'
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database) as path:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(request * 2)
            data = b""
            while data.count(b"\n") < 2:
                data += await stream.receive_some(65_536)

        assert data.count(b'"result"') == 2


async def test_nobody_there(database: Path) -> None:
    with pytest.raises(ControlAbsentError):
        await tell(database, "accounts.list")


async def test_a_socket_left_by_a_process_that_died_is_replaced(
    tmp_path: Path, database: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(control_path(database)))
    with pytest.raises(ControlAbsentError):
        await tell(database, "accounts.list")
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        assert await tell(database, "accounts.list")


async def test_a_process_that_does_not_answer_is_told_apart(database: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(control_path(database)))
        sock.listen()

        def hang_up() -> None:
            accepted, _ = sock.accept()
            accepted.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, hang_up)
            with pytest.raises(ControlFailedError):
                await tell(database, "accounts.list")


async def test_a_path_too_long_for_a_socket_has_a_place_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * PATH_MAX_BYTES)
    folder.mkdir()
    database = folder / "ledger.db"
    path = control_path(database)

    assert len(str(path)) <= PATH_MAX_BYTES
    assert path == control_path(folder / ".." / folder.name / "ledger.db")
    assert path != control_path(folder / "other.db")
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database) as opened:
        assert opened == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await tell(database, "accounts.list")


async def test_who_asks_is_written_down(tmp_path: Path, database: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, database):
        account = await tell(database, "accounts.create", name="alice")
        (row,) = (await tell(database, "log.list", actor=f"cli:uid={os.getuid()}"))["data"]

        assert (row["action"], row["subject"]) == ("accounts.create", account["account_id"])
        assert row["detail"] == {"name": "alice"}


OTHERWISE = {
    "ledger.reconcile": ("reconcile",),
    "log.list": ("log",),
    "routes.explain": ("route", "explain"),
    "routes.show": ("route", "health"),
    "serving.reload": ("reload",),
    "serving.status": ("status",),
}
"""Commands that the command line calls otherwise."""


def test_every_command_is_a_subcommand() -> None:
    for name in COMMANDS:
        found: Any = main
        for word in OTHERWISE.get(name, name.split(".")):
            assert word in found.commands, name
            found = found.commands[word]
        assert "Examples:" in (found.epilog or ""), name
