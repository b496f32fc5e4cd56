"""Gateways in front of a simulated OpenAI that answers in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import Call, Exchange, open_gateway, parse_config
from engine.clock import Clock, wall_ms
from engine.job import job_id_of
from engine.ledger.audit import audit_database
from tests.engine.jobs.makers import Studio
from tests.engine.ledger.samples import raw_database
from tests.gateways import HTTP2, config_text, events, open_setup, place_empty_ledger

KEEPER = f"""
[jobs]
poll_min_s = 0.01
poll_max_s = 0.04
poll_timeout_s = 0.5
[providers.keeper]
protocol = "openai-responses"
state = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.thinker]
deployments = [{{ provider = "keeper", model = "sim-openai", cost = {{ input = 1, output = 1 }} }}]
price = {{ input = 1, output = 2 }}
"""


class Keeper(Studio):
    """A gateway whose provider keeps what it answers."""

    def later(self, directives: str = "", *, stream: bool = False, **changes: Any) -> Call:
        """A call that is to be answered in the background."""
        document = {
            "model": "thinker",
            "input": f"#sim {directives}\nTell me more.",
            "background": True,
            "stream": stream,
            "max_output_tokens": 200,
        }
        return Call(
            body=orjson.dumps({**document, **changes.pop("document", {})}),
            key=self.key,
            protocol="openai_responses",
            **changes,
        )

    def job_of(self, exchange: Exchange) -> str:
        """The id of what an exchange has asked for."""
        return job_id_of(exchange.receipt.request_id)

    async def settled(self, exchange: Exchange) -> dict[str, Any]:
        """The receipt of an exchange once its job has closed, durably."""
        with trio.fail_after(20):
            while True:
                receipt = await self.gateway.receipt(self.who, exchange.receipt.request_id)
                if receipt["state"] == "settled":
                    await self.book.wait_durable()
                    return receipt
                await trio.sleep(0.005)

    def reported(self, exchange: Exchange) -> int:
        """What the provider's own figures come to, in nanodollars."""
        record = self.sim.truth.record(exchange.receipt.request_id)
        assert record is not None
        assert record.usage_reported is not None
        usage = record.usage_reported
        return int(usage["input_tokens"] * 1_000 + usage["output_tokens"] * 2_000)


@asynccontextmanager
async def open_keeper(
    folder: Path, more: str = "", poll_s: float = 0.01, **options: Any
) -> AsyncIterator[Keeper]:
    """A gateway and its provider; on leaving, the invariants are checked: no job may be open."""
    models = KEEPER.replace("min_s = 0.01", f"min_s = {poll_s}")
    models = models.replace("max_s = 0.04", f"max_s = {4 * poll_s}")
    async with open_setup(
        folder, models=models + more, **{"funds_nanodollars": 10_000_000_000, **options}
    ) as setup:
        yield Keeper(setup.gateway, setup.sim, setup.account_id, setup.key)


@dataclass
class Home:
    """A simulated provider that stays, and the place of a gateway that comes and goes."""

    folder: Path
    sim: Simulator
    account_id: str = ""
    key: str = ""

    def text(self, models: str = KEEPER) -> str:
        """The configuration."""
        return config_text(self.folder / "ledger.db", self.sim.base_url, models=models)

    @asynccontextmanager
    async def open(self, clock: Clock = wall_ms) -> AsyncIterator[Keeper]:
        """A gateway of this place."""
        async with open_gateway(parse_config(self.text(), "test.toml", {}), clock=clock) as gateway:
            if not self.key:
                account = await gateway.ledger.create_account("test")
                await gateway.ledger.fund(account.account_id, 10**12, "first")
                self.account_id = account.account_id
                _, self.key = await gateway.create_key(account.account_id, "test")
            yield Keeper(gateway, self.sim, self.account_id, self.key)

    def check(self) -> None:
        """The invariants, of a database that nobody has open."""
        broken = [each for each in audit_database(self.folder / "ledger.db") if not each.ok]
        assert broken == [], broken

    def charges(self) -> list[int]:
        """What was charged, in nanodollars, one for each request that was."""
        with raw_database(self.folder / "ledger.db") as connection:
            rows = connection.execute("SELECT amount FROM hold_records WHERE kind = 'posted'")
            return [amount for (amount,) in rows]


@asynccontextmanager
async def open_home(folder: Path) -> AsyncIterator[Home]:
    """For the block; at its end nothing may be open, and the invariants hold."""
    place_empty_ledger(folder / "ledger.db")
    async with open_simulator(SimulatorSettings()) as sim:
        home = Home(folder, sim)
        yield home
        home.check()
        with raw_database(folder / "ledger.db") as connection:
            assert connection.execute("SELECT * FROM open_jobs").fetchall() == []


async def first_of(exchange: Exchange) -> bytes:
    """The first bytes that a client gets."""
    with trio.fail_after(10):
        return await anext(aiter(exchange))


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The data of the events, which have names here."""
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [event for line in lines for event in events(line)]
