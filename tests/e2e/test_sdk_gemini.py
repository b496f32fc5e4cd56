"""Google's Python SDK, unmodified, over a real socket, to a provider of each protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from google import genai
from google.genai import errors, types

from tests.e2e.sdks import CALLS, REASONING, Weather, one_truth
from tests.served import Served, open_served

T = TypeVar("T")

TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="The weather.",
            parameters_json_schema=Weather.model_json_schema(),
        )
    ]
)


def ask(directives: str) -> str:
    return f"#sim {directives}\nTell me more."


def make_client(served: Served, **options: Any) -> genai.Client:
    return genai.Client(
        api_key=options.pop("api_key", served.setup.key),
        http_options=types.HttpOptions(base_url=served.origin, **options),
    )


async def talk(served: Served, use: Callable[[genai.Client], T], **options: Any) -> T:
    """Use the synchronous client, in a thread."""

    def run() -> T:
        with make_client(served, **options) as client:
            return use(client)

    return await trio.to_thread.run_sync(run)


def parts_of(answer: types.GenerateContentResponse) -> list[types.Part]:
    """The parts of the only candidate."""
    assert answer.candidates is not None
    [candidate] = answer.candidates
    assert candidate.content is not None
    return candidate.content.parts or []


def text_of(answers: list[types.GenerateContentResponse]) -> str:
    """The text of a stream's chunks, without thoughts."""
    return "".join(
        part.text or "" for answer in answers for part in parts_of(answer) if not part.thought
    )


@pytest.mark.parametrize("version", ["v1beta", "v1alpha", "v1"])
async def test_an_answer_in_one_piece(tmp_path: Path, model: str, version: str) -> None:
    async with open_served(tmp_path) as served:
        answer = await talk(
            served,
            lambda client: client.models.generate_content(
                model=model, contents=ask("tokens=12 cached=3")
            ),
            api_version=version,
        )
        truth = one_truth(served)
        assert answer.text == truth.text
        assert answer.candidates is not None
        assert answer.candidates[0].finish_reason == types.FinishReason.STOP
        usage = answer.usage_metadata
        assert usage is not None
        assert usage.candidates_token_count == 12
        assert usage.prompt_token_count == truth.input_tokens
        assert usage.cached_content_token_count == 3
        assert usage.total_token_count == truth.input_tokens + 12


async def test_a_stream(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:
        chunks = await talk(
            served,
            lambda client: list(
                client.models.generate_content_stream(model=model, contents=ask("tokens=50"))
            ),
        )
        assert text_of(chunks) == one_truth(served).text
        assert chunks[-1].candidates is not None
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
        assert chunks[-1].usage_metadata is not None
        assert chunks[-1].usage_metadata.candidates_token_count == 50


async def test_a_stream_as_a_json_array(tmp_path: Path, model: str) -> None:
    """The SDK asks for server-sent events; other clients of Google's API do not."""
    document = {"contents": [{"parts": [{"text": ask("tokens=50")}]}]}
    async with open_served(tmp_path) as served, served.http() as client:
        answer = await client.post(
            f"{served.origin}/v1beta/models/{model}:streamGenerateContent", json=document
        )
        chunks = [
            types.GenerateContentResponse._from_response(response=one, kwargs={})
            for one in answer.json()
        ]
        assert answer.headers["content-type"].startswith("application/json")
        assert text_of(chunks) == one_truth(served).text


async def test_the_asynchronous_client(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:

        async def talk_async() -> tuple[str, str]:
            async with make_client(served).aio as client:
                answer = await client.models.generate_content(
                    model=model, contents=ask("tokens=20")
                )
                stream = await client.models.generate_content_stream(
                    model=model, contents=ask("tokens=21")
                )
                return answer.text or "", text_of([chunk async for chunk in stream])

        texts = await trio.to_thread.run_sync(lambda: asyncio.run(talk_async()))
        assert list(texts) == [truth.text for truth in served.setup.sim.truth.records()]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_functions_over_two_turns(tmp_path: Path, model: str, stream: bool) -> None:
    async with open_served(tmp_path) as served:

        def turn(contents: list[types.Content]) -> types.Content:
            def use(client: genai.Client) -> list[types.GenerateContentResponse]:
                asked: Any = {
                    "model": model,
                    "contents": contents,
                    "config": {"tools": [TOOL], "automatic_function_calling": {"disable": True}},
                }
                if stream:
                    return list(client.models.generate_content_stream(**asked))
                return [client.models.generate_content(**asked)]

            with make_client(served) as client:
                parts = [part for answer in use(client) for part in parts_of(answer)]
            return types.Content(role="model", parts=parts)

        contents: list[types.Content] = [types.UserContent(ask(CALLS))]
        first = await trio.to_thread.run_sync(turn, contents)
        calls = [part.function_call for part in first.parts or [] if part.function_call]
        assert [(call.name, call.args) for call in calls] == [
            (call.name, json.loads(call.arguments)) for call in one_truth(served).calls
        ]
        results = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"degrees": 21}
                )
            )
            for call in calls
        ]
        contents += [first, types.Content(role="user", parts=results)]
        second = await trio.to_thread.run_sync(turn, contents)
        truth = served.setup.sim.truth.records()[-1]
        assert "".join(part.text or "" for part in second.parts or []) == truth.text
        if model == "sim-gemini":
            assert truth.signatures == "verified"


