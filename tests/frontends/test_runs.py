"""Runs of assistants by OpenAI's SDK: billed once, by what the run says when it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import trio

from tests.passed import Kept, open_kept

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NOW: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
FAST = "[jobs]\npoll_min_s = 0.01\npoll_max_s = 0.04\n"


async def assistant(kept: Kept, **more: Any) -> str:
    """A new one of the account's."""
    return (await kept.ours.beta.assistants.create(model="kept", **more)).id


async def thread(kept: Kept, directives: str) -> str:
    """A new one with a message."""
    made = await kept.ours.beta.threads.create(
        messages=[{"role": "user", "content": f"#sim {directives}\nTell me more."}]
    )
    return made.id


async def settled(kept: Kept) -> dict[str, Any]:
    """The receipt of the only run, once it has ended."""
    gateway = kept.served.setup.gateway
    who = gateway.authenticate(kept.served.setup.key)
    [record] = [r for r in kept.served.setup.sim.truth.records() if r.api == "openai-runs"]
    with trio.fail_after(20):
        while True:
            receipt = await gateway.receipt(who, record.request_id)
            if receipt["state"] == "settled":
                await gateway._parts.jobs.wait_durable()
                return receipt
            await trio.sleep(0.005)


def reported(kept: Kept) -> int:
    """What the provider's own figures come to, in nanodollars."""
    [record] = [r for r in kept.served.setup.sim.truth.records() if r.api == "openai-runs"]
    usage = record.usage_reported
    assert usage is not None
    return int(usage["prompt_tokens"] * 1_000 + usage["completion_tokens"] * 2_000)


async def test_a_run_is_charged_by_what_it_says_at_its_end(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        runs = kept.ours.beta.threads.runs
        thread_id = await thread(kept, "tokens=9 run_polls=1 end_polls=2")
        run = await runs.create(thread_id, assistant_id=await assistant(kept))
        assert (run.status, run.max_prompt_tokens, run.max_completion_tokens) == (
            "queued", 65_536, 16_384,
        )  # fmt: skip
        receipt = await settled(kept)
        assert receipt["operation"] == "run"
        assert receipt["model"] == "kept"
        assert receipt["usage"]["output_tokens"] == 9
        assert receipt["usage_provenance"]["output_tokens"] == "reported"
        assert receipt["price"]["nanodollars"] == reported(kept)
