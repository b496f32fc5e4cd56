"""OpenAI's Python SDK, unmodified, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.served import Served, open_served

# The SDK stops reading at `[DONE]` and leaves its generators to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def ask(directives: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"#sim {directives}\nTell me more."}]


@asynccontextmanager
async def open_sdk(served: Served, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=served.url, api_key=served.setup.key, max_retries=0, **options
    ) as client:
        yield client


async def test_a_stream(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="sim-openai", messages=ask("tokens=50"), stream=True
        )
        chunks = [chunk async for chunk in answer.parse()]
        truth = served.setup.sim.truth.record(answer.headers["x-request-id"])
        assert truth is not None
        text = "".join(c.choices[0].delta.content or "" for c in chunks)
        assert text == truth.text
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(chunk.usage is None for chunk in chunks), "it was not asked for"


async def test_usage_comes_when_asked_for(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.chat.completions.create(
            model="sim-openai",
            messages=ask("tokens=50"),
            stream=True,
            stream_options={"include_usage": True},
        )
        usages = [chunk.usage async for chunk in stream if chunk.usage]
        [usage] = usages
        assert usage.completion_tokens == 50


async def test_an_answer_in_one_piece(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        answer = await client.chat.completions.create(
            model="sim-openai", messages=ask("tokens=12"), n=2
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 24
        [truth] = served.setup.sim.truth.records()
        assert [choice.message.content for choice in answer.choices] == truth.choices


async def test_the_synchronous_client(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:

        def talk() -> str:
            with OpenAI(base_url=served.url, api_key=served.setup.key) as client:
                stream = client.chat.completions.create(
                    model="sim-openai", messages=ask("tokens=20"), stream=True
                )
                return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

        text = await trio.to_thread.run_sync(talk)
        [truth] = served.setup.sim.truth.records()
        assert text == truth.text


async def test_the_models(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        models = [model async for model in client.models.list()]
        assert ("sim-openai", "model") in [(model.id, model.object) for model in models]
        assert (await client.models.retrieve("sim-openai")).owned_by == "sim"


async def test_a_stream_that_breaks_raises(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        stream = await client.chat.completions.create(
            model="sim-openai",
            messages=ask("tokens=50 tokens_per_second=2000 cut_after=20 fault=cut"),
            stream=True,
        )
        words = []

        async def read() -> None:
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content)  # noqa: PERF401 - it ends by raising

        with pytest.raises(openai.APIError):
            await read()
        assert 0 < len(words) <= 21


@pytest.mark.parametrize(
    ("options", "directives", "error"),
    [
        ({"api_key": "sk-parshall-wrong"}, "", openai.AuthenticationError),
        ({"model": "gpt-unknown"}, "", openai.NotFoundError),
        ({"n": 0}, "", openai.BadRequestError),
        ({}, "status=429", openai.RateLimitError),
        ({}, "status=500", openai.InternalServerError),
    ],
)
async def test_refusals_are_the_sdks_own_errors(
    tmp_path: Path, options: dict[str, Any], directives: str, error: type[openai.APIError]
) -> None:
    options = dict(options)
    async with open_served(tmp_path) as served, open_sdk(served) as client:
        other = client.with_options(api_key=options.pop("api_key", served.setup.key))
        request: dict[str, Any] = {"model": "sim-openai", "messages": ask(directives)} | options
        with pytest.raises(error):
            await other.chat.completions.create(**request)
