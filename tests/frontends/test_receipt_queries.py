"""Lists of receipts over HTTP and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import trio
from click.testing import CliRunner, Result

from frontends.cli import main
from frontends.control import open_control
from tests.gateways import open_setup, run
from tests.served import open_served


async def test_a_client_lists_its_own_receipts(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, served.http() as http:
        setup = served.setup
        calls = [setup.call(f"tokens={number}") for number in (3, 4)]
        for call in calls:
            await run(setup, call)
        whole = setup.call_of("anthropic", "anthropic", "tokens=5", stream=False)
        await run(setup, whole)
        answer = (await http.get("/receipts")).json()
        assert (answer["object"], answer["has_more"], answer["next_cursor"]) == (
            "list",
            False,
            None,
        )
        ids = [receipt["request_id"] for receipt in answer["data"]]
        assert ids == [whole.request_id, calls[1].request_id, calls[0].request_id]
        assert answer["data"][0] == (await http.get(f"/receipts/{ids[0]}")).json()
        one = (await http.get("/receipts", params={"limit": "1"})).json()
        assert one["has_more"]
        rest = (await http.get("/receipts", params={"cursor": one["next_cursor"]})).json()
        assert [receipt["request_id"] for receipt in one["data"] + rest["data"]] == ids
        chosen = (await http.get("/receipts", params={"model": "sim-anthropic"})).json()
        assert [receipt["request_id"] for receipt in chosen["data"]] == ids[:1]
        other = await setup.gateway.ledger.create_account("another")
        _, key = await setup.gateway.create_key(other.account_id, "another")
        foreign = {"authorization": f"Bearer {key}"}
        assert (await http.get("/receipts", headers=foreign)).json()["data"] == []
        theirs = await http.get("/receipts", params={"cursor": ids[0]}, headers=foreign)
        assert theirs.status_code == 400


async def test_a_request_under_way_is_there(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, served.http() as http:
        call = served.setup.call("tokens=100000 tokens_per_second=50")
        async with served.setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            [receipt] = (await http.get("/receipts", params={"state": "running"})).json()["data"]
            assert (receipt["request_id"], receipt["outcome"]) == (call.request_id, "running")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "9" * 5_000),
        ("state", "done"),
        ("outcome", "well"),
        ("from", "yesterday"),
        ("to", "0001-01-01T00:00:00+14:00"),
        ("cursor", "req_unknown"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(tmp_path: Path, name: str, value: str) -> None:
    async with open_served(tmp_path) as served, served.http() as http:
        answer = await http.get("/receipts", params={name: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == name


async def test_it_takes_a_key(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, httpx.AsyncClient(verify=False, timeout=30) as http:
        assert (await http.get(f"{served.url}/receipts")).status_code == 401


async def test_on_the_command_line(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, tmp_path / "ledger.db"):
        for tokens in (3, 4, 5):
            await run(setup, setup.call(f"tokens={tokens}"))

        async def asked(*arguments: str) -> Result:
            options = ("receipts", "list", *arguments, "--db", str(tmp_path / "ledger.db"))
            return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, options))

        first = await asked("test", "--limit", "2")
        assert first.exit_code == 0, first.output
        assert first.stdout.count("completed") == 2
        cursor = first.stderr.split()[-1]
        page = json.loads((await asked("test", "--cursor", cursor, "--json")).stdout)
        assert [receipt["usage"]["output_tokens"] for receipt in page["data"]] == [3]
        assert "(none)" in (await asked("test", "--outcome", "client_left")).stdout
        assert "'limit' must be" in (await asked("test", "--limit", "many")).stderr
        assert (await asked("nobody")).exit_code == 1
