"""A gateway in front of several simulated providers, each of which fails by itself.

`#sim` of a prompt reaches every provider that is tried, so faults are set where they are to strike:
`fleet.sims[0].behave(None, "status=500")`. Each provider has its own port, so that a cut
connection is of one alone. Beside them stand a port that refuses (`dead`) and one whose
certificate is of an unknown authority (`foreign`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
import trustme

from bench.simulate import Simulator, SimulatorSettings, TruthRecord, open_simulator
from engine import Call, Config, open_gateway, parse_config
from engine.clock import Clock, wall_ms
from engine.events import Protocol
from frontends.app import create_app
from frontends.server import ServerSettings, open_server
from tests import gateways
from tests.gateways import CONFIG_FILE, DOLLAR, Setup, assert_invariants
from tests.served import Served

Deployment = str | Mapping[str, Any]
"""`PROVIDER`, `PROVIDER/MODEL`, or a table with `provider` and more."""

SUFFIXES: Final[Mapping[Protocol, str]] = {
    "openai_chat": "",
    "openai_responses": "-responses",
    "anthropic": "-anthropic",
    "gemini": "-gemini",
}
"""Simulator 0 is the provider `sim0` in OpenAI's protocol, `sim0-gemini` in Gemini's and so on."""
_KINDS: Final = {
    "": ("openai", "v1", "sim-openai"),
    "-responses": ("openai-responses", "v1", "sim-openai"),
    "-anthropic": ("anthropic", "v1", "sim-anthropic"),
    "-gemini": ("gemini", "v1beta", "sim-gemini"),
}
PRICE: Final = {"input": 1, "output": 2}
"""Dollars a million tokens: what `tests.gateways.charge` computes with."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running gateway with one funded account, and its providers."""

    setup: Setup
    sims: tuple[Simulator, ...]
    file: Path
    """Of the configuration: what a reload reads."""

    def call(
        self,
        model: str,
        directives: str = "",
        *,
        client: Protocol = "openai_chat",
        stream: bool = True,
        **changes: Any,
    ) -> Call:
        """A call of a model in a client's protocol; `changes` go into the body."""
        body = orjson.loads(self.setup.call_of(client, client, directives, stream=stream).body)
        if client == "gemini":
            return Call(
                body=orjson.dumps(body | changes),
                key=self.setup.key,
                protocol=client,
                model=model,
                stream=stream,
            )
        document = body | {"model": model} | changes
        return Call(body=orjson.dumps(document), key=self.setup.key, protocol=client)

    def records(self) -> list[list[TruthRecord]]:
        """What each provider knows of the requests that reached it."""
        return [sim.truth.records() for sim in self.sims]

    def opened(self) -> list[int]:
        """How many requests for answers reached each provider."""
        return [sim.truth.opened for sim in self.sims]


def model(name: str, *deployments: Deployment, **settings: Any) -> str:
    """The table of a model: its deployments in order, and settings of the configuration.

    `model("pair", "sim0", {"provider": "sim1", "weight": 3}, hedge=True)`; a setting that is
    None is left out.
    """
    rows = [_deployment(deployment) for deployment in deployments]
    values = {"deployments": rows, "price": PRICE} | settings
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[models.{_toml(name)}]", *lines, ""])


def _deployment(given: Deployment) -> dict[str, Any]:
    if not isinstance(given, str):
        table = dict(given)
        return {"model": _served_by(table["provider"])} | table
    provider, _, upstream_model = given.partition("/")
    return {"provider": provider, "model": upstream_model or _served_by(provider)}


def _served_by(provider: str) -> str:
    """The model that a provider's protocol has in the simulator."""
    suffix = next((s for s in _KINDS if s and provider.endswith(s)), "")
    return _KINDS[suffix][2]


def _toml(value: object) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return orjson.dumps(value).decode()  # of text, numbers and truth values the same


def fleet_text(
    database: Path,
    origins: Mapping[str, str],
    *,
    models: str,
    server: str = "",
    billing: str = "",
    routing: str = "",
    provider: str = "",
) -> str:
    """The configuration of a gateway for simulators; `provider` goes into the table of each."""
    if "lag_max_s" not in server:  # machines that test are overloaded, and nothing is amiss
        server += "\nlag_max_s = 60"
    tables = []
    for name, origin in origins.items():
        http2 = "alpn" if origin.startswith("https") else gateways.HTTP2
        for suffix, (protocol, version, _) in _KINDS.items():
            tables.append(
                f'[providers.{name}{suffix}]\nprotocol = "{protocol}"\n'
                f'base_url = "{origin}/{version}"\nhttp2 = "{http2}"\n{provider}\n'
            )
    return "\n".join(
        [
            f"[server]\n{server}",
            f'[storage]\nurl = "sqlite:{database}"',
            f"[billing]\n{billing}",
            *([f"[routing]\n{routing}"] if routing else []),
            *tables,
            models,
        ]
    )


@contextmanager
def refused_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def foreign_tls() -> ssl.SSLContext:
    """A server's certificate of an authority that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@asynccontextmanager
async def open_fleet(
    folder: Path,
    count: int,
    *,
    models: str,
    funds_nanodollars: int = DOLLAR,
    clock: Clock = wall_ms,
    admin_key: str | None = None,
    settings: SimulatorSettings | None = None,
    **sections: str,
) -> AsyncIterator[Fleet]:
    """A gateway before so many simulators; on leaving, the invariants are checked.

    `models` is what `model` makes, a table after another; `sections` are those of `fleet_text`.
    The same question has another answer at each.
    """
    environ = {} if admin_key is None else {"PARSHALL_ADMIN_KEY": admin_key}
    base = settings or SimulatorSettings(any_model=True)
    async with AsyncExitStack() as stack:
        sims = [
            await stack.enter_async_context(
                open_simulator(replace(base, seed=f"{base.seed}{number}"))
            )
            for number in range(count)
        ]
        origins = {f"sim{number}": sim.base_url for number, sim in enumerate(sims)}
        if '"dead' in models:
            port = stack.enter_context(refused_port())
            origins["dead"] = f"http://127.0.0.1:{port}"
        if '"foreign' in models:
            foreign = SimulatorSettings(any_model=True, tls=foreign_tls())
            sim = await stack.enter_async_context(open_simulator(foreign))
            origins["foreign"] = sim.base_url
        file = folder / CONFIG_FILE
        file.write_text(fleet_text(folder / "ledger.db", origins, models=models, **sections))

        def read() -> Config:
            return parse_config(file.read_text(), CONFIG_FILE, environ)

        gateways.place_empty_ledger(folder / "ledger.db")
        gateway = await stack.enter_async_context(open_gateway(read(), clock=clock, read=read))
        account = await gateway.ledger.create_account("test")
        if funds_nanodollars:
            await gateway.ledger.fund(account.account_id, funds_nanodollars, "first")
        _, secret = await gateway.create_key(account.account_id, "test")
        yield Fleet(Setup(gateway, sims[0], account.account_id, secret), tuple(sims), file)
        await assert_invariants(gateway)


@asynccontextmanager
async def open_front(fleet: Fleet, settings: ServerSettings | None = None) -> AsyncIterator[Served]:
    """Serve the fleet's gateway over HTTP."""
    app = create_app(fleet.setup.gateway)
    async with open_server(app, ["127.0.0.1:0"], settings) as server:
        yield Served(fleet.setup, int(server.addresses[0].rpartition(":")[2]))
