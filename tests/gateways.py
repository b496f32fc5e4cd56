"""A gateway in front of a simulated provider, and the invariants that hold after every test."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trio
from sqlite_utils import Database

from bench.simulate import Simulator, SimulatorSettings, TruthRecord, open_simulator
from engine import Call, Config, Exchange, Gateway, open_gateway, parse_config
from engine.admission.keys import digest, new_secret, shown_prefix
from engine.clock import Clock, wall_ms
from engine.errors import GatewayError
from engine.events import Protocol
from engine.ledger.migrations import migrate
from engine.ledger.receipts import Receipt
from engine.ledger.records import TermsRow
from engine.ledger.sqlite import connect
from tests.recordings import RECORDINGS

DOLLAR = 1_000_000_000
INPUT_NANODOLLARS = 1_000  # a token: 1 dollar a million
OUTPUT_NANODOLLARS = 2_000

PROTOCOLS: tuple[Protocol, ...] = ("openai_chat", "openai_responses", "anthropic", "gemini")
MODELS: dict[str, str] = {
    "openai_chat": "sim-openai",
    "openai_responses": "sim-responses",
    "anthropic": "sim-anthropic",
    "gemini": "sim-gemini",
}
"""The model that the simulated provider of each protocol serves."""
PAIRS = [(client, provider) for client in PROTOCOLS for provider in PROTOCOLS]

CONFIG_FILE = "test.toml"
HTTP2 = "prior-knowledge"
"""How the simulated provider is spoken to; the fixture `each_protocol` changes it."""

ONCE = "attempts_max = 1\nbreaker = { failures = 0 }"
"""Of `[routing]`: whatever fails has failed."""
AGAIN = "breaker = { failures = 0 }"
"""Of `[routing]`: as by default, but that no provider is left alone however often it fails."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A running gateway with one funded account."""

    gateway: Gateway
    sim: Simulator
    account_id: str
    key: str

    def call(self, directives: str = "", **changes: Any) -> Call:
        """A streamed chat call whose last message begins with `#sim` directives."""
        return Call(body=chat_body(directives, **changes), key=self.key)

    def call_of(
        self, client: Protocol, provider: str, directives: str = "", *, stream: bool = True
    ) -> Call:
        """A call in a client's protocol for the provider of another, or of the same."""
        prompt = f"#sim {directives}\nTell me more."
        model = MODELS[provider]
        messages = [{"role": "user", "content": prompt}]
        document: dict[str, Any]
        match client:
            case "openai_chat":
                options = {"stream_options": {"include_usage": True}} if stream else {}
                document = {"model": model, "stream": stream, "messages": messages, **options}
            case "openai_responses":
                document = {"model": model, "stream": stream, "input": prompt}
            case "anthropic":
                document = {
                    "model": model,
                    "stream": stream,
                    "messages": messages,
                    "max_tokens": 4_096,
                }
            case "gemini":
                document = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
        return Call(
            body=orjson.dumps(document),
            key=self.key,
            protocol=client,
            model=model if client == "gemini" else None,
            stream=stream if client == "gemini" else None,
        )

    def truth(self, exchange: Exchange) -> TruthRecord:
        """What the provider knows of an exchange."""
        record = self.sim.truth.record(exchange.receipt.request_id)
        assert record is not None
        return record

    async def balance(self) -> int:
        """Nanodollars on the account."""
        return (await self.gateway.ledger.account(self.account_id)).balance_nanodollars


def chat_body(directives: str = "", **changes: Any) -> bytes:
    """The body of a chat request."""
    document = {
        "model": "sim-openai",
        "stream": True,
        "messages": [{"role": "user", "content": f"#sim {directives}\nTell me more."}],
    }
    return orjson.dumps(document | changes)


def config_text(
    database: Path,
    base_url: str,
    *,
    http2: str | None = None,
    provider: str = "",
    server: str = "",
    storage: str = "",
    billing: str = "",
    routing: str = ONCE,
    models: str = "",
) -> str:
    """The configuration of a gateway for one simulated provider; extra lines by section.

    `models` stands at the end, with the provider's URL for `$SIM`. The provider fails on purpose,
    again and again: unless `routing` says so, nothing is asked twice, and nobody left alone.
    """
    if "lag_max_s" not in server:  # machines that test are overloaded, and nothing is amiss
        server += "\nlag_max_s = 60"
    shared, _, _ = provider.partition("[")  # what follows another table's header is said once
    return f"""
[server]
{server}
[storage]
url = "sqlite:{database}"
{storage}
[billing]
{billing}
[routing]
{routing}
[providers.sim]
protocol = "openai"
base_url = "{base_url}/v1"
http2 = "{http2 or HTTP2}"
{provider}
[providers.sim-responses]
protocol = "openai-responses"
base_url = "{base_url}/v1"
http2 = "{http2 or HTTP2}"
{shared}
[providers.sim-anthropic]
protocol = "anthropic"
base_url = "{base_url}/v1"
http2 = "{http2 or HTTP2}"
{shared}
[providers.sim-gemini]
protocol = "gemini"
base_url = "{base_url}/v1beta"
http2 = "{http2 or HTTP2}"
{shared}
[models.sim-openai]
deployments = [{{ provider = "sim", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
[models.sim-responses]
deployments = [{{ provider = "sim-responses", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
[models.sim-anthropic]
deployments = [{{ provider = "sim-anthropic", model = "sim-anthropic" }}]
price = {{ input = 1, output = 2 }}
[models.sim-gemini]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
price = {{ input = 1, output = 2 }}
{models.replace("$SIM", base_url)}
"""


