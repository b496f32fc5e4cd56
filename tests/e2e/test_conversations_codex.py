"""A coding agent of OpenAI's: its SDK on `/v1/responses`, a whole session of tasks and tools, in
which every request says the whole history anew, to a provider of each protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from bench.simulate import TruthRecord
from engine.events import Usage
from tests.e2e.billed import Billed
from tests.gateways import MODELS, PROTOCOLS
from tests.served import Served, open_served

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SHELL: dict[str, Any] = {
    "type": "function",
    "name": "shell",
    "description": "Runs a command.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": {"type": "string"}},
            "workdir": {"type": "string"},
            "timeout_ms": {"type": "number"},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
}
PLAN: dict[str, Any] = {
    "type": "function",
    "name": "update_plan",
    "description": "Says what is to be done.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "explanation": {"type": "string"},
            "plan": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "step": {"type": "string"},
                        "status": {
                            "type": "string",
                            "enum": ["pending", "in_progress", "completed"],
                        },
                    },
                    "required": ["step", "status"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["plan"],
        "additionalProperties": False,
    },
}
PATCH: dict[str, Any] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /(.|\\n)+/"},
}


@dataclass(frozen=True)
class Task:
    """What the user wants: directives for the simulated model, and how many requests they take."""

    directives: str
    requests: int = 1
    image: bool = False


TASKS = (
    Task("tools=update_plan,shell,shell preamble=5 reasoning=12 steps=2 tokens=9 cached=30", 3),
    Task("reasoning=7 tokens=12 cached=100"),
    Task("tools=shell reasoning=5 steps=3 tokens=6", 4, image=True),
    Task("tools=auto preamble=3 ids=1 tokens=8", 2),
    Task("tokens=4"),
)
WITH_PATCHES = (
    Task("tools=apply_patch,shell,apply_patch reasoning=9 steps=2 tokens=5", 3),
    Task("tools=apply_patch preamble=2 tokens=3", 2),
)


@dataclass
class Session:
    """The agent: its history, and what it asks with it."""

    served: Served
    client: AsyncOpenAI
    provider: str
    tools: list[dict[str, Any]]
    history: list[dict[str, Any]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    signers: set[str] = field(default_factory=set)
    """The providers that have been asked, and those that have signed something in the history."""
    effort: str = "high"

    def __post_init__(self) -> None:
        self.billed = Billed(self.served)

    @property
    def interleaves(self) -> bool:
        """Whether the provider may tell several calls at once."""
        return self.provider.startswith("openai")

    async def work_on(self, task: Task) -> None:
        """Ask until the model has no more calls, as often as the task says."""
        text = f"#sim {task.directives} interleave={int(self.interleaves)}\nDo this."
        content = [{"type": "input_text", "text": text}]
        if task.image:
            content.append({"type": "input_image", "image_url": PIXEL})
        self.history.append({"type": "message", "role": "user", "content": content})
        for number in range(1, task.requests + 1):
            items, record = await self.ask()
            outputs = list(answered(items))
            assert bool(outputs) == (number < task.requests), (task, number)
            assert len(outputs) == len(record.calls)
            self.history += items + outputs

    async def ask(self) -> tuple[list[dict[str, Any]], TruthRecord]:
        """One request; the items of its answer without ids, as they are kept where nothing is
        stored."""
        stream = await self.client.responses.create(**self.request())
        events = [event async for event in stream]
        request_id = stream.response.headers["x-request-id"]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        final = events[-1]
        assert final.type == "response.completed"
        told = {e.output_index: e.item for e in events if e.type == "response.output_item.done"}
        done = [told[index] for index in range(len(told))]
        assert [item.to_dict() for item in done] == [i.to_dict() for i in final.response.output]
        record = await self.billed.check_turn(request_id, usage_of(final.response))
        self.asked.add(self.provider)
        if self.asked == {"openai_responses"}:  # nothing is lost on the way, and nothing changed
            assert record.request["input"] == self.history
        self.check_answer(final.response, record)
        self.check_signatures(record)
        items = [item.to_dict(mode="json", exclude_none=True) for item in done]
        return [without(item, "id", "status") for item in items], record

    def request(self) -> Any:
        """Everything that is asked, every time."""
        return {
            "model": MODELS[self.provider],
            "instructions": "You are a coding agent. Be concise.",
            "input": self.history,
            "tools": self.tools,
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "reasoning": {"effort": self.effort, "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "0199-session",
            "store": False,
            "stream": True,
            "extra_headers": {"originator": "agent", "session_id": "0199-session"},
        }

    def check_answer(self, response: Response, record: TruthRecord) -> None:
        """What the provider has said is what there is: text, thinking, calls."""
        assert response.output_text == record.text
        said = [
            (item.name, item.input if item.type == "custom_tool_call" else item.arguments)
            for item in response.output
            if item.type in ("function_call", "custom_tool_call")
        ]
        assert [plain(*call) for call in said] == [plain(c.name, c.arguments) for c in record.calls]
        thoughts = [item for item in response.output if item.type == "reasoning"]
        shown = "".join(part.text for item in thoughts for part in item.summary)
        assert shown == record.reasoning

    def check_signatures(self, record: TruthRecord) -> None:
        """What a provider has signed comes back to it whole, from the second turn on."""
        if self.provider in self.signers:
            assert record.signatures == "verified"
        if self.provider != "openai_chat" and record.reasoning:
            self.signers.add(self.provider)


def usage_of(response: Response) -> Usage:
    used = response.usage
    assert used is not None
    return Usage(
        input_tokens=used.input_tokens,
        cached_input_tokens=used.input_tokens_details.cached_tokens,
        output_tokens=used.output_tokens,
        reasoning_tokens=used.output_tokens_details.reasoning_tokens,
    )


def answered(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What the tools give back."""
    for number, item in enumerate(items):
        match item["type"]:
            case "function_call":
                output = f'{{"output":"line {number}\\n","metadata":{{"exit_code":{number % 2}}}}}'
            case "custom_tool_call":
                output = "Success. Updated the following files:\nM a.py"
            case _:
                continue
        kind = f"{item['type']}_output"
        yield {"type": kind, "call_id": item["call_id"], "output": output}


