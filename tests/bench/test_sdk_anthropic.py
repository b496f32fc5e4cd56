"""Anthropic's SDK, unmodified, against the simulated provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anthropic
import orjson
import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.peer import PATIENCE_S
from tests.bench.talks import NOW_SCHEMA, WEATHER_SCHEMA

T = TypeVar("T")
SETTINGS = SimulatorSettings(api_keys=frozenset({"sk-test"}))
TOOLS: Any = [
    {"name": "get_weather", "input_schema": WEATHER_SCHEMA},
    {"name": "now", "input_schema": NOW_SCHEMA},
]
MODEL = "sim-anthropic"


async def with_sdk(
    work: Callable[[anthropic.Anthropic], T], api_key: str = "sk-test"
) -> tuple[T, Simulator]:
    """Run blocking SDK code in a thread."""
    async with open_simulator(SETTINGS) as simulator:

        def run() -> T:
            with anthropic.Anthropic(
                api_key=api_key, base_url=simulator.base_url, max_retries=0, timeout=PATIENCE_S
            ) as client:
                return work(client)

        return await trio.to_thread.run_sync(run), simulator


def user(directives: str) -> Any:
    return [{"role": "user", "content": f"#sim {directives}\nTell me about rivers."}]


async def test_streams() -> None:
    def work(client: anthropic.Anthropic) -> tuple[str, Any]:
        with client.messages.stream(
            model=MODEL, max_tokens=100, messages=user("tokens=40 tokens_per_event=3")
        ) as stream:
            return "".join(stream.text_stream), stream.get_final_message()

    (text, message), simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert text == record.text == message.content[0].text
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 40)
    assert message.usage.input_tokens == record.input_tokens


async def test_does_not_stream() -> None:
    def work(client: anthropic.Anthropic) -> Any:
        return client.messages.create(model=MODEL, max_tokens=7, messages=user("tokens=40"))

    message, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert (message.content[0].text, message.stop_reason) == (record.text, "max_tokens")
    assert message._request_id == record.provider_request_id


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("think", [False, True])
async def test_tools_in_several_turns(stream: bool, think: bool) -> None:
    def turn(client: anthropic.Anthropic, messages: Any) -> Any:
        options: dict[str, Any] = {"model": MODEL, "max_tokens": 4_000, "tools": TOOLS}
        if think:
            options["thinking"] = {"type": "enabled", "budget_tokens": 2_000}
        if not stream:
            return client.messages.create(messages=messages, **options)
        with client.messages.stream(messages=messages, **options) as events:
            return events.get_final_message()

    def work(client: anthropic.Anthropic) -> list[Any]:
        messages, answers = user("tools=auto steps=2 reasoning=4 preamble=3 tokens=5"), []
        for _ in range(3):
            answers.append(turn(client, messages))
            messages.append({"role": "assistant", "content": answers[-1].content})
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "12"}
                for block in answers[-1].content
                if block.type == "tool_use"
            ]
            messages.append({"role": "user", "content": results})
        return answers

    answers, simulator = await with_sdk(work)
    records = simulator.truth.records()
    assert [answer.stop_reason for answer in answers] == ["tool_use", "tool_use", "end_turn"]
    opening = ["thinking"] if think else []
    assert [[block.type for block in answer.content] for answer in answers] == [
        [*opening, "text", "tool_use", "tool_use"],
        [*opening, "text", "tool_use", "tool_use"],
        [*opening, "text"],
    ]
    for answer, record in zip(answers, records, strict=True):
        calls = [block for block in answer.content if block.type == "tool_use"]
        assert [(call.id, call.name, call.input) for call in calls] == [
            (call.call_id, call.name, orjson.loads(call.arguments)) for call in record.calls
        ]
        assert answer.usage.output_tokens == record.tokens_generated
    signed = "verified" if think else None
    assert [record.signatures for record in records] == [None, signed, signed]


async def test_structured_output() -> None:
    def work(client: anthropic.Anthropic) -> Any:
        config: Any = {"format": {"type": "json_schema", "schema": WEATHER_SCHEMA}}
        return client.messages.create(
            model=MODEL, max_tokens=500, messages=user(""), output_config=config
        )

    message, _ = await with_sdk(work)
    assert set(orjson.loads(message.content[0].text)) == {"city", "days", "unit"}


async def test_models_and_counts() -> None:
    def work(client: anthropic.Anthropic) -> tuple[list[str], str, int]:
        counted = client.messages.count_tokens(model=MODEL, messages=user("tokens=1"))
        listed = [model.id for model in client.models.list()]
        return listed, client.models.retrieve(MODEL).id, counted.input_tokens

    (listed, one, counted), _ = await with_sdk(work)
    assert (listed, one) == ([MODEL], MODEL)
    assert counted > 10


@pytest.mark.parametrize(
    ("directives", "error"),
    [
        ("status=429", anthropic.RateLimitError),
        ("status=500", anthropic.InternalServerError),
        ("status=529", anthropic.OverloadedError),
        ("tokens=10 fault=error_event", anthropic.APIStatusError),
        ("tokens=-1", anthropic.BadRequestError),
    ],
)
async def test_errors_are_the_sdks_own(
    directives: str, error: type[anthropic.APIStatusError]
) -> None:
    def work(client: anthropic.Anthropic) -> anthropic.APIStatusError:
        with (
            pytest.raises(error) as caught,
            client.messages.stream(
                model=MODEL, max_tokens=100, messages=user(directives)
            ) as stream,
        ):
            stream.until_done()
        return caught.value

    caught, simulator = await with_sdk(work)
    assert isinstance(caught.body, dict)
    assert caught.body["type"] == "error"
    assert simulator.truth.records()[0].ended == "error"


async def test_a_wrong_key_and_an_unknown_model() -> None:
    def work(client: anthropic.Anthropic) -> type[Exception]:
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(model="other", max_tokens=1, messages=user("tokens=1"))
        return caught.type

    assert (await with_sdk(work, "sk-wrong"))[0] is anthropic.AuthenticationError
    assert (await with_sdk(work))[0] is anthropic.NotFoundError
