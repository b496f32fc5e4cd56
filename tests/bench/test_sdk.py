"""The official SDK, unmodified, against the simulated provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import openai
import pytest
import trio
from openai.types.chat import ChatCompletionUserMessageParam

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.peer import PATIENCE_S

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
