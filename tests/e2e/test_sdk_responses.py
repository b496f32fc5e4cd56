"""OpenAI's Python SDK on `/v1/responses`, over a real socket, to a provider of each protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseFunctionToolCall, ToolParam
from pydantic import BaseModel

from tests.e2e.sdks import CALLS, REASONING, one_truth
from tests.gateways import MODELS
from tests.served import Served, open_served

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TOOL: ToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "strict": True,
}
TRANSLATED = [name for protocol, name in MODELS.items() if protocol != "openai_responses"]


def ask(directives: str) -> str:
    return f"#sim {directives}\nTell me more."


@asynccontextmanager
async def open_sdk(served: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client:
        yield client


async def test_an_answer_in_one_piece(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.responses.create(model=model, input=ask("tokens=12 cached=3"))
        truth = one_truth(served)
        assert answer.output_text == truth.text
        assert answer.status == "completed"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 12
        assert answer.usage.input_tokens == truth.input_tokens
        assert answer.usage.input_tokens_details.cached_tokens == 3


async def test_a_stream_of_events(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.responses.create(model=model, input=ask("tokens=50"), stream=True)
        events = [event async for event in stream]
        truth = one_truth(served)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text == truth.text == events[-1].response.output_text
        assert events[-1].response.usage is not None
        assert events[-1].response.usage.output_tokens == 50


async def test_the_stream_helper(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        async with client.responses.stream(model=model, input=ask("tokens=30")) as stream:
            snapshots = [
                event.snapshot
                async for event in stream
                if event.type == "response.output_text.delta"
            ]
            final = await stream.get_final_response()
        assert snapshots[-1] == final.output_text == one_truth(served).text


async def test_instructions_and_a_conversation(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        first = await client.responses.create(
            model=model, instructions="Be brief.", input=ask("tokens=8"), store=False
        )
        history: Any = [{"role": "user", "content": "Hello."}]
        history += first.output
        history += [{"role": "user", "content": ask("tokens=9")}]
        second = await client.responses.create(
            model=model, instructions="Be brief.", input=history, store=False
        )
        assert second.usage is not None
        assert second.usage.output_tokens == 9


class Weather(BaseModel):
    """An answer held to a schema."""

    city: str
    days: int


async def test_parse(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.responses.parse(
            model=model, input=ask("tokens=20"), text_format=Weather
        )
        assert isinstance(answer.output_parsed, Weather)


def calls_of(answer: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in answer.output if item.type == "function_call"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_tools_over_two_turns(tmp_path: Path, model: str, stream: bool) -> None:
    """The items of the first answer go back as they came, with what the calls came to."""
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        history: Any = [{"role": "user", "content": ask(CALLS)}]
        if stream:
            async with client.responses.stream(
                model=model, input=history, tools=[TOOL], store=False
            ) as helper:
                first: Response = await helper.get_final_response()
        else:
            first = await client.responses.create(
                model=model, input=history, tools=[TOOL], store=False
            )
        calls = calls_of(first)
        assert [call.name for call in calls] == ["get_weather", "get_weather"]
        assert all({"city", "days"} <= json.loads(call.arguments).keys() for call in calls)
        assert first.output_text
        history += first.output
        history += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            for call in calls
        ]
        history += [{"role": "user", "content": ask("tokens=7")}]
        second = await client.responses.create(
            model=model, input=history, tools=[TOOL], store=False
        )
        assert second.usage is not None
        assert second.usage.output_tokens == 7


async def test_a_forced_tool(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.responses.create(
            model=model,
            input=ask("tokens=5"),
            tools=[TOOL],
            tool_choice={"type": "function", "name": "get_weather"},
        )
        assert [call.name for call in calls_of(answer)] == ["get_weather"]


async def test_reasoning_goes_back_to_who_thought_it(tmp_path: Path, model: str) -> None:
    """With its secret, over a turn with a tool: a provider that signs takes its own only."""
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        history: Any = [{"role": "user", "content": ask(f"{REASONING} {CALLS}")}]
        options: Any = {
            "model": model,
            "tools": [TOOL],
            "reasoning": {"effort": "medium", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "store": False,
        }
        async with client.responses.stream(input=history, **options) as helper:
            first: Any = await helper.get_final_response()
        thoughts = [item for item in first.output if item.type == "reasoning"]
        if model != "sim-openai":  # which shows none
            assert thoughts
            assert all(item.encrypted_content for item in thoughts)
        assert first.usage.output_tokens_details.reasoning_tokens == 16
        history += first.output
        history += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            for call in calls_of(first)
        ]
        second = await client.responses.create(input=history, **options)
        assert second.status == "completed"


async def test_the_limit(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.responses.create(
            model=model, input=ask("tokens=50"), max_output_tokens=20
        )
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 20


async def test_input_tokens(tmp_path: Path, model: str) -> None:
    """Who speaks responses is asked; else it is counted here, and said so."""
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        counted = await client.responses.input_tokens.with_raw_response.count(
            model=model, instructions="Be brief.", input="one two three", tools=[TOOL]
        )
        tokens = counted.parse()
        assert tokens.object == "response.input_tokens"
        assert tokens.input_tokens > 5
        estimated = counted.headers.get("x-parshall-counted") == "estimate"
        assert estimated == (model in TRANSLATED)


async def read_through(stream: AsyncIterator[Any]) -> None:
    """Read a stream that does not end well."""
    async for event in stream:
        assert event.type != "response.completed"


@pytest.mark.parametrize("fault", ["error_event", "cut"])
async def test_a_stream_that_breaks(tmp_path: Path, model: str, fault: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.responses.create(
            model=model, input=ask(f"tokens=30 fault={fault} cut_after=12"), stream=True
        )
        with pytest.raises(openai.APIError):
            await read_through(stream)


HELD: list[tuple[dict[str, Any], str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
    (
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        "tools[0].vector_store_ids[0]",
    ),
]


@pytest.mark.parametrize(("fields", "param"), HELD, ids=[param for _, param in HELD])
async def test_what_lives_at_the_provider(
    tmp_path: Path, model: str, fields: dict[str, Any], param: str
) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.responses.create(**({"model": model, "input": "hello"} | fields))
        assert (refused.value.code, refused.value.param) == ("not_found", param)


@pytest.mark.parametrize("model", TRANSLATED)
async def test_what_only_responses_have(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(
                model=model, input="hello", tools=[{"type": "web_search"}]
            )
        assert refused.value.param == "tools"


async def test_a_wrong_key(tmp_path: Path) -> None:
    async with (
        open_served(tmp_path) as served,
        AsyncOpenAI(base_url=served.url, api_key="no", max_retries=0) as client,
    ):
        with pytest.raises(openai.AuthenticationError):
            await client.responses.create(model="sim-openai", input="hello")
