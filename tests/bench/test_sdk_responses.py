"""OpenAI's SDK, unmodified, in its Responses API against the simulated provider."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
import pytest

from tests.bench.talks import NOW_SCHEMA, WEATHER_SCHEMA
from tests.bench.test_sdk import with_sdk

TOOLS: Any = [
    {"type": "function", "name": name, "parameters": schema, "strict": False}
    for name, schema in (("get_weather", WEATHER_SCHEMA), ("now", NOW_SCHEMA))
]


def asked(directives: str) -> str:
    return f"#sim {directives}\nTell me about rivers."


async def test_streams() -> None:
    def work(client: openai.OpenAI) -> tuple[str, Any]:
        pieces: list[str] = []
        final: Any = None
        for event in client.responses.create(
            model="sim-openai", input=asked("tokens=40 tokens_per_event=3"), stream=True
        ):
            if event.type == "response.output_text.delta":
                pieces.append(event.delta)
            elif event.type == "response.completed":
                final = event.response
        return "".join(pieces), final

    (text, final), simulator = await with_sdk(work)
    record = simulator.truth.records()[0]
    assert text == final.output_text == record.text
    assert (final.status, final.usage.output_tokens) == ("completed", 40)
    assert record.tokens_written == 40
    assert record.api == "openai-responses"


async def test_does_not_stream() -> None:
    def work(client: openai.OpenAI) -> Any:
        return client.responses.create(
            model="sim-openai",
            input=[{"role": "user", "content": asked("tokens=40")}],
            instructions="Be brief.",
            max_output_tokens=17,
            metadata={"a": "b"},
        )

    answer, simulator = await with_sdk(work)
    record = simulator.truth.records()[0]
    assert (answer.output_text, answer.status) == (record.text, "incomplete")
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.total_tokens == record.input_tokens + 17
    assert (answer.instructions, answer.metadata) == ("Be brief.", {"a": "b"})
    assert answer._request_id == record.provider_request_id


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_tools_and_reasoning_in_several_turns(stream: bool, stored: bool) -> None:
    options: Any = {"model": "sim-openai", "tools": TOOLS, "reasoning": {"summary": "auto"}}
    if not stored:
        options |= {"store": False, "include": ["reasoning.encrypted_content"]}

    def turn(client: openai.OpenAI, items: Any) -> Any:
        if not stream:
            return client.responses.create(input=items, **options)
        with client.responses.stream(input=items, **options) as events:
            for _ in events:
                pass
            return events.get_final_response()

    def work(client: openai.OpenAI) -> list[Any]:
        wish = asked("tools=auto steps=2 reasoning=9 summary_parts=2 interleave=1 tokens=5")
        items: list[Any] = [{"role": "user", "content": wish}]
        answers = []
        for _ in range(3):
            answers.append(turn(client, items))
            items += answers[-1].output
            items += [
                {"type": "function_call_output", "call_id": item.call_id, "output": "12"}
                for item in answers[-1].output
                if item.type == "function_call"
            ]
        return answers

    answers, simulator = await with_sdk(work)
    records = simulator.truth.records()
    for answer, record in zip(answers, records, strict=True):
        thought, *rest = answer.output
        assert "".join(part.text for part in thought.summary) == record.reasoning
        assert len(thought.summary) == 2
        assert (thought.encrypted_content is None) == stored
        calls = [item for item in rest if item.type == "function_call"]
        assert [(call.call_id, call.name, call.arguments) for call in calls] == [
            (call.call_id, call.name, call.arguments) for call in record.calls
        ]
        assert answer.usage.output_tokens_details.reasoning_tokens == 9
    assert [len(record.calls) for record in records] == [2, 2, 0]
    assert answers[2].output_text == records[2].text
    verified = None if stored else "verified"
    assert [record.signatures for record in records] == [None, verified, verified]


async def test_parses_a_model() -> None:
    class River(pydantic.BaseModel):
        name: str
        length_km: int

    def work(client: openai.OpenAI) -> Any:
        parsed = client.responses.parse(model="sim-openai", input=asked(""), text_format=River)
        with client.responses.stream(
            model="sim-openai", input=asked(""), text_format=River
        ) as events:
            for _ in events:
                pass
            return parsed.output_parsed, events.get_final_response().output_parsed

    rivers, simulator = await with_sdk(work)
    for river, record in zip(rivers, simulator.truth.records(), strict=True):
        assert isinstance(river, River)
        assert River.model_validate_json(record.text) == river


@pytest.mark.parametrize(
    ("directives", "error"),
    [
        ("status=429", openai.RateLimitError),
        ("status=500", openai.InternalServerError),
        ("tokens=10 fault=error_event", openai.APIError),
        ("tokens=-1", openai.BadRequestError),
        ("refuse=prompt", openai.BadRequestError),
    ],
)
async def test_errors_are_the_sdks_own(directives: str, error: type[openai.APIError]) -> None:
    def work(client: openai.OpenAI) -> openai.APIError:
        with pytest.raises(error) as caught:
            for _ in client.responses.create(
                model="sim-openai", input=asked(directives), stream=True
            ):
                pass
        return caught.value

    caught, simulator = await with_sdk(work)
    assert caught.message
    assert simulator.truth.records()[0].ended == "error"


async def test_a_wrong_key_and_an_unknown_model() -> None:
    def work(client: openai.OpenAI) -> type[Exception]:
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(model="other", input=asked("tokens=1"))
        return caught.type

    assert (await with_sdk(work, "sk-wrong"))[0] is openai.AuthenticationError
    assert (await with_sdk(work))[0] is openai.BadRequestError


async def test_counts_tokens() -> None:
    def work(client: openai.OpenAI) -> tuple[int, Any]:
        counted = client.responses.input_tokens.count(
            model="sim-openai", input=asked("tokens=1"), tools=TOOLS, instructions="Be brief."
        )
        answer = client.responses.create(
            model="sim-openai", input=asked("tokens=1"), tools=TOOLS, instructions="Be brief."
        )
        return counted.input_tokens, answer

    (tokens, answer), simulator = await with_sdk(work)
    assert tokens == answer.usage.input_tokens
    assert len(simulator.truth.records()) == 1
