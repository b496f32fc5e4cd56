"""A gateway whose provider is Bedrock, simulated, and the keys that it signs with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.simulate import SimulatorSettings, open_simulator
from bench.simulate.aws_signature import AwsKey
from engine import open_gateway, parse_config
from tests.gateways import DOLLAR, Setup, assert_invariants

KEY_ID, SECRET = "AKIDEXAMPLE", "secret-of-the-operator"
API_KEY = "bedrock-api-key-of-the-operator"
TEMPORARY = {"ASIAFIRST": AwsKey("first-secret", "token-1"), "ASIANEXT": AwsKey("next", "token-2")}
MODEL = "anthropic.sim-anthropic-v1:0"
SETTINGS = SimulatorSettings(
    api_keys=frozenset({KEY_ID, API_KEY, *TEMPORARY}),
    aws_keys={KEY_ID: AwsKey(SECRET), **TEMPORARY},
)


def forget_machine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing of this machine's own leads to credentials."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


def provide_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has a key that does not expire."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def config_text(base_url: str, database: Path, provider: str = "") -> str:
    """Bedrock at another address, and a model of it under the name that tests ask for."""
    return f"""
[server]
lag_max_s = 60
[storage]
url = "sqlite:{database}"
[providers.bedrock]
kind = "bedrock"
region = "us-east-1"
base_url = "{base_url}"
http2 = "prior-knowledge"
{provider}
[models.sim-anthropic]
deployments = [{{ provider = "bedrock", model = "{MODEL}" }}]
price = {{ input = 1, output = 2 }}
"""


@asynccontextmanager
async def open_bedrock(folder: Path, provider: str = "") -> AsyncIterator[Setup]:
    """A gateway with one funded account; on leaving, the invariants are checked."""
    async with open_simulator(SETTINGS) as sim:
        text = config_text(sim.base_url, folder / "ledger.db", provider)
        config = parse_config(text, "test.toml", {"BEDROCK_KEY": API_KEY})
        async with open_gateway(config) as gateway:
            account = await gateway.ledger.create_account("test")
            await gateway.ledger.fund(account.account_id, DOLLAR, "first")
            _, secret = await gateway.create_key(account.account_id, "test")
            yield Setup(gateway, sim, account.account_id, secret)
            await assert_invariants(gateway)
