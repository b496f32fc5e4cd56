"""What is served without a configuration: the simulated provider, and an account with some credit.

`OPENAI_API_KEY` in the environment adds OpenAI's models.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.simulate import SimulatorSettings, open_simulator
from engine import Config, Gateway, parse_config
from engine.errors import AuthenticationError, NotFoundError
from engine.ledger.records import ConflictError

ACCOUNT = "demo"
FUNDS_NANODOLLARS = 10 * 1_000_000_000
FUNDING_REFERENCE = "demo-credit"
MODEL = "sim-openai"

OPENAI_MODELS = (
    "gpt-5.2",
    "gpt-5.1",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4o",
    "gpt-4o-mini",
    "o3",
    "o4-mini",
)
"""Chat models that the price library knows."""


@asynccontextmanager
async def open_demo(
    database: Path, bind: tuple[str, ...], environ: Mapping[str, str]
) -> AsyncIterator[Config]:
    """Start the simulated provider for the block; the configuration that uses it."""
    async with open_simulator(SimulatorSettings()) as simulator:
        text = demo_config(simulator.base_url, database, bind, environ)
        yield parse_config(text, "the demo's configuration", environ)


def demo_config(
    simulator_url: str, database: Path, bind: tuple[str, ...], environ: Mapping[str, str]
) -> str:
    """The demo's configuration, as TOML; of a key in the environment it holds the name only."""
    text = f"""
[server]
bind = {json.dumps(bind)}
[storage]
url = {json.dumps(f"sqlite:{database}")}
[providers.sim]
protocol = "openai"
base_url = "{simulator_url}/v1"
http2 = "prior-knowledge"
[models.{MODEL}]
deployments = [{{ provider = "sim", model = "{MODEL}" }}]
price = {{ input = 1.0, cached_input = 0.1, output = 4.0 }}
"""
    if not environ.get("OPENAI_API_KEY"):
        return text
    text += """
[providers.openai]
protocol = "openai"
base_url = "https://api.openai.com/v1"
api_key = "env:OPENAI_API_KEY"
"""
    for model in OPENAI_MODELS:
        text += f'[models."{model}"]\n'
        text += f'deployments = [{{ provider = "openai", model = "{model}" }}]\n'
    return text


def key_path(database: Path) -> Path:
    """Where the demo's key is kept: beside the database, readable by its owner only."""
    return database.with_suffix(".demo-key")


async def prepare_key(gateway: Gateway, database: Path) -> str:
    """The key of the funded demo account; both are made once, and found again later."""
    ledger = gateway.ledger
    try:
        account = await ledger.account(ACCOUNT)
    except NotFoundError:
        account = await ledger.create_account(ACCOUNT)
    await ledger.fund(account.account_id, FUNDS_NANODOLLARS, FUNDING_REFERENCE)
    path = key_path(database)
    secret = _read(path)
    if secret is not None and await _works(gateway, account.account_id, secret):
        return secret
    _, secret = await gateway.create_key(account.account_id, ACCOUNT)
    _write(path, secret)
    return secret


async def _works(gateway: Gateway, account_id: str, secret: str) -> bool:
    """Whether this gateway takes the key; a database that is new is told of it first."""
    try:
        return gateway.authenticate(secret).account_id == account_id
    except AuthenticationError:
        pass
    try:
        await gateway.adopt_key(account_id, ACCOUNT, secret)
    except ConflictError:  # it was revoked
        return False
    return True


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _write(path: Path, secret: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")


def welcome(url: str, secret: str, gateway: Gateway, database: Path) -> str:
    """What to paste, for people who have just started it. `url` is one of `client_url`."""
    models = list(gateway.config.models)
    curl_target, sdk_import, sdk_target = _targets(url)
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    curl = (
        f"curl -N {curl_target}/v1/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {secret}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(body))}"
    )
    return f"""Parshall serves on {url}

  key     {secret}
  models  {", ".join(models)}
  money   the account '{ACCOUNT}' got 10 US dollars, once; the ledger is {database}

Try it:

{curl}

Or with OpenAI's SDK (pip install openai):

{sdk_import}

client = OpenAI({sdk_target}, api_key="{secret}")
stream = client.chat.completions.create(
    model="{MODEL}", stream=True, messages=[{{"role": "user", "content": "Hello"}}]
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


def _targets(url: str) -> tuple[str, str, str]:
    """How curl and OpenAI's SDK reach a URL, which may be of a Unix socket."""
    if not url.startswith("unix:"):
        return url, "from openai import OpenAI", f'base_url="{url}/v1"'
    path = url.removeprefix("unix:")
    transport = f"transport = httpx.HTTPTransport(uds={json.dumps(path)})"
    return (
        f"--unix-socket {shlex.quote(path)} http://localhost",
        f"import httpx\nfrom openai import OpenAI\n\n{transport}",
        'base_url="http://localhost/v1", http_client=httpx.Client(transport=transport)',
    )


def client_url(addresses: tuple[str, ...]) -> str:
    """The URL that a client on this machine uses; a wildcard address becomes loopback.

    Where there are Unix sockets only, the first of them, as `unix:/path`.
    """
    for address in addresses:
        if not address.startswith("unix:"):
            host, _, port = address.rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
            return f"http://{host}:{port}"
    return addresses[0]