@functools.cache
def _empty_ledger() -> bytes:
    """A database with the tables and nothing in them, as the first start makes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with closing(connect(path, 1.0)) as connection:
            migrate(Database(connection, execute_plugins=False))
        return path.read_bytes()


def place_empty_ledger(path: Path) -> None:
    """Spare a gateway the making of the tables: half of the CPU seconds of its start."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_empty_ledger())


@asynccontextmanager
async def open_setup(
    folder: Path,
    *,
    funds_nanodollars: int = DOLLAR,
    base_url: str | None = None,
    clock: Clock = wall_ms,
    admin_key: str | None = None,
    **sections: str,
) -> AsyncIterator[Setup]:
    """A gateway and its provider; on leaving, the invariants are checked. With an `admin_key`
    operators can use its API; `CONFIG_FILE` in the folder is what a reload reads."""
    environ = {} if admin_key is None else {"PARSHALL_ADMIN_KEY": admin_key}
    async with open_simulator(SimulatorSettings(recordings=RECORDINGS)) as sim:
        text = config_text(folder / "ledger.db", base_url or sim.base_url, **sections)
        file = folder / CONFIG_FILE
        file.write_text(text)

        def read() -> Config:
            return parse_config(file.read_text(), CONFIG_FILE, environ)

        place_empty_ledger(folder / "ledger.db")
        async with open_gateway(read(), clock=clock, read=read) as gateway:
            account = await gateway.ledger.create_account("test")
            if funds_nanodollars:
                await gateway.ledger.fund(account.account_id, funds_nanodollars, "first")
            _, secret = await gateway.create_key(account.account_id, "test")
            yield Setup(gateway, sim, account.account_id, secret)
            await assert_invariants(gateway)


async def add_key(
    gateway: Gateway, account_id: str, name: str = "another", **terms: Any
) -> tuple[str, str]:
    """The id and the secret of a further key; `terms` are fields of `TermsRow`."""
    secret = new_secret()
    row = await gateway.ledger.create_key(
        account_id, name, digest(secret), shown_prefix(secret), TermsRow(name, **terms)
    )
    return row.key_id, secret


async def assert_invariants(gateway: Gateway) -> None:
    """What must hold whenever all is quiet."""
    assert gateway.open_exchanges == 0
    statistics = gateway.ledger.statistics()
    assert (statistics.open_holds, statistics.held_nanodollars) == (0, 0)
    # Beside sessions that clients left only results of jobs are on their way: those come to an end.
    await settled(lambda: gateway.files.quota.open_uploads <= len(gateway.uploads))
    findings = await gateway.ledger.audit() + await gateway.running.audit_files()
    broken = [finding for finding in findings if not finding.ok]
    assert broken == [], broken


def charge(input_tokens: int, output_tokens: int) -> int:
    """What a usage costs at the test's prices."""
    return input_tokens * INPUT_NANODOLLARS + output_tokens * OUTPUT_NANODOLLARS


async def drain(exchange: Exchange) -> bytes:
    """Everything an exchange has for its client."""
    return b"".join([chunk async for chunk in exchange])


async def run(setup: Setup, call: Call) -> tuple[bytes, Receipt, GatewayError | None]:
    """One call to its end: what the client got, the receipt, the error instead of a head."""
    body, error = b"", None
    async with setup.gateway.open_exchange(call) as exchange:
        try:
            body = await drain(exchange)
        except GatewayError as caught:
            error = caught
    return body, exchange.receipt, error


def events(body: bytes) -> list[dict[str, Any]]:
    """The JSON events of a stream, without `[DONE]`."""
    return [
        orjson.loads(block.removeprefix(b"data: "))
        for block in body.split(b"\n\n")
        if block.startswith(b"data: {")
    ]


def content(body: bytes) -> str:
    """The text of choice 0."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in events(body)
        for choice in event.get("choices", [])
        if choice["index"] == 0
    )


async def settled(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait until what another party does has happened."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - the other party has no event to wait for
            await trio.sleep(0.002)
