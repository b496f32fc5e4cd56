"""Runs of assistants by OpenAI's SDK: billed once, by what the run says when it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import trio

from tests.engine.ledger.samples import wait_until
from tests.passed import Kept, open_kept

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # The SDK leaves its streams at `[DONE]`.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
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


async def test_what_a_run_made_is_the_accounts_and_nobody_elses(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        run = await kept.ours.beta.threads.create_and_run(
            assistant_id=await assistant(kept),
            thread={"messages": [{"role": "user", "content": "#sim tokens=4\nTell me more."}]},
        )
        at: Any = {"run_id": run.id, "thread_id": run.thread_id}
        await settled(kept)
        done = await kept.ours.beta.threads.runs.retrieve(**at)
        assert (done.status, done.model) == ("completed", "kept")
        [step] = [each async for each in kept.ours.beta.threads.runs.steps.list(**at)]
        assert step.run_id == run.id
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.beta.threads.runs.retrieve(**at)
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.beta.threads.runs.create(run.thread_id, assistant_id=run.assistant_id)


ELSE = "asst_0123456789abcdef"
FILE: Any = {"role": "user", "content": "x"}
FILE["attachments"] = [{"file_id": "file-" + "a" * 26, "tools": []}]


@pytest.mark.parametrize(
    ("param", "changes"),
    [
        ("assistant_id", {"assistant_id": ELSE}),
        ("additional_messages[0].attachments[0].file_id", {"additional_messages": [FILE]}),
        ("tools[0].vector_store_id", {"tools": [{"vector_store_id": "vs_0123456789ab"}]}),
    ],
)
async def test_what_is_not_the_accounts_is_not_found_before_anything_is_sent(
    tmp_path: Path, param: str, changes: dict[str, Any]
) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        thread_id = await thread(kept, "")
        asked = {"assistant_id": await assistant(kept), **changes}
        before = len(kept.calls)
        with pytest.raises(openai.NotFoundError) as caught:
            await kept.ours.beta.threads.runs.create(thread_id, **asked)
        assert caught.value.param == param
        assert len(kept.calls) == before


async def test_a_stream_ends_and_its_run_is_charged(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        thread_id = await thread(kept, "tokens=12")
        stream = await kept.ours.beta.threads.runs.create(
            thread_id, assistant_id=await assistant(kept), stream=True
        )
        told = [event.event async for event in stream]
        assert (told[0], told[-1]) == ("thread.run.created", "thread.run.completed")
        receipt = await settled(kept)
        assert receipt["usage"]["output_tokens"] == 12
        assert receipt["price"]["nanodollars"] == reported(kept)


async def test_a_client_that_leaves_pays_for_the_run(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        thread_id = await thread(kept, "tokens=20 tokens_per_second=100")
        stream = await kept.ours.beta.threads.runs.create(
            thread_id, assistant_id=await assistant(kept), stream=True
        )
        async for event in stream:
            if event.event == "thread.message.delta":
                break
        await stream.close()
        receipt = await settled(kept)
        assert receipt["usage"]["output_tokens"] == 20
        assert receipt["price"]["nanodollars"] == reported(kept)


async def test_a_run_that_waits_for_its_functions_is_held_for(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        runs = kept.ours.beta.threads.runs
        thread_id = await thread(kept, "tokens=5 tools=now")
        stream = await runs.create(
            thread_id, assistant_id=await assistant(kept, tools=[NOW]), stream=True
        )
        last = [event async for event in stream][-1]
        assert last.event == "thread.run.requires_action"
        assert kept.served.setup.gateway.ledger.statistics().open_holds == 1
        run: Any = last.data
        [call] = run.required_action.submit_tool_outputs.tool_calls
        outputs: Any = [{"tool_call_id": call.id, "output": "9"}]
        after = await runs.submit_tool_outputs(
            run.id, thread_id=thread_id, tool_outputs=outputs, stream=True
        )
        assert [event.event async for event in after][-1] == "thread.run.completed"
        receipt = await settled(kept)
        assert receipt["price"]["nanodollars"] == reported(kept)


@pytest.mark.parametrize(
    ("told", "outcome", "charged"),
    [
        ("job=failed usage=always tokens=4", "upstream_failed", True),
        ("job=expired usage=none", "deadline", False),
        ("usage=none tokens=4", "completed", False),
    ],
)
async def test_however_it_ends_it_is_charged_by_what_it_says(
    tmp_path: Path, told: str, outcome: str, charged: bool
) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        thread_id = await thread(kept, f"end_polls=1 {told}")
        await kept.ours.beta.threads.runs.create(thread_id, assistant_id=await assistant(kept))
        receipt = await settled(kept)
        assert receipt["outcome"] == outcome
        assert receipt["price"]["nanodollars"] == (reported(kept) if charged else 0)


async def test_a_run_that_is_cancelled_is_charged_what_came(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        runs = kept.ours.beta.threads.runs
        thread_id = await thread(kept, "job=never tokens=4")
        run = await runs.create(thread_id, assistant_id=await assistant(kept))
        await runs.cancel(run.id, thread_id=thread_id)
        receipt = await settled(kept)
        assert "cancelled" in receipt["flags"]
        assert receipt["price"]["nanodollars"] == reported(kept)


async def test_no_more_is_asked_for_than_funds_cover(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST, funds_nanodollars=10_000_000) as kept:
        thread_id, assistant_id = await thread(kept, "tokens=3"), await assistant(kept)
        runs = kept.ours.beta.threads.runs
        with pytest.raises(openai.APIStatusError) as caught:
            await runs.create(thread_id, assistant_id=assistant_id)
        assert caught.value.status_code == 402
        run = await runs.create(thread_id, assistant_id=assistant_id, max_prompt_tokens=8_000)
        assert (run.max_prompt_tokens, run.max_completion_tokens) == (8_000, 1_000)
        receipt = await settled(kept)
        assert receipt["price"]["nanodollars"] == reported(kept)


PRICED = """
[models.tools]
deployments = [{ provider = "keeps", model = "sim-openai" }]
price = { input = 1, output = 2, code_sessions = 0.03 }
"""


async def test_what_tools_of_the_providers_have_done_is_charged_by_its_steps(
    tmp_path: Path,
) -> None:
    async with open_kept(tmp_path, FAST + PRICED) as kept:
        tools: Any = [{"type": "file_search"}, {"type": "code_interpreter"}]
        made = await kept.ours.beta.assistants.create(model="tools", tools=tools)
        thread_id = await thread(kept, "tokens=4 searches=3 codes=2")
        await kept.ours.beta.threads.runs.create(thread_id, assistant_id=made.id)
        receipt = await settled(kept)
        assert receipt["usage"]["code_sessions"] == 1
        assert "file_searches" not in receipt["usage"]  # OpenAI takes nothing for them here
        assert receipt["price"]["nanodollars"] == reported(kept) + 30_000_000


CODING = """
[models.coding]
deployments = [{ provider = "keeps", model = "sim-openai" }]
price = { input = 1, output = 2, code_sessions = 0.03 }
"""


async def test_a_thread_pays_for_its_code_once_an_hour(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST + CODING) as kept:
        tools: Any = [{"type": "code_interpreter"}]
        made = await kept.ours.beta.assistants.create(model="coding", tools=tools)
        thread_id = await thread(kept, "tokens=3 codes=2")
        gateway = kept.served.setup.gateway
        who = gateway.authenticate(kept.served.setup.key)
        for _ in range(2):
            run = await kept.ours.beta.threads.runs.create(thread_id, assistant_id=made.id)
            await wait_until(lambda: not gateway.ledger.statistics().open_holds)
            done = await kept.ours.beta.threads.runs.retrieve(run.id, thread_id=thread_id)
            assert done.status == "completed"
        await gateway._parts.jobs.wait_durable()
        records = [r for r in kept.served.setup.sim.truth.records() if r.api == "openai-runs"]
        receipts = [await gateway.receipt(who, record.request_id) for record in records]
        assert [each["usage"].get("code_sessions", 0) for each in receipts] == [1, 0]


def files_in(event: Any) -> list[str]:
    """The files that an event tells of."""
    found: list[str] = []
    if event.event == "thread.run.step.delta":
        for call in event.data.delta.step_details.tool_calls:
            outputs = call.code_interpreter.outputs
            found += [each.image.file_id for each in outputs if each.type == "image"]
    elif event.event == "thread.message.completed":
        content = event.data.content
        found += [part.image_file.file_id for part in content if part.type == "image_file"]
    return found


async def test_what_a_run_draws_has_one_name_in_its_stream_and_ever_after(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        beta, files = kept.ours.beta, kept.ours.files
        thread_id = await thread(kept, "tokens=4 codes=1 pictures=2")
        assistant_id = await assistant(kept, tools=[{"type": "code_interpreter"}])
        stream = await beta.threads.runs.create(thread_id, assistant_id=assistant_id, stream=True)
        told = [files_in(event) async for event in stream]
        first, last = [each for each in told if each]
        assert first == last
        assert len(set(first)) == 2
        there = kept.served.setup.sim.files
        assert all(there.find("openai", "sk-operator", each) is None for each in first)

        listed = await files.list()  # before anything else has told of them
        assert {each.id for each in listed.data} == set(first)
        for file_id in first:
            assert (await files.content(file_id)).content.startswith(b"\x89PNG")
            with pytest.raises(openai.NotFoundError):
                await kept.theirs.files.content(file_id)
        content = (await beta.threads.messages.list(thread_id)).data[0].content
        shown = [part.image_file.file_id for part in content if part.type == "image_file"]
        assert shown == first


async def test_what_a_run_draws_is_there_while_it_goes_on(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        thread_id = await thread(kept, "tokens=30 tokens_per_second=60 codes=1 pictures=1")
        assistant_id = await assistant(kept, tools=[{"type": "code_interpreter"}])
        stream = await kept.ours.beta.threads.runs.create(
            thread_id, assistant_id=assistant_id, stream=True
        )
        async for event in stream:
            if event.event == "thread.run.step.delta":
                [file_id] = files_in(event)
                with pytest.raises(openai.NotFoundError):
                    await kept.theirs.files.retrieve(file_id)
                content = (await kept.ours.files.content(file_id)).content
        assert content.startswith(b"\x89PNG")
        await kept.ours.files.delete(file_id)
        with pytest.raises(openai.NotFoundError):
            await kept.ours.files.retrieve(file_id)


async def test_a_run_cites_a_file_of_the_account_by_the_name_it_has(tmp_path: Path) -> None:
    async with open_kept(tmp_path, FAST) as kept:
        beta = kept.ours.beta
        sent = await kept.ours.files.create(file=("a.txt", b"Foxes."), purpose="assistants")
        search: Any = [{"type": "file_search"}]
        attached: Any = {"file_id": sent.id, "tools": search}
        said: Any = {"role": "user", "content": "#sim tokens=4 searches=1\nRead it."}
        made = await beta.threads.create(messages=[said | {"attachments": [attached]}])
        assistant_id = await assistant(kept, tools=search)
        stream = await beta.threads.runs.create(made.id, assistant_id=assistant_id, stream=True)
        [message] = [e.data async for e in stream if e.event == "thread.message.completed"]
        [part] = message.content
        assert part.type == "text"
        [cited] = part.text.annotations
        assert cited.type == "file_citation"
        assert cited.file_citation.file_id == sent.id
