"""`parshall debug`: what a running server tells of its connections."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from frontends.cli import main
from frontends.commands import BadCommandError, execute_alone
from frontends.control import open_control
from tests.gateways import open_setup, settled


async def parshall(*arguments: str | Path) -> Result:
    """Run a command in this process, in another thread than the server."""
    words = [str(argument) for argument in arguments]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, words))


async def test_the_connections_of_a_running_server(tmp_path: Path) -> None:
    db = tmp_path / "ledger.db"
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        call = setup.call("tokens=100000 tokens_per_second=50")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            await settled(  # the first ping goes out after a second
                lambda: (
                    setup.gateway.statistics()["upstream"]["origins"][0]["connection_statistics"][
                        0
                    ]["round_trip_last_s"]
                    is not None
                )
            )
            figures = await parshall("debug", "upstream", "--db", db, "--json")
            table = await parshall("debug", "upstream", "--db", db)

    assert figures.exit_code == 0, figures.output
    [origin] = json.loads(figures.stdout)["origins"]
    [connection] = origin["connection_statistics"]
    assert (origin["authority"], origin["open_streams"]) == (f"127.0.0.1:{setup.sim.port}", 1)
    assert (connection["protocol"], connection["open_streams"]) == ("h2", 1)
    assert connection["round_trip_smoothed_s"] > 0
    assert table.exit_code == 0, table.output
    assert re.search(r"ORIGIN +PROXY +CONNECTIONS", table.stdout)
    assert re.search(r"h2 +open +\d+ s +1 .* \d+\.\d ms", table.stdout)


async def test_before_the_first_request_there_is_nothing_to_show(tmp_path: Path) -> None:
    db = tmp_path / "ledger.db"
    async with open_setup(tmp_path) as setup, open_control(setup.gateway, db):
        table = await parshall("debug", "upstream", "--db", db)
    assert (table.exit_code, table.stdout) == (0, "(none)\n")


async def test_without_a_server_there_is_none_to_ask(tmp_path: Path) -> None:
    result = await parshall("debug", "upstream", "--db", tmp_path / "ledger.db")
    assert result.exit_code == 1
    assert "no server runs with the database" in result.stderr
    assert not (tmp_path / "ledger.db").exists()
    with pytest.raises(BadCommandError, match="running server"):
        await execute_alone(tmp_path / "ledger.db", "debug.upstream", {})
