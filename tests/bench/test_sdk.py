"""OpenAI's SDK, unmodified, against the simulated provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import openai
import pydantic
import pytest
import trio
from openai.types.chat import ChatCompletionUserMessageParam

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.peer import PATIENCE_S
from tests.bench.talks import NOW_SCHEMA, WEATHER_SCHEMA

T = TypeVar("T")
SETTINGS = SimulatorSettings(api_keys=frozenset({"sk-test"}))


@contextmanager
def open_sdk(simulator: Simulator, api_key: str = "sk-test") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key=api_key,
        base_url=f"{simulator.base_url}/v1",
        max_retries=0,
        timeout=PATIENCE_S,
        default_headers={"x-request-id": "one"},
    ) as client:
        yield client


async def with_sdk(
    work: Callable[[openai.OpenAI], T], api_key: str = "sk-test"
) -> tuple[T, Simulator]:
    """Run blocking SDK code in a thread."""
    async with open_simulator(SETTINGS) as simulator:

        def run() -> T:
            with open_sdk(simulator, api_key) as client:
                return work(client)

        result = await trio.to_thread.run_sync(run)
        if simulator.truth.records():
            await simulator.truth.wait_ended("one")
        return result, simulator


def user(directives: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": f"#sim {directives}\nTell me about rivers."}]


async def test_streams() -> None:
    def work(client: openai.OpenAI) -> tuple[str, list[str | None], int | None]:
        pieces: list[str] = []
        reasons: list[str | None] = []
        tokens: int | None = None
        for chunk in client.chat.completions.create(
            model="sim-openai",
            messages=user("tokens=40 tokens_per_event=3 tokens_per_second=500"),
            stream=True,
            stream_options={"include_usage": True},
        ):
            if chunk.usage is not None:
                tokens = chunk.usage.completion_tokens
            for choice in chunk.choices:
                pieces.append(choice.delta.content or "")
                reasons.append(choice.finish_reason)
        return "".join(pieces), reasons, tokens

    (text, reasons, tokens), simulator = await with_sdk(work)
    record = simulator.truth.records()[0]
    assert text == record.text
    assert reasons[-1] == "stop"
    assert tokens == 40 == record.tokens_written


async def test_does_not_stream() -> None:
    def work(client: openai.OpenAI) -> tuple[str | None, str, int, str | None]:
        answer = client.chat.completions.create(
            model="sim-openai", messages=user("tokens=40"), max_completion_tokens=7
        )
        assert answer.usage is not None
        choice = answer.choices[0]
        return (
            choice.message.content,
            choice.finish_reason,
            answer.usage.total_tokens,
            answer._request_id,
        )

    (text, reason, total, request_id), simulator = await with_sdk(work)
    record = simulator.truth.records()[0]
    assert (text, reason, total) == (record.text, "length", record.input_tokens + 7)
    assert request_id == record.provider_request_id


async def test_lists_models() -> None:
    models, _ = await with_sdk(lambda client: [model.id for model in client.models.list()])
    assert models == ["sim-openai"]


@pytest.mark.parametrize(
    ("directives", "error"),
    [
        ("status=429", openai.RateLimitError),
        ("status=500", openai.InternalServerError),
        ("status=529", openai.InternalServerError),
        ("tokens=10 fault=error_event", openai.APIError),
        ("tokens=-1", openai.BadRequestError),
    ],
)
async def test_errors_are_the_sdks_own(directives: str, error: type[openai.APIError]) -> None:
    def work(client: openai.OpenAI) -> openai.APIError:
        with pytest.raises(error) as caught:
            for _ in client.chat.completions.create(
                model="sim-openai", messages=user(directives), stream=True
            ):
                pass
        return caught.value

    caught, simulator = await with_sdk(work)
    assert caught.message
    assert simulator.truth.records()[0].ended == "error"


async def test_a_wrong_key_and_an_unknown_model() -> None:
    def work(client: openai.OpenAI) -> type[Exception]:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="other", messages=user("tokens=1"))
        return caught.type

    assert (await with_sdk(work, "sk-wrong"))[0] is openai.AuthenticationError
    assert (await with_sdk(work))[0] is openai.NotFoundError


async def test_closing_a_stream_early_is_a_reset() -> None:
    def work(client: openai.OpenAI) -> None:
        stream = client.chat.completions.create(
            model="sim-openai", messages=user("tokens=100000 tokens_per_second=200"), stream=True
        )
        for _ in range(5):
            next(stream)
        stream.close()

    _, simulator = await with_sdk(work)
    record = simulator.truth.records()[0]
    assert record.ended == "reset"
    assert 4 <= record.tokens_written <= record.tokens_generated < 100_000


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_in_several_turns(stream: bool) -> None:
    tools: Any = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name, schema in (("get_weather", WEATHER_SCHEMA), ("now", NOW_SCHEMA))
    ]

    def turn(client: openai.OpenAI, messages: Any) -> Any:
        options: Any = {"model": "sim-openai", "tools": tools, "reasoning_effort": "low"}
        if not stream:
            return client.chat.completions.create(messages=messages, **options)
        with client.chat.completions.stream(messages=messages, **options) as events:
            return events.get_final_completion()

    def work(client: openai.OpenAI) -> list[Any]:
        messages: list[Any] = list(user("tools=auto steps=2 interleave=1 reasoning=4 tokens=5"))
        answers = []
        for _ in range(3):
            answers.append(turn(client, messages).choices[0])
            messages.append(answers[-1].message)
            messages.extend(
                {"role": "tool", "tool_call_id": call.id, "content": "12"}
                for call in answers[-1].message.tool_calls or ()
            )
        return answers

    answers, simulator = await with_sdk(work)
    records = simulator.truth.records()
    assert [answer.finish_reason for answer in answers] == ["tool_calls", "tool_calls", "stop"]
    for answer, record in zip(answers, records, strict=True):
        calls = answer.message.tool_calls or ()
        assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [
            (call.call_id, call.name, call.arguments) for call in record.calls
        ]
    assert [len(record.calls) for record in records] == [2, 2, 0]
    assert answers[2].message.content == records[2].text


async def test_parses_a_model() -> None:
    class River(pydantic.BaseModel):
        name: str
        length_km: int

    def work(client: openai.OpenAI) -> Any:
        return client.chat.completions.parse(
            model="sim-openai", messages=user(""), response_format=River
        )

    completion, simulator = await with_sdk(work)
    parsed = completion.choices[0].message.parsed
    assert isinstance(parsed, River)
    assert River.model_validate_json(simulator.truth.records()[0].text) == parsed
