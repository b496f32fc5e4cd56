"""Batches by OpenAI's SDK and over real sockets: two accounts, and what each is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import trio
from openai.types import Batch

from tests.batched import file_of, told
from tests.gateways import DOLLAR, settled
from tests.passed import Kept, open_kept

PRICED = """
[[prices]]
model = "kept"
service_tier = "batch"
input = 0.5
output = 1
[jobs]
poll_min_s = 0.01
poll_max_s = 0.04
"""


async def begin(client: openai.AsyncOpenAI, *directives: str) -> Batch:
    """A batch of requests that the simulated provider answers so."""
    lines = [told(number, each, model="kept") for number, each in enumerate(directives)]
    file = await client.files.create(file=("in.jsonl", file_of(*lines)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )


async def ended(client: openai.AsyncOpenAI, batch: Batch) -> Batch:
    """The batch once its client is told that it has ended."""
    with trio.fail_after(20):
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            batch = await client.batches.retrieve(batch.id)
    return batch


async def lines_of(client: openai.AsyncOpenAI, file_id: str | None) -> list[Any]:
    assert file_id is not None
    content = await client.files.content(file_id)
    return [orjson.loads(line) for line in content.text.splitlines()]


async def spent(kept: Kept) -> int:
    return DOLLAR - await kept.served.setup.balance()


async def test_a_batch_from_its_file_to_its_answers(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICED) as kept:
        batch = await begin(kept.ours, "tokens=3", "tokens=4", "status=500")
        assert batch.status == "validating"

        done = await ended(kept.ours, batch)

        assert (done.status, done.input_file_id) == ("completed", batch.input_file_id)
        assert done.request_counts is not None
        assert (done.request_counts.completed, done.request_counts.failed) == (2, 1)
        good = await lines_of(kept.ours, done.output_file_id)
        assert {line["custom_id"] for line in good} == {"id-0", "id-1"}
        assert {line["response"]["body"]["model"] for line in good} == {"kept"}
        (bad,) = await lines_of(kept.ours, done.error_file_id)
        assert bad["custom_id"] == "id-2"
        assert done.output_file_id is not None
        file = await kept.ours.files.retrieve(done.output_file_id)
        assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
        used = [line["response"]["body"]["usage"] for line in good]
        charged = sum(500 * u["prompt_tokens"] + 1_000 * u["completion_tokens"] for u in used)
        assert await spent(kept) == charged
        assert [each.id for each in (await kept.ours.batches.list()).data] == [batch.id]
        there = kept.served.setup.sim.kept.any("batch", batch.id)
        assert there is not None
        assert there.value["input_file_id"] != batch.input_file_id, "the provider's own"


async def test_a_cancelled_batch_costs_what_was_done(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICED) as kept:
        kept.served.setup.sim.behave("batches.create", "job=never progress=50")
        batch = await begin(kept.ours, "tokens=3", "tokens=3")
        cancelling = await kept.ours.batches.cancel(batch.id)
        assert (cancelling.status, cancelling.input_file_id) == ("cancelling", batch.input_file_id)

        done = await ended(kept.ours, cancelling)

        assert done.status == "cancelled"
        (one,) = await lines_of(kept.ours, done.output_file_id)
        used = one["response"]["body"]["usage"]
        assert await spent(kept) == 500 * used["prompt_tokens"] + 3_000


async def test_nobody_elses_batch_is_there_and_no_file_of_it(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICED) as kept:
        batch = await begin(kept.ours, "tokens=3")
        done = await ended(kept.ours, batch)
        assert done.output_file_id is not None

        for refused in (
            kept.theirs.batches.retrieve(batch.id),
            kept.theirs.batches.cancel(batch.id),
            kept.theirs.files.content(done.output_file_id),
            kept.theirs.batches.create(
                input_file_id=batch.input_file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
            ),
        ):
            with pytest.raises(openai.NotFoundError):
                await refused
        assert (await kept.theirs.batches.list()).data == []


async def test_an_input_file_that_is_not_there_or_names_no_model(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICED) as kept:
        file = file_of(told(0, "tokens=3", model="no-such"))
        unserved = await kept.ours.files.create(file=("in.jsonl", file), purpose="batch")
        for file_id, words in {
            unserved.id: "'no-such' does not exist or you do not have access to it. The lines of",
            f"file-{'a' * 26}": f"no file 'file-{'a' * 26}'",
        }.items():
            with pytest.raises(openai.NotFoundError, match=words) as refused:
                await kept.ours.batches.create(
                    input_file_id=file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                )
            assert refused.value.param == "input_file_id"


async def test_what_is_not_switched_on_is_not_there(tmp_path: Path) -> None:
    more = PRICED + '[state]\nfamilies = ["conversations"]\n'
    async with open_kept(tmp_path, more) as kept:
        with pytest.raises(openai.NotFoundError):
            await begin(kept.ours, "tokens=3")
        await settled(lambda: kept.served.setup.gateway.open_exchanges == 0)
