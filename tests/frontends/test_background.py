"""Responses in the background by OpenAI's SDK, over real sockets: asked after, cancelled, removed,
heard again from any number on; each is its account's, and charged once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import trio

from tests.passed import Kept, open_kept

pytestmark = [
    # The SDK leaves its streams at `[DONE]`.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FAST = "[jobs]\npoll_min_s = 0.01\npoll_max_s = 0.04\n"
SELDOM = "[jobs]\npoll_min_s = 60\npoll_max_s = 60\n"


async def ask(kept: Kept, directives: str, **more: Any) -> Any:
    """A response of the account's, in the background."""
    return await kept.ours.responses.create(
        model="kept", input=f"#sim {directives}\nTell me more.", background=True, **more
    )


async def receipts(kept: Kept) -> list[dict[str, Any]]:
    """All that the account has, once all are settled."""
    gateway = kept.served.setup.gateway
    who = gateway.authenticate(kept.served.setup.key)
    found = []
    with trio.fail_after(20):
        for record in kept.served.setup.sim.truth.records():
            while True:
                receipt = await gateway.receipt(who, record.request_id)
                if receipt["state"] == "settled":
                    found.append(receipt)
                    break
                await trio.sleep(0.005)
        await gateway._parts.jobs.wait_durable()
    return found


async def test_it_is_asked_after_until_it_has_ended(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        asked = await ask(kept, "tokens=6 end_s=0.1")
        assert asked.status in ("queued", "in_progress")
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.responses.retrieve(asked.id)
        [receipt] = await receipts(kept)
        done = await kept.ours.responses.retrieve(asked.id)
        assert done.status == "completed"
        assert done.usage is not None
        assert receipt["price"]["nanodollars"] == (
            done.usage.input_tokens * 1_000 + done.usage.output_tokens * 2_000
        )
        going_on = await kept.ours.responses.create(
            model="kept", input="#sim tokens=2\nGo on.", previous_response_id=asked.id
        )
        assert going_on.previous_response_id == asked.id


async def test_whoever_sees_it_end_has_it_settled_at_once(tmp_path: Path) -> None:
    async with open_kept(tmp_path, SELDOM) as kept:
        asked = await ask(kept, "tokens=6 end_s=0.1")
        with trio.fail_after(10):
            while (await kept.ours.responses.retrieve(asked.id)).status != "completed":  # noqa: ASYNC110
                await trio.sleep(0.02)
        [receipt] = await receipts(kept)
        assert receipt["usage"]["output_tokens"] == 6


async def test_what_came_until_it_was_cancelled_is_charged(tmp_path: Path) -> None:
    async with open_kept(tmp_path, SELDOM) as kept:
        asked = await ask(kept, "job=never usage=always tokens=50")
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.responses.cancel(asked.id)
        cancelled = await kept.ours.responses.cancel(asked.id)
        assert cancelled.status == "cancelled"
        [receipt] = await receipts(kept)
        assert receipt["flags"] == ["cancelled"]
        assert receipt["usage"].get("output_tokens", 0) < 50


async def test_it_is_not_removed_before_it_is_settled(tmp_path: Path) -> None:
    async with open_kept(tmp_path, SELDOM) as kept:
        asked = await ask(kept, "tokens=6 end_s=0.3")
        with pytest.raises(openai.ConflictError) as caught:
            await kept.ours.responses.delete(asked.id)
        assert caught.value.code == "job_not_ended"
        with trio.fail_after(10):
            while True:
                try:
                    await kept.ours.responses.delete(asked.id)
                    break
                except openai.ConflictError:
                    await trio.sleep(0.02)
        [receipt] = await receipts(kept)
        assert receipt["usage"]["output_tokens"] == 6
        with pytest.raises(openai.NotFoundError):
            await kept.ours.responses.retrieve(asked.id)


async def test_a_stream_that_was_left_is_heard_again_for_nothing(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        stream = await ask(kept, "tokens=30 tokens_per_second=150", stream=True)
        heard: list[Any] = []
        async for event in stream:
            heard.append(event)
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        again = await kept.ours.responses.retrieve(
            heard[0].response.id, stream=True, starting_after=heard[-1].sequence_number
        )
        rest = [event async for event in again]
        assert rest[0].sequence_number == heard[-1].sequence_number + 1
        assert rest[-1].type == "response.completed"
        [receipt] = await receipts(kept)
        assert receipt["usage"]["output_tokens"] == 30
