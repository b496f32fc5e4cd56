"""Vertex for tests: a made-up service account, and a gateway in front of the simulated cloud."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import Config, open_gateway, parse_config
from frontends.app import create_app
from frontends.server import open_server
from tests import gateways
from tests.gateways import DOLLAR, MODELS, Setup, assert_invariants
from tests.recordings import RECORDINGS
from tests.served import Served

ACCOUNT = "sim@sim-project.iam.gserviceaccount.com"
PROJECT = "sim-project"
REGION = "us-central1"
KINDS = {"vertex": "google", "vertex-anthropic": "anthropic"}
"""The rows and whose models they serve."""
SERVED = {"gemini": "vertex", "anthropic": "vertex-anthropic"}
"""The row of each protocol; its model has the name that the protocol's own provider gives it."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An account and its key, as PEM."""

    name: str
    private_key: str
    public_key: str

    @property
    def known(self) -> dict[str, str]:
        """As the simulated provider wants it."""
        return {self.name: self.public_key}

    def info(self, base_url: str) -> dict[str, str]:
        """What its file holds; the simulated provider gives out the tokens."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "0" * 40,
            "private_key": self.private_key,
            "client_email": self.name,
            "client_id": "1",
            "token_uri": f"{base_url}/token",
        }

    def write(self, folder: Path, base_url: str) -> Path:
        """The file."""
        file = folder / "google.json"
        file.write_text(json.dumps(self.info(base_url)))
        return file


@functools.cache
def service_account(name: str = ACCOUNT) -> ServiceAccount:
    """One with a new key, the same for all tests of a process."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return ServiceAccount(name, private.decode(), public.decode())


def config_of(folder: Path, base_url: str, credentials_file: Path | None) -> Config:
    """A gateway with a provider of each row."""
    text = f'[server]\nlag_max_s = 60\n[storage]\nurl = "sqlite:{folder}/ledger.db"\n'
    file = "" if credentials_file is None else f'credentials_file = "{credentials_file}"'
    for kind, publisher in KINDS.items():
        place = f"projects/{{project}}/locations/{{region}}/publishers/{publisher}"
        text += f"""
[providers.{kind}]
kind = "{kind}"
base_url = "{base_url}/v1/{place}"
region = "{REGION}"
project = "{PROJECT}"
http2 = "{gateways.HTTP2}"
{file}
"""
    for protocol, kind in SERVED.items():
        model = MODELS[protocol]
        text += f"""
[models.{model}]
deployments = [{{ provider = "{kind}", model = "{model}" }}]
price = {{ input = 1, output = 2 }}
"""
    return parse_config(text, "test.toml", {})


def nothing(simulator: Simulator) -> None:
    """As it is."""


@asynccontextmanager
async def open_vertex(
    folder: Path,
    *,
    before: Callable[[Simulator], None] = nothing,
    file: bool = True,
) -> AsyncIterator[Setup]:
    """A gateway with Vertex as its provider; on leaving, the invariants are checked.

    Args:
        before: is done with the simulated provider before the gateway opens.
        file: whether its credentials stand in a file.
    """
    account = service_account()
    settings = SimulatorSettings(recordings=RECORDINGS, service_accounts=account.known)
    async with open_simulator(settings) as sim:
        before(sim)
        credentials = account.write(folder, sim.base_url) if file else None
        async with open_gateway(config_of(folder, sim.base_url, credentials)) as gateway:
            owner = await gateway.ledger.create_account("test")
            await gateway.ledger.fund(owner.account_id, DOLLAR, "first")
            _, secret = await gateway.create_key(owner.account_id, "test")
            yield Setup(gateway, sim, owner.account_id, secret)
            await assert_invariants(gateway)


@asynccontextmanager
async def open_served_vertex(folder: Path) -> AsyncIterator[Served]:
    """The same, served over HTTP."""
    async with (
        open_vertex(folder) as setup,
        open_server(create_app(setup.gateway), ["127.0.0.1:0"]) as server,
    ):
        yield Served(setup, int(server.addresses[0].rpartition(":")[2]))
