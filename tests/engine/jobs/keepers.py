"""A gateway whose jobs a provider has made, which keeps the results; and a place elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine import Gateway, open_gateway, parse_config
from engine.admission.keys import Principal
from engine.clock import Clock, wall_ms
from engine.job import JobReport, JobResult
from engine.ledger.records import Ticket
from tests.ended_jobs import ask_job
from tests.gateways import DOLLAR
from tests.webserver import WebServer, open_webserver

KEYS = ("sk-provider-1", "sk-provider-2")
CREDENTIAL = sha256(KEYS[1].encode()).hexdigest()[:16]
"""Of the second one: the jobs were asked for with it."""
FILM = bytes(range(256)) * 400


@dataclass(slots=True)
class Making:
    """What tests of results start from.

    Attributes:
        maker: the provider; its base URL ends in `/v1`.
        elsewhere: another server, that no provider is at.
    """

    gateway: Gateway
    account_id: str
    maker: WebServer
    elsewhere: WebServer
    jobs: int = 0

    @property
    def principal(self) -> Principal:
        return Principal(self.account_id, "key_1")

    async def made(self, *results: JobResult, **changes: Any) -> str:
        """A job that has made these, durably; its id."""
        self.jobs += 1
        ledger, book = self.gateway.ledger, self.gateway._parts.jobs
        job, hold, receipt, acceptance = ask_job(
            ledger, self.account_id, self.jobs, provider="maker", credential=CREDENTIAL, **changes
        )
        report = JobReport("succeeded", results=results)
        await ledger.wait_durable(book.hand_over(job, hold, acceptance, receipt, report))
        await ledger.wait_durable(Ticket(ledger._journal.last_ticket))
        return job.job_id

    async def read(self, job_id: str, variant: str | None = None, number: int = 0) -> bytes:
        """All of one of its results."""
        opened = self.gateway.open_job_result(self.principal, job_id, variant, number)
        async with opened as result:
            parts = []
            while (piece := await result.receive()) is not None:
                parts.append(piece)
            data = b"".join(parts)
            assert result.size_bytes in (None, len(data))
        return data


def config_text(folder: Path, maker: WebServer, elsewhere: WebServer, more: str = "") -> str:
    """Both servers are of this machine, and may be fetched from."""
    egress = f"""
[egress]
http = true
ports = [{maker.port}, {elsewhere.port}]
private = ["127.0.0.0/8"]
"""
    return f"""
[storage]
url = "sqlite:{folder / "ledger.db"}"
{egress if "[egress]" not in more else ""}
[providers.maker]
protocol = "openai"
base_url = "http://127.0.0.1:{maker.port}/v1"
api_keys = ["env:ONE", "env:TWO"]
{more}
"""


@asynccontextmanager
async def open_making(
    folder: Path,
    maker: WebServer,
    elsewhere: WebServer,
    more: str = "",
    clock: Clock = wall_ms,
) -> AsyncIterator[Making]:
    """The gateway, with one account, for the block."""
    environ = dict(zip(("ONE", "TWO"), KEYS, strict=True))
    text = config_text(folder, maker, elsewhere, more)
    async with open_gateway(parse_config(text, "making.toml", environ), clock=clock) as gateway:
        ledger = gateway.ledger
        known = await ledger.accounts()
        if not known:
            account = await ledger.create_account("test")
            known = [await ledger.fund(account.account_id, DOLLAR, "first")]
        yield Making(gateway, known[0].account_id, maker, elsewhere)


@asynccontextmanager
async def open_both(**answers: dict[str, Any]) -> AsyncIterator[tuple[WebServer, WebServer]]:
    """The provider and the place elsewhere."""
    async with (
        open_webserver(answers.get("maker", {})) as maker,
        open_webserver(answers.get("elsewhere", {})) as elsewhere,
    ):
        yield maker, elsewhere