def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}


def plain(name: str, arguments: str) -> tuple[str, Any]:
    """A call, its arguments without the spelling of their JSON."""
    try:
        return name, json.loads(arguments)
    except ValueError:
        return name, arguments


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_session(tmp_path: Path, provider: str) -> None:
    async with (
        open_served(tmp_path) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        session = Session(served, client, provider, [SHELL, PLAN])
        for task in TASKS:
            await session.work_on(task)
        assert session.billed.turns == sum(task.requests for task in TASKS) >= 10
        await session.billed.check_balance()


async def test_a_session_with_a_freeform_tool(tmp_path: Path) -> None:
    async with (
        open_served(tmp_path) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        session = Session(served, client, "openai_responses", [SHELL, PLAN, PATCH])
        for task in (*WITH_PATCHES, *TASKS[1:4]):
            await session.work_on(task)
        kinds = [item["type"] for item in session.history]
        assert kinds.count("custom_tool_call") == kinds.count("custom_tool_call_output") > 5
        await session.billed.check_balance()


@pytest.mark.parametrize("provider", [name for name in PROTOCOLS if name != "openai_responses"])
async def test_a_freeform_tool_is_refused_where_there_are_none(
    tmp_path: Path, provider: str
) -> None:
    """Also a history in which it was called; and the session goes on without it."""
    async with (
        open_served(tmp_path) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        session = Session(served, client, provider, [SHELL, PATCH])
        session.history = [{"role": "user", "content": "#sim tokens=3\nDo this."}]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(**session.request())
        assert refused.value.param == "tools"
        assert "has no tool 'custom: apply_patch'; leave it out" in refused.value.message
        session.tools = [SHELL]
        call = {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch"}
        result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"}
        patched = [call | {"input": "*** Begin Patch"}, result]
        session.history += patched
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(**session.request())
        assert refused.value.param == "input"
        assert "custom_tool_call" in refused.value.message
        session.history = session.history[:1]
        await session.ask()
        await session.billed.check_balance()


async def test_a_session_that_changes_its_model(tmp_path: Path) -> None:
    """Every provider gets back what it has signed, and nothing that another has."""
    async with (
        open_served(tmp_path) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        session = Session(served, client, PROTOCOLS[0], [SHELL, PLAN])
        for provider in (*PROTOCOLS, *PROTOCOLS[1:]):
            session.provider = provider
            await session.work_on(Task("tools=shell,update_plan reasoning=6 tokens=4", 2))
        await session.billed.check_balance()
