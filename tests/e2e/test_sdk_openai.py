"""OpenAI's Python SDK, unmodified, over a real socket, to a provider of each protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.e2e.sdks import CALLS, REASONING, Weather, one_truth
from tests.served import Served, open_served

# The SDK stops reading at `[DONE]` and leaves its generators to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TOOL = openai.pydantic_function_tool(Weather, name="get_weather")


def ask(directives: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"#sim {directives}\nTell me more."}]


@asynccontextmanager
async def open_sdk(served: Served, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=served.url, api_key=served.setup.key, max_retries=0, **options
    ) as client:
        yield client


async def test_a_stream(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.with_raw_response.create(
            model=model, messages=ask("tokens=50"), stream=True
        )
        chunks = [chunk async for chunk in answer.parse()]
        truth = served.setup.sim.truth.record(answer.headers["x-request-id"])
        assert truth is not None
        text = "".join(c.choices[0].delta.content or "" for c in chunks)
        assert text == truth.text
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert len({chunk.id for chunk in chunks}) == 1
        assert all(chunk.usage is None for chunk in chunks), "it was not asked for"


async def test_usage_comes_when_asked_for(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.chat.completions.create(
            model=model,
            messages=ask("tokens=50"),
            stream=True,
            stream_options={"include_usage": True},
        )
        usages = [chunk.usage async for chunk in stream if chunk.usage]
        [usage] = usages
        assert usage.completion_tokens == 50
        assert usage.prompt_tokens == one_truth(served).input_tokens


async def test_an_answer_in_one_piece(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.create(
            model=model, messages=ask("tokens=12 cached=3")
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 12
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 3
        [choice] = answer.choices
        assert choice.message.content == one_truth(served).text
        assert choice.finish_reason == "stop"


async def test_two_answers_in_one_piece(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.create(
            model="sim-openai", messages=ask("tokens=12"), n=2
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 24
        [truth] = served.setup.sim.truth.records()
        assert [choice.message.content for choice in answer.choices] == truth.choices
        with pytest.raises(openai.BadRequestError) as refusal:
            await client.chat.completions.create(
                model="sim-anthropic", messages=ask("tokens=12"), n=2
            )
        assert refusal.value.param == "n"


async def test_the_stream_helper(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        text = ""
        async with client.chat.completions.stream(model=model, messages=ask("tokens=30")) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    text += event.delta
            final = await stream.get_final_completion()
        assert text == final.choices[0].message.content == one_truth(served).text


async def test_the_synchronous_client(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:

        def talk() -> str:
            with OpenAI(base_url=served.url, api_key=served.setup.key) as client:
                stream = client.chat.completions.create(
                    model=model, messages=ask("tokens=20"), stream=True
                )
                return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

        text = await trio.to_thread.run_sync(talk)
        assert text == one_truth(served).text


class Forecast(BaseModel):
    """What `.parse()` is to fill."""

    city: str
    degrees: int


async def test_parsing_into_a_model(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.parse(
            model=model, messages=ask("tokens=200"), response_format=Forecast
        )
        forecast = answer.choices[0].message.parsed
        assert isinstance(forecast, Forecast)
        assert forecast.model_dump() == json.loads(one_truth(served).text)


async def test_parsing_the_arguments_of_a_call(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.parse(model=model, messages=ask(CALLS), tools=[TOOL])
        calls = answer.choices[0].message.tool_calls
        assert calls
        for call, made in zip(calls, one_truth(served).calls, strict=True):
            parsed = call.function.parsed_arguments
            assert isinstance(parsed, Weather)
            assert parsed.model_dump() == json.loads(made.arguments)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_tools_over_two_turns(tmp_path: Path, model: str, stream: bool) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:

        async def turn(messages: list[ChatCompletionMessageParam]) -> Any:
            if not stream:
                return await client.chat.completions.create(
                    model=model, messages=messages, tools=[TOOL]
                )
            async with client.chat.completions.stream(
                model=model, messages=messages, tools=[TOOL]
            ) as events:
                return await events.get_final_completion()

        messages = ask(CALLS)
        first = await turn(messages)
        message = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls"
        made = one_truth(served).calls
        assert [
            (call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls
        ] == [(call.name, json.loads(call.arguments)) for call in made]

        messages.append(message.to_dict())
        messages.extend(
            {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'}
            for call in message.tool_calls
        )
        second = await turn(messages)
        truth = served.setup.sim.truth.records()[-1]
        assert second.choices[0].finish_reason == "stop"
        assert second.choices[0].message.content == truth.text
        if model == "sim-gemini":
            assert truth.signatures == "verified"


async def test_reasoning(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.create(
            model=model, messages=ask(f"tokens=12 {REASONING}"), reasoning_effort="high"
        )
        truth = one_truth(served)
        assert answer.choices[0].message.content == truth.text
        assert answer.usage is not None
        details = answer.usage.completion_tokens_details
        if model == "sim-anthropic":  # it thinks within its output, and does not say how much
            assert answer.usage.completion_tokens > 12
        else:
            assert details is not None
            assert details.reasoning_tokens == truth.tokens_generated - 12


async def test_the_models(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        models = [model async for model in client.models.list()]
        assert ("sim-openai", "model") in [(model.id, model.object) for model in models]
        assert (await client.models.retrieve("sim-openai")).owned_by == "sim"


async def test_a_stream_that_breaks_raises(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.chat.completions.create(
            model=model,
            messages=ask("tokens=50 tokens_per_second=2000 cut_after=20 fault=cut"),
            stream=True,
        )
        words = []

        async def read() -> None:
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content)  # noqa: PERF401 - it ends by raising

        with pytest.raises(openai.APIError):
            await read()
        assert 0 < len(words) <= 22


REFUSALS: list[tuple[dict[str, Any], str, type[openai.APIStatusError]]] = [
    ({"api_key": "sk-parshall-wrong"}, "", openai.AuthenticationError),
    ({"model": "gpt-unknown"}, "", openai.NotFoundError),
    ({"n": 0}, "", openai.BadRequestError),
    ({}, "status=400", openai.BadRequestError),
    ({}, "status=500", openai.InternalServerError),
    ({}, "status=429 retry_after=0", openai.RateLimitError),
    ({}, "status=401", openai.InternalServerError),  # its key is left alone from then on
]


async def test_refusals_are_the_sdks_own_errors(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        for case in REFUSALS:
            changes, directives, error = case
            key = changes.get("api_key", served.setup.key)
            request: dict[str, Any] = {"model": model, "messages": ask(directives)} | changes
            request.pop("api_key", None)
            with pytest.raises(openai.APIStatusError) as refusal:
                await client.with_options(api_key=key).chat.completions.create(**request)
            assert type(refusal.value) is error, case
            assert refusal.value.request_id is not None, case
            assert refusal.value.request_id.startswith("req_"), case
            assert refusal.value.type is not None, case
