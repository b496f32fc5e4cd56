"""What is served without a configuration: the simulated provider, and an account with some credit.

`OPENAI_API_KEY`, `ANTHROPIC_API_KEY` and `GEMINI_API_KEY` in the environment add their models.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.simulate import SimulatorSettings, open_simulator
from engine import Config, Gateway, parse_config
from engine.admission.keys import SCOPES
from engine.config_plans import SECRET_MIN_CHARS
from engine.errors import AuthenticationError, NotFoundError, PermissionDeniedError
from engine.ledger.records import ConflictError

ACCOUNT = "demo"
FUNDS_NANODOLLARS = 10 * 1_000_000_000
FUNDING_REFERENCE = "demo-credit"
_ADMIN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that a key in the environment adds."""

    name: str
    variable: str
    base_url: str
    models: tuple[str, ...]
    """Current models that the price library knows."""


PROVIDERS = (
    Provider(
        "openai",
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        (
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
            "text-embedding-3-small",
            "text-embedding-3-large",
            "gpt-image-1",
            "gpt-image-1-mini",
            "tts-1",
            "gpt-4o-mini-tts",
            "whisper-1",
            "gpt-4o-transcribe",
            "omni-moderation-latest",
        ),
    ),
    Provider(
        "anthropic",
        "ANTHROPIC_API_KEY",
        "https://api.anthropic.com/v1",
        (
            "claude-fable-5-2",
            "claude-opus-5-5",
            "claude-sonnet-5-5",
            "claude-haiku-5-5",
            "claude-opus-5",
            "claude-sonnet-5",
            "claude-opus-4-8",
            "claude-sonnet-4-6",
            "claude-haiku-4-5",
        ),
    ),
    Provider(
        "gemini",
        "GEMINI_API_KEY",
        "https://generativelanguage.googleapis.com/v1beta",
        (
            "gemini-4-argon",
            "gemini-3.8-flash",
            "gemini-3.5-flash",
            "gemini-3.5-flash-lite",
            "gemini-3.1-pro-preview",
            "gemini-3.1-flash-lite",
            "gemini-2.5-pro",
            "gemini-2.5-flash",
            "gemini-2.5-flash-lite",
            "gemini-embedding-001",
        ),
    ),
)
"""Their names are those of their protocols."""

SIMULATED = {"openai": "v1", "anthropic": "v1", "gemini": "v1beta"}
"""The simulated provider's protocols, and the version in the path of each."""

KEEPS = 'responses = true\nfiles = "openai"\nstate = "openai"\n'
"""Of the simulated provider of OpenAI's protocol: what only OpenAI has, it has too."""
BATCH_PRICE = """
[[prices]]
model = "sim-openai"
service_tier = "batch"
input = 0.5
output = 2.0
"""

SIMULATED_BESIDE_CHAT = (
    ("sim-embedding", "openai", "text-embedding-3-small", "price = { input = 0.02, output = 0 }"),
    (
        "sim-gemini-embedding",
        "gemini",
        "gemini-embedding-001",
        "price = { input = 0.15, output = 0 }",
    ),
    ("sim-image", "openai", "gpt-image-1", "price = { input = 5, output = 40 }"),
    ("sim-speech", "openai", "tts-1", "price = { characters = 15 }"),
    ("sim-transcript", "openai", "whisper-1", "price = { seconds = 0.0001 }"),
    ("sim-moderation", "openai", "omni-moderation-latest", "free = true"),
    ("sim-rerank", "openai", "rerank-v3.5", "price = { requests = 2 }"),
    ("sim-video", "openai", "sora-2", "price = { seconds = 0.1 }"),
)
"""Models that do something else: the name, the protocol, what the provider calls it, its price."""


@asynccontextmanager
async def open_demo(
    database: Path, bind: tuple[str, ...], environ: Mapping[str, str]
) -> AsyncIterator[Config]:
    """Start the simulated provider for the block; the configuration that uses it. Its operator has
    a credential of its own, which is made once."""
    async with open_simulator(SimulatorSettings()) as simulator:
        text = demo_config(simulator.base_url, database, bind, environ)
        config = parse_config(text, "the demo's configuration", environ)
        if config.admin.secret is None:
            admin = replace(config.admin, secret=_admin_secret(admin_key_path(database)))
            config = replace(config, admin=admin)
        yield config


def demo_config(
    simulator_url: str, database: Path, bind: tuple[str, ...], environ: Mapping[str, str]
) -> str:
    """The demo's configuration, as TOML; of a key in the environment it holds the name only."""
    text = f"""
[server]
bind = {json.dumps(bind)}
lag_max_s = 60  # whoever tries it out shares the machine with it
[storage]
url = {json.dumps(f"sqlite:{database}")}
"""
    for protocol, version in SIMULATED.items():
        keeps, trained = (KEEPS, ", trained_tokens = 8.0") if protocol == "openai" else ("", "")
        text += f"""
[providers.sim-{protocol}]
protocol = "{protocol}"
base_url = "{simulator_url}/{version}"
http2 = "prior-knowledge"
{keeps}[models.sim-{protocol}]
deployments = [{{ provider = "sim-{protocol}", model = "sim-{protocol}" }}]
price = {{ input = 1.0, cached_input = 0.1, output = 4.0{trained} }}
"""
    text += '[providers.sim-openai.jobs.video]\nlike = "openai"\n' + BATCH_PRICE
    for name, protocol, model, price in SIMULATED_BESIDE_CHAT:
        text += f"""
[models.{name}]
deployments = [{{ provider = "sim-{protocol}", model = "{model}" }}]
{price}
"""
    for provider in PROVIDERS:
        if environ.get(provider.variable):
            text += _real_provider(provider)
    return text


def _real_provider(provider: Provider) -> str:
    lines = [
        f"[providers.{provider.name}]",
        f'protocol = "{provider.name}"',
        f'base_url = "{provider.base_url}"',
        f'api_key = "env:{provider.variable}"',
    ]
    for model in provider.models:
        lines += [
            f'[models."{model}"]',
            f'deployments = [{{ provider = "{provider.name}", model = "{model}" }}]',
        ]
    return "\n".join(lines) + "\n"


def admin_key_path(database: Path) -> Path:
    """Where the credential of the demo's operator is kept, as its key is."""
    return database.with_suffix(".demo-admin-key")


def _admin_secret(path: Path) -> str:
    secret = _read(path)
    if secret is None or len(secret) < SECRET_MIN_CHARS:
        secret = secrets.token_urlsafe(_ADMIN_BYTES)
        _write(path, secret)
    return secret


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
    if secret is None or not await _works(gateway, account.account_id, secret):
        _, secret = await gateway.create_key(account.account_id, ACCOUNT)
        _write(path, secret)
    entry = gateway.identify(secret, None).entry
    if entry.terms.scopes != set(SCOPES):  # it may do what the README shows, make keys too
        await ledger.set_key_terms(
            entry.principal.key_id, lambda terms: replace(terms, scopes=SCOPES)
        )
    return secret


async def _works(gateway: Gateway, account_id: str, secret: str) -> bool:
    """Whether this gateway takes the key; a database that is new is told of it first."""
    try:
        return gateway.authenticate(secret).account_id == account_id
    except (AuthenticationError, PermissionDeniedError):
        pass
    try:
        await gateway.adopt_key(account_id, ACCOUNT, secret)
    except ConflictError:  # it was revoked, or is switched off
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
