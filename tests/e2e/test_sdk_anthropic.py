"""Anthropic's Python SDK, unmodified, over a real socket, to a provider of each protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
import trio
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from tests.e2e.sdks import CALLS, REASONING, Weather, one_truth
from tests.served import Served, open_served

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TOOL: ToolParam = {
    "name": "get_weather",
    "description": "The weather.",
    "input_schema": {**Weather.model_json_schema()},
}


def ask(directives: str) -> list[MessageParam]:
    return [{"role": "user", "content": f"#sim {directives}\nTell me more."}]


@asynccontextmanager
async def open_sdk(served: Served, **options: Any) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        base_url=served.origin, api_key=served.setup.key, max_retries=0, **options
    ) as client:
        yield client


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def test_a_message(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        message = await client.messages.create(
            model=model, messages=ask("tokens=12 cached=3"), max_tokens=100
        )
        truth = one_truth(served)
        assert text_of(message) == truth.text
        assert (message.type, message.role, message.stop_reason) == (
            "message",
            "assistant",
            "end_turn",
        )
        assert message.usage.output_tokens == 12
        assert message.usage.input_tokens == truth.input_tokens - 3
        assert message.usage.cache_read_input_tokens == 3
        assert message._request_id is not None
        assert message._request_id.startswith("req_")


async def test_a_stream(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.messages.create(
            model=model, messages=ask("tokens=50"), max_tokens=100, stream=True
        )
        kinds = [event.type async for event in stream]
        assert kinds[:2] == ["message_start", "content_block_start"]
        assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        assert set(kinds[2:-3]) == {"content_block_delta"}


async def test_the_stream_helper(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        async with client.messages.stream(
            model=model, messages=ask("tokens=50 cached=3"), max_tokens=100
        ) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        truth = one_truth(served)
        assert text == text_of(final) == truth.text
        assert final.stop_reason == "end_turn"
        assert final.usage.output_tokens == 50
        assert final.usage.input_tokens == truth.input_tokens - 3
        assert final.usage.cache_read_input_tokens == 3


async def test_what_is_cut_for_length(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        message = await client.messages.create(
            model=model, messages=ask("tokens=50"), max_tokens=10
        )
        assert message.stop_reason == "max_tokens"
        assert message.usage.output_tokens == 10


async def test_the_synchronous_client(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:

        def talk() -> str:
            with (
                Anthropic(base_url=served.origin, auth_token=served.setup.key) as client,
                client.messages.stream(
                    model=model, messages=ask("tokens=20"), max_tokens=100
                ) as stream,
            ):
                return "".join(stream.text_stream)

        text = await trio.to_thread.run_sync(talk)
        assert text == one_truth(served).text


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_tools_over_two_turns(tmp_path: Path, model: str, stream: bool) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:

        async def turn(messages: list[MessageParam]) -> anthropic.types.Message:
            asked: Any = {
                "model": model,
                "messages": messages,
                "max_tokens": 1_000,
                "tools": [TOOL],
            }
            if not stream:
                answer: anthropic.types.Message = await client.messages.create(**asked)
                return answer
            async with client.messages.stream(**asked) as events:
                return await events.get_final_message()

        messages = ask(CALLS)
        first = await turn(messages)
        assert first.stop_reason == "tool_use"
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [(call.name, call.input) for call in calls] == [
            (call.name, json.loads(call.arguments)) for call in one_truth(served).calls
        ]
        messages += [
            {"role": "assistant", "content": first.content},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
                    for call in calls
                ],
            },
        ]
        second = await turn(messages)
        truth = served.setup.sim.truth.records()[-1]
        assert second.stop_reason == "end_turn"
        assert text_of(second) == truth.text
        if model == "sim-gemini":
            assert truth.signatures == "verified"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_thinking(tmp_path: Path, model: str, stream: bool) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:

        async def turn(messages: list[MessageParam]) -> anthropic.types.Message:
            asked: Any = {
                "model": model,
                "messages": messages,
                "max_tokens": 3_000,
                "thinking": {"type": "enabled", "budget_tokens": 2_000},
            }
            if not stream:
                answer: anthropic.types.Message = await client.messages.create(**asked)
                return answer
            async with client.messages.stream(**asked) as events:
                return await events.get_final_message()

        messages = ask(f"tokens=12 {REASONING}")
        first = await turn(messages)
        truth = one_truth(served)
        assert text_of(first) == truth.text
        thinking = [block for block in first.content if block.type == "thinking"]
        if model != "sim-openai":  # OpenAI keeps its reasoning to itself
            assert "".join(block.thinking for block in thinking) == truth.reasoning
            assert all(block.signature for block in thinking)
            assert first.content[0].type == "thinking"
        # What was thought goes back with the next turn, and is accepted.
        messages += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "#sim tokens=5\nGo on."},
        ]
        second = await turn(messages)
        assert text_of(second) == served.setup.sim.truth.records()[-1].text


async def test_counting_tokens(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        counted = await client.messages.count_tokens(
            model=model, messages=ask("tokens=3"), system="Be brief.", tools=[TOOL]
        )
        assert 10 < counted.input_tokens < 800
        assert served.setup.sim.truth.records() == []
        assert await served.setup.balance() == 1_000_000_000


async def test_a_stream_that_breaks_raises(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        words: list[str] = []

        async def read() -> None:
            async with client.messages.stream(
                model=model,
                messages=ask("tokens=50 tokens_per_second=2000 cut_after=20 fault=cut"),
                max_tokens=100,
            ) as stream:
                async for text in stream.text_stream:
                    words.append(text)  # noqa: PERF401 - it ends by raising

        with pytest.raises(anthropic.APIStatusError) as broken:
            await read()
        assert broken.value.body is not None
        assert 0 < len(words) <= 21


REFUSALS: list[tuple[dict[str, Any], str, type[anthropic.APIStatusError]]] = [
    ({"api_key": "sk-parshall-wrong"}, "", anthropic.AuthenticationError),
    ({"model": "claude-unknown"}, "", anthropic.NotFoundError),
    ({"max_tokens": 0}, "", anthropic.BadRequestError),
    ({}, "status=400", anthropic.BadRequestError),
    ({}, "status=500", anthropic.InternalServerError),
    ({}, "status=429 retry_after=0", anthropic.RateLimitError),
    ({}, "status=401", anthropic.InternalServerError),  # its key is left alone from then on
]


async def test_refusals_are_the_sdks_own_errors(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        for case in REFUSALS:
            changes, directives, error = case
            key = changes.get("api_key", served.setup.key)
            request: dict[str, Any] = {"model": model, "messages": ask(directives), "max_tokens": 9}
            request |= changes
            request.pop("api_key", None)
            with pytest.raises(anthropic.APIStatusError) as refusal:
                await client.with_options(api_key=key).messages.create(**request)
            assert type(refusal.value) is error, case
            body: Any = refusal.value.body
            assert (body["type"], set(body)) == ("error", {"type", "error", "request_id"}), case
            assert body["request_id"] == refusal.value.request_id, case
            assert body["request_id"].startswith("req_"), case
