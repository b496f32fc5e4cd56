"""Batches outlive their gateway: stopped while they run, while they are asked for, while what they
have made is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import trio

from engine.file_ids import bare_file_id
from engine.owned import HeldRef
from tests.batched import (
    POLLED,
    ask,
    batch_call,
    charge,
    config_of,
    file_of,
    keep_input,
    seen,
    shown,
    stored_lines,
    told,
)
from tests.engine.jobs.makers import Site, open_site
from tests.engine.ledger.samples import wait_until
from tests.filed import Filed
from tests.gateways import config_text, run


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Site]:
    """A provider that stays, for gateways that come and go."""
    async with open_site(folder) as site:
        models = f"[files]\n{config_of(folder)}{POLLED}"
        site.config = config_text(folder / "ledger.db", site.sim.base_url, models=models)
        yield site


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[Filed]:
    async with site.open() as studio:
        yield Filed(studio)


def kept_batch(site: Site) -> Any:
    (found,) = [each for each in site.sim.kept if each.kind == "batch"]
    return found


async def test_a_batch_goes_on_under_the_next_gateway(tmp_path: Path) -> None:
    async with open_place(tmp_path) as site:
        site.sim.behave("batches.create", "job=never")
        async with opened(site) as filed:
            document, receipt = await ask(filed, [told(0, "tokens=3")])
        site.check()
        kept_batch(site).more.course.cancelled = False
        object.__setattr__(kept_batch(site).more.course.directives, "job", "succeeded")
        async with opened(site) as filed:
            ended = await seen(filed, receipt)
            assert ended.price_nanodollars == charge(ended)
            batch = await shown(filed, document["id"])
            assert batch["status"] == "completed"
            assert batch["input_file_id"] == document["input_file_id"]
            assert len(await stored_lines(filed, batch["output_file_id"])) == 1
        assert site.charges() == [charge(ended)]


async def ask_and_stop(site: Site) -> None:
    """A gateway stops while the provider is about to say that it has taken a batch."""
    async with opened(site) as filed, trio.open_nursery() as nursery:
        call = batch_call(filed, await keep_input(filed, file_of(told(0, "tokens=3"))))
        site.sim.behave("batches.create", "head_ms=20000")

        async def ask_for_it() -> None:
            _, _, error = await run(filed.setup, call)
            assert error is not None

        nursery.start_soon(ask_for_it)
        await wait_until(lambda: len(site.sim.kept) > 0)
        await filed.gateway.end_all()
        site.sim.behave("batches.create")
    site.check()


async def test_what_was_asked_for_when_the_gateway_stopped_is_found_by_its_file(
    tmp_path: Path,
) -> None:
    async with open_place(tmp_path) as site:
        await ask_and_stop(site)
        batch_id = kept_batch(site).object_id
        async with opened(site) as filed:
            (job,) = filed.gateway._parts.jobs.open.values()
            ended = await seen(filed, job.receipt)
            assert (ended.outcome, ended.flags) == ("completed", ("recovered",))
            owners, account_id = filed.gateway._parts.owners, filed.setup.account_id
            (row,) = await owners.find(account_id, [HeldRef(batch_id, "batch", "id")])
            assert row.provider == "keeper"
        assert site.charges() == [charge(ended)]


async def test_what_the_provider_never_got_costs_nothing(tmp_path: Path) -> None:
    async with open_place(tmp_path) as site:
        await ask_and_stop(site)
        site.sim.kept.drop(kept_batch(site))
        async with opened(site) as filed:
            (job,) = filed.gateway._parts.jobs.open.values()
            ended = await seen(filed, job.receipt)
            assert ended.error is not None
            assert ended.error.code == "submit_lost"
        assert site.charges() == []


def there(site: Site, line: dict[str, Any]) -> str:
    """A file of the provider's with one answer in it."""
    data = orjson.dumps(line) + b"\n"
    kept = site.sim.files.add(
        "openai", "key-1", data, filename="x.jsonl", mime_type="", purpose="batch_output"
    )
    return str(kept.file_id)


async def test_what_was_read_before_the_gateway_stopped_is_not_read_again(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    response = {"status_code": 200, "request_id": "r", "body": {"usage": usage}}
    good = {"custom_id": "id-0", "response": response, "error": None}
    bad = {"custom_id": "id-1", "response": None, "error": {"code": "batch_expired"}}
    async with open_place(tmp_path) as site:
        site.sim.behave("batches.create", "job=never")
        async with opened(site) as filed:
            document, receipt = await ask(filed, [told(0, "tokens=3"), told(1, "tokens=3")])
            batch, book = kept_batch(site), filed.gateway._parts.jobs
            output_id = there(site, good)
            batch.more.over = True
            batch.value |= {"status": "expired", "output_file_id": output_id}
            batch.value |= {"error_file_id": "file-gone1234567890"}
            before = book.polls
            await wait_until(lambda: book.polls > before + 3)
            (waiting,) = book.open.values()
            assert not waiting.view.ended, "the other file cannot be had"
            made = await filed.gateway.ledger.files_made(receipt.account_id, receipt.request_id)
            (output,) = made.values()
        assert site.sim.files.expire(output_id) == 1, "it could not be fetched again"
        batch.value["error_file_id"] = there(site, bad)
        async with opened(site) as filed:
            ended = await seen(filed, receipt)
            assert (ended.outcome, ended.usage["output_tokens"]) == ("deadline", 7)
            found = await shown(filed, document["id"])
            assert bare_file_id(found["output_file_id"]) == output
            assert await stored_lines(filed, found["error_file_id"]) == [bad]
        assert site.charges() == [charge(ended)]
