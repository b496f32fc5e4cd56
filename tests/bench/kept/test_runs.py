"""Assistants, threads and runs that are kept: by turns, by polls, as events, with tools."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai.types.beta import AssistantStreamEvent

from bench.simulate import Simulator
from tests.bench.kept.knocking import by_sdk, events, lacks, recorded, simulated, web
from tests.recordings import RECORDINGS, load

BETA = {"openai-beta": "assistants=v2"}
NOW: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
RECORDED = "openai-assistants"


def said(directives: str = "") -> dict[str, str]:
    return {"role": "user", "content": f"#sim {directives}\nTell me about rivers."}


def agents(simulator: Simulator, key: str = "k-one") -> httpx.AsyncClient:
    client = web(simulator, key)
    client.headers.update(BETA)
    return client


async def assistant(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post("/assistants", json={"model": "sim-openai", **more})
    return str(answer.raise_for_status().json()["id"])


async def run(client: httpx.AsyncClient, directives: str = "", **more: Any) -> httpx.Response:
    """A thread with one message, and a run of a new assistant."""
    tools = more.pop("tools", [])
    asked = {
        "assistant_id": await assistant(client, tools=tools),
        "thread": {"messages": [said(directives)]},
        **more,
    }
    return await client.post("/threads/runs", json=asked)


async def look(client: httpx.AsyncClient, shown: Any, times: int = 2) -> Any:
    for _ in range(times):
        answer = await client.get(f"/threads/{shown['thread_id']}/runs/{shown['id']}")
    return answer.json()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_sdk_runs_an_assistant_with_a_tool() -> None:
    def work(client: openai.OpenAI) -> None:
        beta = client.beta
        made = beta.assistants.create(model="sim-openai", tools=[NOW], name="Guide")
        assert beta.assistants.update(made.id, name="Other").name == "Other"
        assert [one.id for one in beta.assistants.list()] == [made.id]
        thread = beta.threads.create(metadata={"a": "b"})
        beta.threads.messages.create(
            thread.id, role="user", content="#sim tokens=5 tools=now end_polls=0"
        )
        begun = beta.threads.runs.create(thread.id, assistant_id=made.id)
        assert begun.status == "queued"
        asks = beta.threads.runs.retrieve(begun.id, thread_id=thread.id)
        assert asks.required_action is not None
        [call] = asks.required_action.submit_tool_outputs.tool_calls
        beta.threads.runs.submit_tool_outputs(
            begun.id, thread_id=thread.id, tool_outputs=[{"tool_call_id": call.id, "output": "9"}]
        )
        done = beta.threads.runs.retrieve(begun.id, thread_id=thread.id)
        assert (done.status, done.required_action) == ("completed", None)
        steps = list(beta.threads.runs.steps.list(begun.id, thread_id=thread.id, order="asc"))
        assert [step.type for step in steps] == ["tool_calls", "message_creation"]
        assert done.usage is not None
        assert done.usage.total_tokens == sum(s.usage.total_tokens for s in steps if s.usage)
        messages = list(beta.threads.messages.list(thread.id, order="asc"))
        assert [message.role for message in messages] == ["user", "assistant"]
        assert list(beta.threads.messages.list(thread.id, run_id=begun.id)) == messages[1:]
        assert beta.threads.delete(thread.id).deleted
        assert beta.assistants.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError, match="No thread found with id"):
            beta.threads.retrieve(thread.id)

    async with simulated() as simulator:
        await by_sdk(simulator, work)
        [record] = [r for r in simulator.truth.records() if r.api == "openai-runs"]
        assert record.usage_reported is not None
        assert record.usage_reported["completion_tokens"] == record.tokens_generated > 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_sdk_streams_a_run() -> None:
    def work(client: openai.OpenAI) -> list[AssistantStreamEvent]:
        made = client.beta.assistants.create(model="sim-openai")
        content = "#sim tokens=5"
        thread: Any = {"messages": [{"role": "user", "content": content}]}
        with client.beta.threads.create_and_run_stream(
            assistant_id=made.id, thread=thread
        ) as stream:
            return list(stream)

    async with simulated() as simulator:
        seen = [event.event for event in await by_sdk(simulator, work)]
    assert seen == [
        "thread.created", "thread.run.created", "thread.run.queued", "thread.run.in_progress",
        "thread.run.step.created", "thread.run.step.in_progress", "thread.message.created",
        "thread.message.in_progress", *["thread.message.delta"] * 5, "thread.message.completed",
        "thread.run.step.completed", "thread.run.completed",
    ]  # fmt: skip


async def test_streams_are_those_of_the_recordings() -> None:
    known = recorded_events("ruby-openai--runs-streamed-create--3.json")
    async with simulated() as simulator, agents(simulator) as client:
        made = await run(client, "tokens=99", stream=True, max_completion_tokens=16)
        seen = {event["object"]: event for event in events(made.text) if event.get("object")}
        for name, event in known.items():
            assert lacks(seen[name], event) == set(), name
        done = events(made.text)[-1]
        assert made.text.endswith("event: done\ndata: [DONE]\n\n")
        assert (done["status"], done["usage"]["completion_tokens"]) == ("incomplete", 16)


def recorded_events(name: str) -> dict[str, Any]:
    """The last event of each kind of a recorded stream, by the object that it is about."""
    if not (RECORDINGS / RECORDED / name).exists():
        pytest.skip(f"no recordings at {RECORDINGS}")
    return {event["object"]: event for event in events(load(f"{RECORDED}/{name}").body.decode())}


async def test_a_streamed_run_goes_on_without_its_client() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        with pytest.raises(Exception, match=r"incomplete|peer closed"):
            await run(client, "tokens=30 fault=cut cut_after=3", stream=True)
        [kept] = [one for one in simulator.kept if one.kind == "run"]
        done = await look(client, kept.value, 1)
        assert (done["status"], done["usage"]["completion_tokens"]) == ("completed", 30)


async def test_a_stream_ends_when_its_run_is_cancelled() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        asked = {
            "assistant_id": await assistant(client),
            "thread": {"messages": [said("tokens=4000 tokens_per_second=100")]},
            "stream": True,
        }
        lines: list[str] = []
        async with client.stream("POST", "/threads/runs", json=asked) as stream:
            async for line in stream.aiter_lines():
                lines.append(line)
                if line == "event: thread.message.delta" and lines.count(line) == 1:
                    [begun] = [one for one in simulator.kept if one.kind == "run"]
                    path = f"/threads/{begun.parent}/runs/{begun.object_id}/cancel"
                    (await client.post(path)).raise_for_status()
        last = events("\n".join(lines))[-1]
        assert (last["status"], last["cancelled_at"] is None) == ("cancelled", False)


async def test_calls_are_streamed_and_answered_in_a_stream() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        made = await run(client, "tokens=4 tools=now", tools=[NOW], stream=True)
        asks = events(made.text)[-1]
        assert asks["status"] == "requires_action"
        [call] = asks["required_action"]["submit_tool_outputs"]["tool_calls"]
        path = f"/threads/{asks['thread_id']}/runs/{asks['id']}/submit_tool_outputs"
        wrong = {"tool_outputs": [{"tool_call_id": "call_x", "output": "9"}]}
        assert "Expected tool outputs" in (await client.post(path, json=wrong)).text
        right = {"tool_outputs": [{"tool_call_id": call["id"], "output": "9"}], "stream": True}
        answer = await client.post(path, json=right)
        assert events(answer.text)[-1]["status"] == "completed"
        assert "do not accept tool outputs" in (await client.post(path, json=right)).text


@pytest.mark.parametrize(
    ("told", "status", "stamp"),
    [
        ("end_polls=0 job=failed", "failed", "failed_at"),
        ("end_polls=0 job=expired", "expired", None),
        ("job=never", "in_progress", "started_at"),
    ],
)
async def test_runs_end_as_told(told: str, status: str, stamp: str | None) -> None:
    async with simulated() as simulator, agents(simulator) as client:
        begun = (await run(client, told)).json()
        seen = await look(client, begun)
        assert seen["status"] == status
        assert stamp is None or seen[stamp] is not None
        assert (seen["usage"] is None) == (status == "in_progress")


async def test_a_cancelled_run_says_what_it_used() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        begun = (await run(client, "tokens=40 job=never progress=50")).json()
        path = f"/threads/{begun['thread_id']}/runs/{begun['id']}"
        blocked = await client.post(f"/threads/{begun['thread_id']}/messages", json=said())
        assert "while a run" in blocked.json()["error"]["message"]
        again = {"assistant_id": begun["assistant_id"]}
        active = await client.post(f"/threads/{begun['thread_id']}/runs", json=again)
        assert "already has an active run" in active.json()["error"]["message"]
        assert (await client.post(f"{path}/cancel")).json()["status"] == "cancelling"
        seen = await look(client, begun, 1)
        assert (seen["status"], seen["usage"]["completion_tokens"]) == ("cancelled", 20)
        assert (await client.post(f"{path}/cancel")).status_code == 400
        changed = await client.post(path, json={"metadata": {"a": "b"}})
        assert changed.json()["metadata"] == {"a": "b"}


async def test_tools_of_openai_leave_steps_and_files() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        tools = [{"type": "code_interpreter"}, {"type": "file_search"}]
        told = "end_polls=0 codes=2 searches=1 pictures=1 tokens=3"
        done = await look(client, (await run(client, told, tools=tools)).json(), 1)
        path = f"/threads/{done['thread_id']}/runs/{done['id']}/steps"
        [message, step] = (await client.get(path)).json()["data"]
        calls = step["step_details"]["tool_calls"]
        kinds = [call["type"] for call in calls]
        assert kinds == ["code_interpreter", "code_interpreter", "file_search"]
        drawn = calls[0]["code_interpreter"]["outputs"][1]["image"]["file_id"]
        got = await client.get(f"/files/{drawn}/content")
        assert got.content.startswith(b"\x89PNG")
        said_id = message["step_details"]["message_creation"]["message_id"]
        shown = (await client.get(f"/threads/{done['thread_id']}/messages/{said_id}")).json()
        assert [part["type"] for part in shown["content"]] == ["image_file", "text"]
        one = await client.get(f"{path}/{step['id']}")
        assert one.json() == step


async def test_too_long_a_prompt_ends_a_run() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        long = {"role": "user", "content": "#sim end_polls=0\n" + "rivers " * 400}
        asked = {
            "assistant_id": await assistant(client),
            "thread": {"messages": [long]},
            "max_prompt_tokens": 256,
        }
        done = await look(client, (await client.post("/threads/runs", json=asked)).json(), 1)
        assert done["incomplete_details"] == {"reason": "max_prompt_tokens"}


async def test_what_is_refused() -> None:
    async with simulated() as simulator, agents(simulator) as client, web(simulator) as plain:
        refused = await plain.post("/assistants", json={"model": "sim-openai"})
        assert refused.json()["error"]["code"] == "invalid_beta"
        made = await assistant(client)
        thread = (await client.post("/threads", json={})).json()["id"]
        empty = await client.post(f"/threads/{thread}/runs", json={"assistant_id": made})
        assert empty.json()["error"]["code"] == "invalid_thread"
        for path, body in (
            ("/assistants", {"model": "sim-none"}),
            ("/assistants", {"model": "sim-openai", "file_ids": []}),
            ("/threads", {"messages": [{"role": "system", "content": "x"}]}),
            (f"/threads/{thread}/messages", said() | {"attachments": [{"file_id": "file-x"}]}),
            (f"/threads/{thread}/runs", {"assistant_id": "asst_x"}),
            (f"/threads/{thread}/runs", {"assistant_id": made, "max_prompt_tokens": 3}),
        ):
            assert (await client.post(path, json=body)).status_code in (400, 404), body


async def test_other_keys_and_other_threads_find_nothing() -> None:
    async with (
        simulated() as simulator,
        agents(simulator) as client,
        agents(simulator, "k-two") as other,
    ):
        one = (await run(client, "end_polls=0")).json()
        two = (await run(client, "end_polls=0")).json()
        await look(client, one, 1)
        own = f"/threads/{one['thread_id']}"
        [message, _] = (await client.get(f"{own}/messages")).json()["data"]
        [step] = (await client.get(f"{own}/runs/{one['id']}/steps")).json()["data"]
        for path in (f"/messages/{message['id']}", f"/runs/{one['id']}"):
            assert (await client.get(own + path)).status_code == 200
            assert (await other.get(own + path)).status_code == 404
            assert (await client.get(f"/threads/{two['thread_id']}{path}")).status_code == 404
        elsewhere = f"/threads/{two['thread_id']}/runs/{two['id']}/steps/{step['id']}"
        assert (await client.get(elsewhere)).json()["error"]["message"] == (
            f"No run step found with id '{step['id']}'."
        )


async def test_shapes_are_those_of_the_recordings() -> None:
    async with simulated() as simulator, agents(simulator) as client:
        asked = {"model": "sim-openai", "name": "Guide", "instructions": "Be brief."}
        made = (await client.post("/assistants", json=asked)).json()
        name = f"{RECORDED}/ruby-openai--run-steps-retrieve-assistant-setup.json"
        known = recorded(name)
        assert lacks(made, known) == set() == lacks(known, made)
        thread = (await client.post("/threads", json={"metadata": {"a": "b"}})).json()
        assert lacks(thread, recorded(f"{RECORDED}/ruby-openai--threads-modify.json")) == set()
