"""Fine-tuning jobs outlive their gateway: stopped while they run, and while they are asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import trio

from engine import Call
from engine.file_ids import shown_file_id
from engine.ledger.receipts import Receipt
from tests.engine.jobs.makers import Site, open_site
from tests.engine.ledger.samples import wait_until
from tests.gateways import HTTP2, Setup, config_text, run, settled

CONFIG = f"""
[providers.keeper]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
api_key = "file:$KEY"
files = "openai"
state = "openai"
[models.trained]
deployments = [{{ provider = "keeper", model = "sim-openai" }}]
price = {{ input = 1, output = 2, trained_tokens = 8 }}
[jobs]
poll_min_s = 0.01
poll_max_s = 0.04
"""
TOKEN = 8_000  # nanodollars


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Site]:
    """A provider that stays, for gateways that come and go."""
    (folder / "key").write_text("key-1")
    async with open_site(folder) as site:
        models = CONFIG.replace("$KEY", str(folder / "key"))
        site.config = config_text(folder / "ledger.db", site.sim.base_url, models=models)
        yield site


async def training(setup: Setup) -> Call:
    """A call that asks for a job, on a file of its account's."""
    async with setup.gateway.files.open_upload(setup.account_id, 10**9) as upload:
        await upload.append(b'{"messages": []}\n' * 30)
        row = await upload.finish(
            filename="train.jsonl", purpose="fine-tune", mime_type="application/jsonl"
        )
    document = {"model": "trained", "training_file": shown_file_id(row.file_id, "openai")}
    return Call(
        body=orjson.dumps(document), key=setup.key, protocol="openai", operation="fine_tune"
    )


def kept_job(site: Site) -> Any:
    (found,) = [each for each in site.sim.kept if each.kind == "fine_tuning_job"]
    return found


async def ended(setup: Setup, request_id: str) -> Receipt:
    """The receipt of the job once that has closed."""
    await settled(lambda: not setup.gateway.ledger.open_jobs_of(setup.account_id))
    await setup.gateway._parts.jobs.wait_durable()
    found = await setup.gateway.ledger.read_receipt(setup.account_id, request_id)
    assert found is not None
    return Receipt.from_json(found)


async def test_a_job_goes_on_under_the_next_gateway(tmp_path: Path) -> None:
    async with open_place(tmp_path) as site:
        site.sim.behave("fine_tuning.create", "job=never")
        async with site.open() as setup:
            _, receipt, error = await run(setup, await training(setup))
            assert error is None
        site.check()
        object.__setattr__(kept_job(site).more[0].directives, "job", "succeeded")
        async with site.open() as setup:
            found = await ended(setup, receipt.request_id)
        trained = kept_job(site).value["trained_tokens"]
        assert found.usage == {"trained_tokens": trained}
        assert found.price_nanodollars == trained * TOKEN > 0
        assert site.charges() == [trained * TOKEN]


async def ask_and_stop(site: Site) -> None:
    """A gateway stops while the provider is about to say that it has taken a job."""
    async with site.open() as setup, trio.open_nursery() as nursery:
        call = await training(setup)
        site.sim.behave("fine_tuning.create", "head_ms=20000")

        async def ask_for_it() -> None:
            _, _, error = await run(setup, call)
            assert error is not None

        nursery.start_soon(ask_for_it)
        await wait_until(lambda: len(site.sim.kept) > 0)
        await setup.gateway.end_all()
        site.sim.behave("fine_tuning.create")
    site.check()


async def test_a_job_whose_answer_was_lost_is_found_by_its_file(tmp_path: Path) -> None:
    async with open_place(tmp_path) as site:
        await ask_and_stop(site)
        async with site.open() as setup:
            (job,) = setup.gateway._parts.jobs.open.values()
            found = await ended(setup, job.row.request_id)
        assert (found.outcome, found.flags) == ("completed", ("recovered",))
        trained = kept_job(site).value["trained_tokens"]
        assert site.charges() == [trained * TOKEN]


async def test_a_job_that_the_provider_never_got_costs_nothing(tmp_path: Path) -> None:
    async with open_place(tmp_path) as site:
        await ask_and_stop(site)
        site.sim.kept.drop(kept_job(site))
        async with site.open() as setup:
            (job,) = setup.gateway._parts.jobs.open.values()
            found = await ended(setup, job.row.request_id)
        assert found.error is not None
        assert found.error.code == "submit_lost"
        assert site.charges() == []
