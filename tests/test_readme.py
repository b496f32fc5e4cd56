"""What the README tells a newcomer to type works as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import orjson
import trio

from engine import parse_config
from engine.errors import GatewayError, UpstreamRejectedError
from tests.e2e.test_kill import open_process
from tests.gateways import open_setup, run
from tests.served import open_served

README = (Path(__file__).parent.parent / "README.md").read_text()
PARSHALL = Path(sys.executable).parent
OF_ADMINISTRATION = {"bad_command", "conflict"}
"""Codes that the command line meets, and HTTP does not."""


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell(command: str, folder: Path, **environ: str) -> str:
    """Run one line as a shell would; its output."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{PARSHALL}:{os.environ['PATH']}"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_the_configuration_is_accepted() -> None:
    [toml] = blocks("toml")
    config = parse_config(toml, "README.md", {"OPENAI_API_KEY": "sk-test"})
    assert set(config.models) == {"gpt-5", "in-house"}


def test_every_configuration_key_is_named() -> None:
    from engine.config import (
        BillingConfig,
        PriceConfig,
        ProviderConfig,
        ServerConfig,
        StorageConfig,
    )

    for section in (ServerConfig, StorageConfig, BillingConfig, ProviderConfig, PriceConfig):
        for name in section.__dataclass_fields__:
            assert f"`{name}`" in README, name


async def test_the_first_requests(tmp_path: Path) -> None:
    ask, read_receipt = [block for block in blocks("sh") if "curl" in block]
    async with open_served(tmp_path) as served:
        here = f"http://127.0.0.1:{served.port}"

        def type_in(command: str) -> str:
            command = command.replace("http://127.0.0.1:8787", here)
            return shell(command, tmp_path, PARSHALL_KEY=served.setup.key)

        answer = await trio.to_thread.run_sync(type_in, ask)
        assert answer.endswith("data: [DONE]\n\n")
        [truth] = served.setup.sim.truth.records()
        receipt = orjson.loads(
            await trio.to_thread.run_sync(
                type_in, read_receipt.replace("REQUEST_ID", truth.request_id)
            )
        )
        assert receipt["outcome"] == "completed"
        [example] = blocks("json")
        fields = re.findall(r'"([a-z_]+)":', example)
        assert fields
        for name in fields:
            assert f'"{name}":' in orjson.dumps(receipt).decode()


async def test_the_commands(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
    (tmp_path / "ledger.db").rename(tmp_path / "parshall.db")
    (tmp_path / "parshall.toml").write_text(blocks("toml")[0])
    [commands] = [block for block in blocks("sh") if "parshall accounts" in block]
    key_id = ""
    for line in commands.splitlines():
        command = shlex.join(shlex.split(line, comments=True))
        command = command.replace("KEY_ID", key_id).replace("REQUEST_ID", receipt.request_id)
        printed = await trio.to_thread.run_sync(
            lambda: shell(command, tmp_path, OPENAI_API_KEY="sk-test")  # noqa: B023 - awaited
        )
        if "keys create" in command:
            key_id = re.findall(r"key_[0-9a-f]+", printed)[0]


def test_the_table_of_errors_is_complete() -> None:
    from engine.protocols import openai_chat
    from frontends import app  # noqa: F401 - all error classes must be loaded

    def tree(cls: type[GatewayError]) -> list[type[GatewayError]]:
        return [cls, *(sub for child in cls.__subclasses__() for sub in tree(child))]

    refused = openai_chat.read_error(401, b"")
    known = {
        ("any" if cls is UpstreamRejectedError else str(cls.status), cls.code)
        for cls in tree(GatewayError)
        if cls.code not in OF_ADMINISTRATION
    }
    rows = re.findall(r"^\| (\d{3}|any) \| (.+?) \|", README, flags=re.MULTILINE)
    told = {(status, code) for status, cell in rows for code in re.findall(r"`([a-z_]+)`", cell)}

    assert told == known | {(str(refused.status), refused.code)}


async def test_the_server_starts_from_the_configuration(tmp_path: Path) -> None:
    [toml] = blocks("toml")
    config = tmp_path / "parshall.toml"
    text = toml.replace("127.0.0.1:8787", "127.0.0.1:0").replace(
        '"env:OPENAI_API_KEY"', f'"file:{tmp_path}/key"'
    )
    config.write_text(text.replace("sqlite:", f"sqlite:{tmp_path}/"))
    (tmp_path / "key").write_text("sk-test")
    async with open_process(config) as (_, port):
        health = await trio.to_thread.run_sync(
            shell, f"curl -s http://127.0.0.1:{port}/healthz", tmp_path
        )
        assert health == '{"status":"ok"}'
