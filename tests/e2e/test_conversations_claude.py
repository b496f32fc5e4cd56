"""A coding agent of Anthropic's: its SDK on `/v1/messages`, a whole session of tasks and tools,
with thinking, caching and counts of tokens, to a provider of each protocol."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaMessage

from bench.simulate import TruthRecord
from engine.events import Usage
from engine.protocols.anthropic.requests import TOKENS_OF_TOOLS
from tests.e2e.billed import Billed
from tests.gateways import MODELS, PROTOCOLS
from tests.served import Served, open_served

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
}
CACHED = {"type": "ephemeral"}
BETAS = [
    "claude-code-20250219",
    "interleaved-thinking-2025-05-14",
    "fine-grained-tool-streaming-2025-05-14",
]


def tool(name: str, **properties: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"The tool {name}.",
        "input_schema": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in properties.items()},
            "required": list(properties)[:1],
            "additionalProperties": False,
        },
    }


TOOLS = [
    tool("Bash", command="string", timeout="number", description="string"),
    tool("Read", file_path="string", offset="number", limit="number"),
    tool("Edit", file_path="string", old_string="string", new_string="string"),
]


@dataclass(frozen=True)
class Task:
    """What the user wants: directives for the simulated model, and how many requests they take."""

    directives: str
    requests: int = 1
    image: bool = False


TASKS = (
    Task("tools=Bash,Read,Read preamble=5 reasoning=12 steps=2 tokens=9 cached=30", 3),
    Task("reasoning=7 tokens=12 cached=100"),
    Task("tools=Read reasoning=5 steps=3 tokens=6", 4, image=True),
    Task("tools=auto preamble=3 reasoning=4 tokens=8", 2),
    Task("tokens=4"),
)


@dataclass
class Session:
    """The agent: its history, and what it asks with it."""

    served: Served
    client: AsyncAnthropic
    provider: str
    history: list[dict[str, Any]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    signers: set[str] = field(default_factory=set)
    """The providers that have been asked, and those that have signed something in the history."""

    def __post_init__(self) -> None:
        self.billed = Billed(self.served)

    async def work_on(self, task: Task) -> None:
        """Ask until the model has no more calls, as often as the task says."""
        content: list[dict[str, Any]] = [IMAGE] if task.image else []
        content.append({"type": "text", "text": f"#sim {task.directives}\nDo this."})
        self.history.append({"role": "user", "content": content})
        for number in range(1, task.requests + 1):
            blocks, record = await self.ask()
            # A chat has no images in results: they follow in words of the user, which the simulated
            # model takes for a new task. So they come when there are to be no more calls.
            results = list(answered(blocks, with_image=number == task.requests - 1))
            assert bool(results) == (number < task.requests), (task, number)
            assert len(results) == len(record.calls)
            self.history.append({"role": "assistant", "content": blocks})
            if results:
                self.history.append({"role": "user", "content": results})

    async def ask(self) -> tuple[list[dict[str, Any]], TruthRecord]:
        """One request, its tokens counted before; the blocks of its answer."""
        request = self.request()
        counted = await self.client.beta.messages.count_tokens(**request, betas=BETAS)
        async with self.client.beta.messages.stream(
            **request,
            max_tokens=8_192,
            metadata={"user_id": "user_0_account__session_0199"},
            betas=BETAS,
        ) as stream:
            kinds = [event.type async for event in stream]
            message = await stream.get_final_message()
            request_id = stream.response.headers["x-request-id"]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        record = await self.billed.check_turn(request_id, usage_of(message))
        self.asked.add(self.provider)
        if self.asked == {"anthropic"}:  # nothing is lost on the way, and nothing changed
            assert {name: record.request[name] for name in request} == request
        self.check_count(counted.input_tokens, record)
        self.check_answer(message, record)
        self.check_signatures(record)
        blocks = [block.to_dict(mode="json", exclude_none=True) for block in message.content]
        return blocks, record

    def request(self) -> Any:
        """Everything that is asked, every time; the end of the history is to be cached."""
        messages = copy.deepcopy(self.history)
        messages[-1]["content"][-1]["cache_control"] = CACHED
        return {
            "model": MODELS[self.provider],
            "system": [
                {"type": "text", "text": "You are a coding agent.", "cache_control": CACHED},
                {"type": "text", "text": "Be concise.", "cache_control": CACHED},
            ],
            "tools": TOOLS,
            "messages": messages,
            "thinking": {"type": "enabled", "budget_tokens": 4_000},
        }

    def check_count(self, tokens: int, record: TruthRecord) -> None:
        """Who speaks messages is asked; else it is an estimate, with the prompt that Anthropic puts
        around tools."""
        if self.provider == "anthropic":
            assert tokens == record.input_tokens
        else:
            assert abs(tokens - record.input_tokens) < TOKENS_OF_TOOLS + 50

    def check_answer(self, message: BetaMessage, record: TruthRecord) -> None:
        """What the provider has said is what there is: text, thinking, calls."""
        content = message.content
        assert "".join(b.text for b in content if b.type == "text") == record.text
        thoughts = "".join(block.thinking for block in content if block.type == "thinking")
        assert thoughts == record.reasoning
        calls = [(block.name, block.input) for block in content if block.type == "tool_use"]
        assert calls == [(call.name, json.loads(call.arguments)) for call in record.calls]
        assert message.stop_reason == ("tool_use" if calls else "end_turn")

    def check_signatures(self, record: TruthRecord) -> None:
        """What a provider has signed comes back to it whole, from the second turn on."""
        if self.provider in self.signers:
            assert record.signatures == "verified"
        if self.provider != "openai_chat" and record.reasoning:
            self.signers.add(self.provider)


def usage_of(message: BetaMessage) -> Usage:
    used = message.usage
    cached = used.cache_read_input_tokens or 0
    details = used.to_dict().get("output_tokens_details")
    return Usage(
        input_tokens=used.input_tokens + cached,
        cached_input_tokens=cached,
        output_tokens=used.output_tokens,
        reasoning_tokens=details["thinking_tokens"] if isinstance(details, dict) else 0,
    )


def answered(blocks: list[dict[str, Any]], *, with_image: bool) -> Iterator[dict[str, Any]]:
    """What the tools give back: of commands errors, of files text or an image."""
    for number, block in enumerate(block for block in blocks if block["type"] == "tool_use"):
        result = {"type": "tool_result", "tool_use_id": block["id"]}
        match block["name"]:
            case "Bash":
                yield result | {"content": "Exit code 1", "is_error": True}
            case "Read" if with_image:
                yield result | {"content": [{"type": "text", "text": "A picture:"}, IMAGE]}
            case _:
                yield result | {"content": f"     {number}→import trio"}


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_session(tmp_path: Path, provider: str) -> None:
    async with (
        open_served(tmp_path) as served,
        AsyncAnthropic(base_url=served.origin, api_key=served.setup.key, max_retries=0) as client,
    ):
        session = Session(served, client, provider)
        for task in TASKS:
            await session.work_on(task)
        assert session.billed.turns == sum(task.requests for task in TASKS) >= 10
        await session.billed.check_balance()


async def test_a_session_that_changes_its_model(tmp_path: Path) -> None:
    """Every provider gets back what it has signed, and nothing that another has."""
    async with (
        open_served(tmp_path) as served,
        AsyncAnthropic(base_url=served.origin, api_key=served.setup.key, max_retries=0) as client,
    ):
        session = Session(served, client, PROTOCOLS[0])
        for provider in (*PROTOCOLS, *PROTOCOLS[1:]):
            session.provider = provider
            await session.work_on(Task("tools=Bash,Edit reasoning=6 tokens=4", 2))
        await session.billed.check_balance()
