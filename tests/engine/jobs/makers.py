"""Gateways in front of simulated providers of films, and what happens to jobs there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine import Call, Config, open_gateway, parse_config
from engine.admission.keys import Principal
from engine.clock import Clock, wall_ms
from engine.jobs.book import JobBook
from engine.ledger.audit import audit_database
from engine.ledger.job_rows import JobView
from tests.engine.ledger.samples import raw_database, wait_until
from tests.gateways import HTTP2, Setup, config_text, open_setup, place_empty_ledger

MAKERS = f"""
[jobs]
poll_min_s = 0.01
poll_max_s = 0.04
poll_timeout_s = 0.5
open_per_account_max = 4
[providers.makers]
protocol = "openai"
base_url = "$SIM"
http2 = "{HTTP2}"
[providers.makers.jobs.video]
submit = "/jobs/v1/submit"
fields = {{ prompt = "task.text", model = "engine", seconds = "task.len_s", n = "task.takes" }}
constants = {{ "task.kind" = "video" }}
id = "ticket.no"
poll = "/jobs/v1/status/{{id}}"
state = "phase"
error_code = "trouble.reason"
error_message = ["trouble.text"]
progress = "done_percent"
results = ["output.takes.*.link"]
units = {{ seconds = "bill.seconds", clips = "bill.takes" }}
cancel = "POST /jobs/v1/cancel/{{id}}"
recover = "resubmit"
idempotency_header = "Idempotency-Key"
[providers.makers.jobs.video.states]
QUEUED = "submitted"
WORKING = "running"
FINISHED = "succeeded"
BROKEN = "failed"
REFUSED = "failed"
TOO_LATE = "failed"
STOPPED = "cancelled"
[providers.films]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[providers.films.jobs.video]
like = "openai"
[models.film]
deployments = [{{ provider = "makers", model = "sim-video", cost = {{ seconds = 0.04 }} }}]
price = {{ seconds = 0.1 }}
[models.reel]
deployments = [{{ provider = "films", model = "sora-2" }}]
price = {{ seconds = 0.1 }}
[models.both]
deployments = [
    {{ provider = "makers", model = "sim-video" }},
    {{ provider = "films", model = "sora-2", priority = 1 }},
]
price = {{ seconds = 0.1 }}
"""
"""Two providers of films: one can cancel, and finds a submit by its key; the other has a list."""

SECOND = 100_000_000
"""What one of a film costs, in nanodollars."""


KEYS = {"FIRST": "first", "SECOND": "second"}
"""The environment: what a provider is asked with."""


class Studio(Setup):
    """A gateway with makers of films."""

    @property
    def book(self) -> JobBook:
        """Its open jobs."""
        found: JobBook = self.gateway._parts.jobs
        return found

    @property
    def who(self) -> Principal:
        """Whose key it is."""
        return self.gateway.authenticate(self.key)

    def film(self, directives: str = "", *, model: str = "film", **changes: Any) -> Call:
        """A call for a film of four seconds."""
        document = {"model": model, "prompt": f"#sim {directives}\nA calico cat.", "seconds": 4}
        return Call(
            body=orjson.dumps({**document, **changes.pop("document", {})}),
            key=self.key,
            protocol="openai",
            operation="video",
            **changes,
        )

    async def ask(self, call: Call) -> dict[str, Any]:
        """Ask for a film; the answer, as the client reads it."""
        async with self.gateway.open_exchange(call) as exchange:
            body = b"".join([chunk async for chunk in exchange])
        answer: dict[str, Any] = orjson.loads(body)
        return answer

    async def made(self, job_id: str) -> JobView:
        """The job once it has closed, durably."""
        await self.closed(job_id)
        return await self.gateway.job(self.who, job_id)

    async def closed(self, job_id: str) -> None:
        """Wait until a job has closed, durably."""
        with trio.fail_after(20):
            await wait_until(lambda: job_id not in self.book.open)
            await self.book.wait_durable()

    async def receipt(self, job_id: str) -> dict[str, Any]:
        """Of the job's request."""
        return await self.gateway.receipt(self.who, job_id.replace("job_", "req_"))


@asynccontextmanager
async def open_studio(folder: Path, more: str = "", **options: Any) -> AsyncIterator[Studio]:
    """A gateway and its providers; on leaving, the invariants are checked: no job may be open."""
    async with open_setup(
        folder, models=MAKERS + more, funds_nanodollars=10_000_000_000, **options
    ) as setup:
        yield Studio(setup.gateway, setup.sim, setup.account_id, setup.key)


@dataclass
class Site:
    """A simulated provider that stays, and the place of a gateway that comes and goes."""

    folder: Path
    sim: Simulator
    account_id: str = ""
    key: str = ""
    config: str | None = None
    """In place of its own."""

    def text(self, **sections: str) -> str:
        """The configuration, `without` a line of `MAKERS`."""
        models = MAKERS.replace(sections.pop("without", "\0"), "")
        database, base_url = self.folder / "ledger.db", self.sim.base_url
        return config_text(database, base_url, models=models, **sections)

    @asynccontextmanager
    async def open(self, clock: Clock = wall_ms, **sections: str) -> AsyncIterator[Studio]:
        """A gateway of this place; `wanted.toml` is what a reload reads."""
        text = self.config or self.text(**sections)

        def read() -> Config:
            return parse_config((self.folder / "wanted.toml").read_text(), "wanted.toml", KEYS)

        config = parse_config(text, "test.toml", KEYS)
        async with open_gateway(config, clock=clock, read=read) as gateway:
            if not self.key:
                account = await gateway.ledger.create_account("test")
                await gateway.ledger.fund(account.account_id, 10**12, "first")
                self.account_id = account.account_id
                _, self.key = await gateway.create_key(account.account_id, "test")
            yield Studio(gateway, self.sim, self.account_id, self.key)

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
async def open_site(folder: Path) -> AsyncIterator[Site]:
    """For the block; at its end nothing may be open, and the invariants hold."""
    place_empty_ledger(folder / "ledger.db")
    async with open_simulator(SimulatorSettings()) as sim:
        site = Site(folder, sim)
        yield site
        site.check()
        with raw_database(folder / "ledger.db") as connection:
            assert connection.execute("SELECT * FROM open_jobs").fetchall() == []
