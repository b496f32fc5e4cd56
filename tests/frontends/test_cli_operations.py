"""Keys, plans, prices, switches and what runs, on the command line; with a server and without."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from engine.errors import GatewayError
from frontends.cli import main
from frontends.control import open_control
from tests.gateways import CONFIG_FILE, Setup, open_setup, run

Asked = Callable[..., Awaitable[Result]]


def parshall(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def of_a_server(db: Path) -> Asked:
    """Asks in another thread than the server's."""

    async def asked(*arguments: str) -> Result:
        return await trio.to_thread.run_sync(lambda: parshall(*arguments, "--db", db))

    return asked


async def code_of(setup: Setup, key: str) -> str | None:
    """What a request with this key is refused with, if it is."""
    call = replace(setup.call("tokens=2"), key=key)
    try:
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
    except GatewayError as error:
        return error.code
    return None


async def test_keys_are_made_narrowed_rotated(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        asked = of_a_server(db)
        made = parsed(
            await asked(
                *("keys", "create", "test", "--name", "ci", "--expires-in", "90d"),
                *("--preset", "per-30", "--tokens-per-min", "5000", "--model", "sim-*"),
                *("--scope", "inference", "--budget", "5", "--per", "month", "--json"),
            )
        )
        assert made["limits"] == {"requests_per_min": 30, "tokens_per_min": 5_000}
        assert (made["scopes"], made["models"]) == (["inference"], ["sim-*"])
        assert await code_of(setup, made["secret"]) is None

        key_id = made["key_id"]
        changed = ("--model", "other", "--requests-per-min", "0", "--json")
        narrowed = parsed(await asked("keys", "set", key_id, *changed))
        assert (narrowed["limits"], narrowed["models"]) == ({"tokens_per_min": 5_000}, ["other"])
        assert narrowed["scopes"] == ["inference"]
        assert await code_of(setup, made["secret"]) == "model_not_allowed"
        widened = parsed(await asked("keys", "set", key_id, "--all-models", "--json"))
        assert widened["models"] is None
        assert widened["expires_at"] is not None
        lasting = parsed(await asked("keys", "set", key_id, "--no-expiry", "--json"))
        assert lasting["expires_at"] is None
        both = await asked("keys", "set", key_id, "--no-expiry", "--expires-in", "1d")
        assert both.exit_code == 2

        rotated = parsed(await asked("keys", "rotate", key_id, "--overlap", "0s", "--json"))
        assert await code_of(setup, made["secret"]) == "expired_api_key"
        assert await code_of(setup, rotated["secret"]) is None
        shown = await asked("keys", "show", key_id)
        assert rotated["key_id"] in shown.stdout
        table = (await asked("keys", "list", "test")).stdout
        states = {line.split()[0]: line.split()[-1] for line in table.splitlines()[2:]}
        own = setup.gateway.authenticate(setup.key).key_id
        assert states == {own: "on", key_id: "expired", rotated["key_id"]: "on"}
        await asked("keys", "revoke", key_id)
        revoked = (await asked("keys", "show", key_id)).stdout
        assert re.search(r"^state +revoked$", revoked, flags=re.MULTILINE)
        assert re.search(r"^scopes +inference$", revoked, flags=re.MULTILINE)


async def test_what_an_account_has_used(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        asked = of_a_server(db)
        assert (await asked("accounts", "usage", "test")).stdout == "(none)\n"
        _, receipt, _ = await run(setup, setup.call("tokens=20"))
        found = parsed(await asked("accounts", "usage", "test", "--by", "model,day", "--json"))
        [row] = found["data"]
        assert (row["model"], row["requests"], row["output_tokens"]) == ("sim-openai", 1, 20)
        assert row["charged"]["nanodollars"] == receipt.price_nanodollars
        assert row["day"] < found["to"]
        assert "sim-openai" in (await asked("accounts", "usage", "test", "--by", "model")).stdout
        wrong = await asked("accounts", "usage", "test", "--from", "May")
        assert (wrong.exit_code, "2026-05-01" in wrong.stderr) == (1, True)


def test_usage_tells_from_when_on_it_is_complete(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    with closing(sqlite3.connect(db)) as database, database:
        database.execute("UPDATE meta SET value = 20000 WHERE name = 'usage_from'")
    shown = parshall("accounts", "usage", "alice", "--db", db)
    assert (shown.exit_code, shown.stderr) == (0, "complete from 2024-10-04 on\n")


async def test_plans_and_prices(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        asked = of_a_server(db)
        limits = ("--requests-per-min", "1", "--model", "sim-openai", "--monthly-budget", "5")
        plan = parsed(await asked("plans", "set", "trial", *limits, "--json"))
        assert (plan["source"], plan["monthly_budget"]["usd"]) == ("ledger", "5.000000000")
        account = parsed(await asked("accounts", "set", "test", "--plan", "trial", "--json"))
        assert account["plan"] == "trial"
        assert "sim-openai" in (await asked("plans", "list")).stdout
        assert parsed(await asked("plans", "show", "trial", "--json"))["accounts"] == 1
        assert await code_of(setup, setup.key) is None
        assert await code_of(setup, setup.key) == "rate_limit_exceeded"
        busy = await asked("plans", "remove", "trial")
        assert (busy.exit_code, "1 account" in busy.stderr) == (1, True)
        parsed(await asked("accounts", "set", "test", "--no-plan", "--json"))
        assert (await asked("plans", "remove", "trial")).exit_code == 0

        _, usual, _ = await run(setup, setup.call("tokens=20"))
        owner = ("--for", "account", "--owner", "test")
        rates = ("--input", "2", "--output", "4", "--rate", "cached_input=0.5")
        price = parsed(await asked("prices", "set", "sim-openai", *owner, *rates, "--json"))
        assert price["rates"] == {"input": "2", "output": "4", "cached_input": "0.5"}
        _, dear, _ = await run(setup, setup.call("tokens=20"))
        assert dear.price_nanodollars == 2 * usual.price_nanodollars
        assert "cached_input=0.5" in (await asked("prices", "list")).stdout
        drawn = ("--rate", "images=0.04", "--image", "hd 1024x1792=0.12", "--image", "2K=0.1")
        price = parsed(await asked("prices", "set", "sim-openai", *owner, *drawn, "--json"))
        assert price["rates"] == {
            "images": "0.04",
            "by_image": [
                {"quality": "hd", "size": "1024x1792", "images": "0.12"},
                {"size": "2K", "images": "0.1"},
            ],
        }
        table = (await asked("prices", "list")).stdout
        assert "by_image=quality=hd, size=1024x1792, images=0.12; size=2K, images=0.1" in table
        wrong = await asked("prices", "set", "sim-openai", *owner, "--image", "hd")
        assert (wrong.exit_code, "'hd' is not WHICH=USD" in wrong.stderr) == (2, True)
        assert (await asked("prices", "remove", "sim-openai", *owner)).exit_code == 0
        assert (await asked("prices", "list")).stdout == "(none)\n"


async def test_switches_exchanges_and_the_log(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        asked = of_a_server(db)
        reason = ("--reason", "their incident")
        off = parsed(await asked("switches", "off", "provider", "sim", *reason, "--json"))
        assert (off["off"], off["ended"]) == (True, 0)
        assert await code_of(setup, setup.key) == "model_unavailable"
        assert "their incident" in (await asked("switches", "list")).stdout
        assert (await asked("switches", "on", "provider", "sim")).exit_code == 0

        call = setup.call("tokens=50000 tokens_per_second=500")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            assert call.request_id in (await asked("exchanges", "list")).stdout
            status = parsed(await asked("status", "--json"))
            assert (status["ready"], status["open_exchanges"]) == (True, 1)
            ended = parsed(await asked("exchanges", "end", call.request_id, "--json"))
            assert (ended["outcome"], ended["flags"]) == ("shutdown", ["ended_by_operator"])
        assert (await asked("exchanges", "list")).stdout == "(none)\n"

        table = (await asked("log", "--limit", "3")).stdout
        assert "switches.off" in table
        assert "exchanges.end" in table
        newest = await asked("log", "--limit", "1")
        assert newest.stderr.startswith("more: --cursor ")
        [row] = parsed(await asked("log", "--subject", call.request_id, "--json"))["data"]
        assert row["actor"].startswith("cli:uid=")


async def test_the_configuration_is_read_again(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        asked = of_a_server(db)
        file = tmp_path / CONFIG_FILE
        text = file.read_text()
        file.write_text(text + "[plans.free]\nrequests_per_min = 5\n")
        report = parsed(await asked("reload", "--json"))
        assert report["changed"] == ["plans.free"]
        file.write_text(text.replace("[billing]", "[biling]"))
        refused = await asked("reload")
        assert refused.exit_code == 3
        assert "did you mean 'billing'" in refused.stderr
        assert set(setup.gateway.running.rules.plans) == {"free"}


def test_a_long_list_is_shown_whole(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontends.cli_admin.PAGE", 2)
    for number in range(3):
        parshall("accounts", "create", f"a{number}", "--db", db)
    names = [row["name"] for row in parsed(parshall("accounts", "list", "--db", db, "--json"))]
    assert names == ["a0", "a1", "a2"]


REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    (("accounts", "set", "alice"), 2, "--plan NAME, or --no-plan"),
    (("accounts", "set", "alice", "--plan", "a", "--no-plan"), 2, "--plan NAME"),
    (("accounts", "set", "alice", "--plan", "none"), 1, "There is no plan 'none'"),
    (("keys", "create", "alice", "--expires-in", "soon"), 2, "such as 90d, 12h"),
    (("keys", "create", "alice", "--budget", "5"), 2, "--per day, month or total"),
    (("keys", "create", "alice", "--budget", "x", "--per", "day"), 2, "is not an amount"),
    (("keys", "create", "alice", "--model", "a*b"), 1, "elsewhere than at its end"),
    (("keys", "create", "alice", "--scope", "admin"), 2, "'admin' is not one of"),
    (("keys", "set", "key_0"), 2, "what is to change"),
    (("keys", "set", "key_0", "--name", "x"), 1, "There is no key 'key_0'"),
    (("keys", "rotate", "key_0"), 1, "There is no key 'key_0'"),
    (("plans", "set", "pro"), 1, "no server runs"),
    (("plans", "remove", "pro"), 1, "There is no plan 'pro'"),
    (("prices", "set", "m", "--for", "all", "--input", "1", "--output", "2"), 1, "no server"),
    (("prices", "remove", "m", "--for", "account"), 1, "with an 'owner'"),
    (("prices", "remove", "m", "--for", "all"), 1, "There is no such price"),
    (("switches", "off", "account", "bob"), 1, "There is no account 'bob'"),
    (("switches", "off", "planet", "x"), 2, "is not one of"),
    (("exchanges", "list"), 1, "no server runs"),
    (("reload",), 1, "no server runs"),
    (("status",), 1, "no server runs"),
    (("log", "--cursor", "x"), 1, "is not the cursor"),
]


def test_what_cannot_be_done_is_said(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    for arguments, code, message in REFUSED:
        result = parshall(*arguments, "--db", db)
        assert (result.exit_code, message in result.stderr) == (code, True), result.output


def test_a_switch_and_a_key_without_a_server(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    off = parsed(parshall("switches", "off", "account", "alice", "--db", db, "--json"))
    shown = parsed(parshall("accounts", "show", "alice", "--db", db, "--json"))
    assert shown["off"]
    assert off["subject"] == shown["account_id"]
    assert "OFF" in parshall("accounts", "show", "--db", db).stdout
    parshall("switches", "on", "account", "alice", "--db", db)
    assert not parsed(parshall("accounts", "show", "alice", "--db", db, "--json"))["off"]
    for by_name in ((), ("--subject", "alice")):
        rows = parsed(parshall("log", *by_name, "--db", db, "--json"))["data"]
        assert [row["action"] for row in rows] == ["switches.on", "switches.off", "accounts.create"]
