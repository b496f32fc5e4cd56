"""The command line: tables, JSON, exit codes; with a server and without one."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from frontends.cli import main
from frontends.control import open_control
from tests.gateways import MODELS, config_text, open_setup, run

NO_SUCH_SECRET = """
[providers.x]
protocol = "openai"
base_url = "https://x.test"
api_key = "env:NO_SUCH"
"""


def parshall(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_an_account_and_a_key_without_a_server(db: Path) -> None:
    account = parsed(parshall("accounts", "create", "alice", "--fund", "25", "--db", db, "--json"))
    key = parsed(parshall("keys", "create", "alice", "--name", "laptop", "--db", db, "--json"))
    parshall("accounts", "fund", account["account_id"], "0.000000001", "--db", db)
    shown = parshall("accounts", "show", "--db", db)

    assert account["available"]["usd"] == "25.000000000"
    assert key["secret"].startswith("sk-parshall-")
    assert key["secret"] not in parshall("keys", "list", "--db", db).output
    assert "$25.000000001" in shown.output
    assert "alice" in shown.output


def test_funding_again_with_the_same_reference_changes_nothing(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    fund = ("accounts", "fund", "alice", "10", "--reference", "invoice-7", "--db", db, "--json")

    assert parsed(parshall(*fund))["balance"] == parsed(parshall(*fund))["balance"]
    other = parshall("accounts", "fund", "alice", "11", "--reference", "invoice-7", "--db", db)
    assert other.exit_code == 1
    assert other.stderr.startswith("parshall: error: ")


def test_a_revoked_key_shows_when(db: Path) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    key = parsed(parshall("keys", "create", "alice", "--db", db, "--json"))
    revoked = parsed(parshall("keys", "revoke", key["key_id"], "--db", db, "--json"))

    assert revoked["revoked_at"] is not None


def test_the_audit_says_so_when_all_is_well(db: Path) -> None:
    parshall("accounts", "create", "alice", "--fund", "1", "--db", db)
    table = parshall("ledger", "audit", "--db", db)

    assert table.exit_code == 0
    assert "sum to zero" in table.output


def test_the_audit_fails_when_money_is_missing(db: Path) -> None:
    parshall("accounts", "create", "alice", "--fund", "1", "--db", db)
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE balances SET amount = amount + 5 WHERE account_id LIKE 'acct%'")
    connection.close()
    audit = parshall("ledger", "audit", "--db", db)

    assert audit.exit_code == 1
    assert "NO" in audit.output


@pytest.mark.parametrize("amount", ["0", "-1", "x", "1e-10", "1e8", "1e400", "NaN", "Infinity", ""])
def test_an_impossible_amount_is_wrong_usage(db: Path, amount: str) -> None:
    result = parshall("accounts", "fund", "alice", "--db", db, "--", amount)

    assert result.exit_code == 2
    assert not db.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("accounts", "show", "bob"), "There is no account 'bob'; 'parshall accounts show' lists"),
        (("accounts", "fund", "bob", "5"), "There is no account 'bob'"),
        (("keys", "create", "bob"), "There is no account 'bob'"),
        (("keys", "list", "bob"), "There is no account 'bob'"),
        (("keys", "revoke", "key_0"), "There is no key 'key_0'; 'parshall keys list' shows"),
        (("receipts", "show", "req_0", "--account", "bob"), "There is no account 'bob'"),
        (("receipts", "show", "req_0"), "There is no receipt 'req_0'"),
    ],
)
def test_what_is_not_there_is_named(db: Path, arguments: tuple[str, ...], message: str) -> None:
    parshall("accounts", "create", "alice", "--db", db)
    result = parshall(*arguments, "--db", db)

    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("accounts", "show"),
        ("keys", "list"),
        ("ledger", "audit"),
        ("receipts", "show", "req_0"),
        ("keys", "create", "alice"),
    ],
)
def test_a_database_that_is_not_there_is_not_made(db: Path, arguments: tuple[str, ...]) -> None:
    result = parshall(*arguments, "--db", db)

    assert result.exit_code == 1
    assert "no database" in result.stderr
    assert not db.exists()


async def test_a_server_is_asked_when_it_holds_the_database(tmp_path: Path, db: Path) -> None:
    config = tmp_path / "parshall.toml"
    config.write_text(config_text(db, "http://127.0.0.1:1"))
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):

        async def asked(*arguments: str) -> Any:
            return parsed(await trio.to_thread.run_sync(lambda: parshall(*arguments, "--json")))

        key = await asked("keys", "create", "test", "--config", str(config))
        call = setup.call("tokens=2")
        await run(setup, call)
        receipt = await asked("receipts", "show", call.request_id, "--db", str(db))

        assert setup.gateway.authenticate(key["secret"]).account_id == setup.account_id
        assert receipt["outcome"] == "completed"
        as_table = await trio.to_thread.run_sync(
            lambda: parshall("receipts", "show", call.request_id, "--db", str(db))
        )
        assert "attempts.1.provider" in as_table.output
        assert "$0.00" in as_table.output


def test_administration_needs_no_secret_of_the_configuration(tmp_path: Path, db: Path) -> None:
    """Nor one that could be served from: only where the database is."""
    config = tmp_path / "parshall.toml"
    config.write_text(
        f'[storage]\nurl = "sqlite:{db}"\n[admin]\nsecret = "env:SET_FOR_THE_SERVER_ONLY"\n'
        '[providers.new]\nkind = "not known yet"\n'
    )
    account = parsed(parshall("accounts", "create", "acme", "--config", config, "--json"))
    assert parsed(parshall("accounts", "show", "acme", "--db", db, "--json")) == account
    config.write_text('[storage]\nurl = "postgres://db"\n')
    refused = parshall("accounts", "list", "--config", config)
    assert refused.exit_code == 3
    assert f"{config}:2: storage.url must be 'sqlite:FILE'" in refused.stderr


async def test_a_database_held_without_a_control_socket(tmp_path: Path, db: Path) -> None:
    async with open_setup(tmp_path):
        result = await trio.to_thread.run_sync(lambda: parshall("accounts", "show", "--db", db))

    assert result.exit_code == 4
    assert "in use" in result.stderr


def test_a_good_configuration_is_shown_with_its_prices(tmp_path: Path, db: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.write_text(config_text(db, "http://127.0.0.1:1"))

    models = parsed(parshall("config", "check", path, "--json"))
    assert [model["model"] for model in models] == list(MODELS.values())
    for model in models:
        assert (model["input_usd_per_million"], model["output_usd_per_million"]) == ("1", "2")
        assert model["other_usd"] == {}
    assert "is fine" in parshall("config", "check", path).output
    assert not db.exists()


def test_prices_of_what_is_no_token_are_shown(tmp_path: Path, db: Path) -> None:
    path = tmp_path / "parshall.toml"
    by_image = '[{ quality = "hd", size = "1024x1792", images = 0.12 }]'
    path.write_text(
        config_text(db, "http://127.0.0.1:1")
        + '[models.heard]\ndeployments = [{ provider = "sim", model = "whisper-9" }]\n'
        "price = { seconds = 0.0001 }\n"
        '[models.drawn]\ndeployments = [{ provider = "sim", model = "dall-e-9" }]\n'
        f"price = {{ images = 0.04, by_image = {by_image} }}\n"
    )
    *_, heard, drawn = parsed(parshall("config", "check", path, "--json"))
    assert (heard["input_usd_per_million"], heard["other_usd"]) == ("0", {"seconds": "0.0001"})
    assert drawn["other_usd"] == {
        "images": "0.04",
        "by_image": {"hd 1024x1792": {"images": "0.12"}},
    }
    table = parshall("config", "check", path).output
    assert "images=0.04, by_image=hd 1024x1792=images=0.12" in table


SEVERAL = """
[models.pair]
hedge = true
continuation = true
deployments = [
  { provider = "sim", model = "m", priority = 1 },
  { provider = "sim-gemini", model = "m", weight = 3 },
]
free = true
[auto]
models = [{ name = "pair", strength = 3 }]
"""


def test_all_deployments_are_shown_and_what_has_no_effect(tmp_path: Path, db: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.write_text(config_text(db, "http://127.0.0.1:1", models=SEVERAL))

    result = parshall("config", "check", path, "--json")
    rows = [
        tuple(row[name] for name in ("model", "provider", "priority", "weight"))
        for row in json.loads(result.stdout)[-3:]
    ]
    assert rows == [("pair", "sim-gemini", 0, 3), ("pair", "sim", 1, 1), ("auto", None, None, None)]
    assert f"{path}: models.pair.continuation has no effect: of none of" in result.stderr
    assert "hedge" not in result.stderr
    assert "is fine" in parshall("config", "check", path).output


def test_a_configuration_without_models_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.touch()

    assert "is fine, but serves no model yet." in parshall("config", "check", path).output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nbnid = []\n", "did you mean"),
        ("[server\n", "not valid TOML"),
        (NO_SUCH_SECRET, ":5: providers.x.api_key"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [("config", "check"), ("serve", "--config")])
def test_a_bad_configuration_is_refused(
    tmp_path: Path, command: tuple[str, ...], text: str | None, message: str
) -> None:
    path = tmp_path / "parshall.toml"
    if text is not None:
        path.write_text(text)
    result = parshall(*command, path)

    assert result.exit_code == 3
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [("config", "check"), ("serve", "--config")])
def test_nothing_is_served_that_nobody_can_administer(
    tmp_path: Path, db: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARSHALL_ADMIN_KEY")
    path = tmp_path / "parshall.toml"
    path.write_text(config_text(db, "http://127.0.0.1:1"))
    result = parshall(*command, path)

    assert result.exit_code == 3
    assert "set the environment variable PARSHALL_ADMIN_KEY, or add [admin]" in result.stderr
    assert not db.exists()


def test_an_address_that_cannot_be_had(tmp_path: Path, db: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.write_text(config_text(db, "http://127.0.0.1:1"))
    wrong = parshall("serve", "--config", path, "--bind", "nonsense")
    foreign = parshall("serve", "--config", path, "--bind", "192.0.2.1:80")

    assert wrong.exit_code == 3
    assert foreign.exit_code == 1
    assert "192.0.2.1:80" in foreign.stderr
    assert "not an address of this machine" in foreign.stderr


def test_the_demo_names_the_option_that_is_wrong(db: Path) -> None:
    result = parshall("serve", "--bind", "nonsense", "--db", db)

    assert result.exit_code == 3
    assert "error: --bind nonsense must be" in result.stderr
    assert not db.exists()


def test_an_address_in_use_is_named_with_what_to_do(tmp_path: Path, db: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.write_text(config_text(db, "http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        server = parshall("serve", "--config", path, "--bind", address)
        simulator = parshall("simulate", "--bind", address)

    for result in (server, simulator):
        assert result.exit_code == 1
        assert f"cannot listen on {address}: Address already in use; " in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("serve",),
        ("simulate",),
        ("accounts",),
        ("accounts", "create"),
        ("accounts", "fund"),
        ("accounts", "show"),
        ("keys", "create"),
        ("keys", "list"),
        ("keys", "revoke"),
        ("receipts", "show"),
        ("ledger", "audit"),
        ("config", "check"),
    ],
)
def test_help_is_there(arguments: tuple[str, ...]) -> None:
    result = parshall(*arguments, "--help")

    assert result.exit_code == 0
    assert arguments == ("accounts",) or "Examples:" in result.output


def test_the_directives_are_listed() -> None:
    result = parshall("simulate", "--directives")

    assert "tokens_per_second" in result.output
    assert parshall("simulate", "--defaults", "tokns=1").exit_code == 2
    assert parshall("simulate", "--bind", "8788").exit_code == 2
    assert parshall("simulate", "--bind", "127.0.0.1:65536").exit_code == 2
    assert parshall("simulate", "--tls-cert", __file__).exit_code == 2
    not_pem = parshall("simulate", "--tls-cert", __file__, "--tls-key", __file__)
    assert not_pem.exit_code == 2
    assert __file__ in " ".join(not_pem.stderr.split())


def test_the_version() -> None:
    assert parshall("--version").output.startswith("parshall")
