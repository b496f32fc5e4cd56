"""`parshall providers check`: the table, JSON, what it says beforehand, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from bench.simulate import SimulatorSettings, open_simulator
from frontends.cli import main
from tests.gateways import config_text

COLUMNS = "PROVIDER MODEL REACHABLE KEY STREAM USAGE TOOLS HTTP FIRST COST"
KEY = "sk-the-operators-own-0123456789"
PROVIDERS = ["sim", "sim-responses", "sim-anthropic", "sim-gemini"]


def asked(*arguments: str) -> Result:
    """Run the command in this process."""
    result = CliRunner().invoke(main, ["providers", "check", *arguments], env={"SIM_KEY": KEY})
    assert KEY not in result.output + result.stderr
    return result


async def run(tmp_path: Path, key: str, *arguments: str) -> Result:
    """With a configuration of four providers, whose key is the one in the environment."""
    path = tmp_path / "parshall.toml"
    async with open_simulator(SimulatorSettings(api_keys=frozenset({key}))) as simulator:
        provider = 'api_key = "env:SIM_KEY"'
        path.write_text(config_text(tmp_path / "no.db", simulator.base_url, provider=provider))
        result = await trio.to_thread.run_sync(lambda: asked("--config", str(path), *arguments))
    assert not (tmp_path / "no.db").exists(), "no database is opened"
    return result


async def test_the_table_of_sound_providers(tmp_path: Path) -> None:
    result = await run(tmp_path, KEY)
    assert result.exit_code == 0, result.output
    heading, _, *rows = result.stdout.splitlines()
    assert " ".join(heading.split()) == COLUMNS
    for name, row in zip(PROVIDERS, rows, strict=True):
        cells = row.split()
        assert cells[0] == name
        assert cells[2:8] == ["yes"] * 5 + ["HTTP/2"]
        assert cells[-1].startswith("$0.00")
    first, *steps = result.stderr.splitlines()
    assert first.startswith("Asking 4 providers, two small calls each: at most $0.0")
    assert "  sim-gemini: asking sim-gemini to call a tool" in steps
    assert "  sim-anthropic: done" in steps


async def test_what_to_do_about_a_key_that_is_refused(tmp_path: Path) -> None:
    result = await run(tmp_path, "another", "--provider", "sim-anthropic")
    assert result.exit_code == 1
    assert "sim-anthropic: it refuses its key\n  check the secret" in result.stdout
    assert "sim-gemini" not in result.output


async def test_json_for_scripts(tmp_path: Path) -> None:
    result = await run(tmp_path, KEY, "--json")
    rows = json.loads(result.stdout)
    assert [row["provider"] for row in rows] == PROVIDERS
    for row in rows:
        assert (row["works"], row["stream"], row["usage"], row["tools"]) == (True,) * 4
        assert row["cost"]["nanodollars"] > 0
        assert row["first_output_ms"] > 0


def test_without_a_configuration_the_demo_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    result = asked("--provider", "sim-openai")
    assert result.exit_code == 0, result.output
    assert "sim-openai" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.write_text('[providers.a]\nprotocol = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n')
    result = asked("--config", str(path), "--provider", "b")
    assert result.exit_code == 3
    assert "there is no provider 'b'; the configuration has: a" in result.stderr


def test_one_that_no_model_names_is_said(tmp_path: Path) -> None:
    path = tmp_path / "parshall.toml"
    path.write_text('[providers.a]\nprotocol = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n')
    result = asked("--config", str(path))
    assert result.exit_code == 0
    problem = "a: no model of the configuration that chats is served by it: it was not asked"
    assert problem in result.stdout