async def test_automatic_function_calling(tmp_path: Path, model: str) -> None:
    asked: list[tuple[str, int]] = []

    def get_weather(city: str, days: int) -> dict[str, int]:
        """The weather of a city."""
        asked.append((city, days))
        return {"degrees": 21}

    async with open_served(tmp_path) as served:
        answer = await talk(
            served,
            lambda client: client.models.generate_content(
                model=model,
                contents=ask(CALLS),
                config=types.GenerateContentConfig(tools=[get_weather]),
            ),
        )
        first, second = served.setup.sim.truth.records()
        made = [json.loads(call.arguments) for call in first.calls]
        assert asked == [(call["city"], call["days"]) for call in made]
        assert answer.text == second.text


async def test_a_chat_session(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:

        def use(client: genai.Client) -> tuple[str | None, str, int]:
            chat = client.chats.create(
                model=model, config=types.GenerateContentConfig(system_instruction="Be brief.")
            )
            first = chat.send_message(ask("tokens=9"))
            second = text_of(list(chat.send_message_stream(ask("tokens=11"))))
            return first.text, second, len(chat.get_history())

        first, second, turns = await talk(served, use)
        assert [first, second] == [truth.text for truth in served.setup.sim.truth.records()]
        assert turns >= 4


async def test_thoughts(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:
        answer = await talk(
            served,
            lambda client: client.models.generate_content(
                model=model,
                contents=ask(f"tokens=12 {REASONING}"),
                config=types.GenerateContentConfig(
                    thinking_config=types.ThinkingConfig(
                        include_thoughts=True, thinking_level=types.ThinkingLevel.HIGH
                    )
                ),
            ),
        )
        truth = one_truth(served)
        assert text_of([answer]) == truth.text
        thoughts = "".join(part.text or "" for part in parts_of(answer) if part.thought)
        if model != "sim-openai":  # OpenAI keeps its reasoning to itself
            assert thoughts == truth.reasoning != ""


async def test_json_by_a_schema(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:
        answer = await talk(
            served,
            lambda client: client.models.generate_content(
                model=model,
                contents=ask("tokens=12"),
                config=types.GenerateContentConfig(
                    response_mime_type="application/json", response_schema=Weather
                ),
            ),
        )
        assert isinstance(answer.parsed, Weather)
        assert answer.parsed.model_dump() == json.loads(one_truth(served).text)


async def test_counting_tokens(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:
        counted = await talk(
            served,
            lambda client: client.models.count_tokens(model=model, contents=ask("tokens=3")),
        )
        assert counted.total_tokens is not None
        assert 5 < counted.total_tokens < 200
        assert served.setup.sim.truth.records() == []
        assert await served.setup.balance() == 1_000_000_000


async def test_a_stream_that_breaks_raises(tmp_path: Path, model: str) -> None:
    async with open_served(tmp_path) as served:
        words: list[str] = []

        def use(client: genai.Client) -> None:
            for chunk in client.models.generate_content_stream(
                model=model,
                contents=ask("tokens=50 tokens_per_second=2000 cut_after=20 fault=cut"),
            ):
                words.append(chunk.text or "")  # noqa: PERF401 - it ends by raising

        with pytest.raises(errors.ServerError) as broken:
            await talk(served, use)
        assert broken.value.code == 502
        assert 0 < len(words) <= 21


REFUSALS: list[tuple[dict[str, Any], str, int, str]] = [
    ({"api_key": "sk-parshall-wrong"}, "", 401, "UNAUTHENTICATED"),
    ({"model": "gemini-unknown"}, "", 404, "NOT_FOUND"),
    ({}, "status=400", 400, "INVALID_ARGUMENT"),
    ({}, "status=500", 500, "INTERNAL"),
    ({}, "status=429 retry_after=0", 429, "RESOURCE_EXHAUSTED"),
    ({}, "status=401", 502, "UNAVAILABLE"),  # its key is left alone from then on
]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
async def test_refusals_are_the_sdks_own_errors(tmp_path: Path, model: str, stream: bool) -> None:
    async with open_served(tmp_path) as served:
        for case in REFUSALS:
            changes, directives, code, status = case
            key = changes.get("api_key", served.setup.key)
            request: dict[str, Any] = {"model": model, "contents": ask(directives)} | changes
            request.pop("api_key", None)

            def use(client: genai.Client, request: dict[str, Any] = request) -> None:
                if stream:
                    list(client.models.generate_content_stream(**request))
                else:
                    client.models.generate_content(**request)

            with pytest.raises(errors.APIError) as refusal:
                await talk(served, use, api_key=key)
            assert (refusal.value.code, refusal.value.status) == (code, status), case
            assert refusal.value.message, case
