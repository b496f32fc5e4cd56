"""Google's SDK, unmodified, against the simulated provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import pytest
import trio
from google import genai
from google.genai import errors, types

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.talks import NOW_SCHEMA, WEATHER_SCHEMA

T = TypeVar("T")
SETTINGS = SimulatorSettings(api_keys=frozenset({"k-test"}))
MODEL = "sim-gemini"
DECLARED = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER_SCHEMA),
        types.FunctionDeclaration(name="now", parameters_json_schema=NOW_SCHEMA),
    ]
)


async def with_sdk(
    work: Callable[[genai.Client], T], api_key: str = "k-test"
) -> tuple[T, Simulator]:
    """Run blocking SDK code in a thread."""
    async with open_simulator(SETTINGS) as simulator:

        def run() -> T:
            options = types.HttpOptions(base_url=simulator.base_url, timeout=20_000)
            with genai.Client(api_key=api_key, http_options=options) as client:
                return work(client)

        return await trio.to_thread.run_sync(run), simulator


def user(directives: str) -> str:
    return f"#sim {directives}\nTell me about rivers."


async def test_streams() -> None:
    def work(client: genai.Client) -> tuple[str, list[Any]]:
        chunks = list(
            client.models.generate_content_stream(
                model=MODEL, contents=user("tokens=40 tokens_per_event=3")
            )
        )
        return "".join(chunk.text or "" for chunk in chunks), chunks

    (text, chunks), simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert text == record.text
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count == 40


async def test_does_not_stream() -> None:
    def work(client: genai.Client) -> Any:
        config = types.GenerateContentConfig(max_output_tokens=7)
        return client.models.generate_content(
            model=MODEL, contents=user("tokens=40"), config=config
        )

    answer, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert answer.text == record.text
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.total_token_count == record.input_tokens + 7


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ids", [0, 1])
async def test_tools_in_a_chat(stream: bool, ids: int) -> None:
    config = types.GenerateContentConfig(
        tools=[DECLARED],
        thinking_config=types.ThinkingConfig(include_thoughts=True),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )

    def send(chat: Any, message: Any) -> list[Any]:
        answers = chat.send_message_stream(message) if stream else [chat.send_message(message)]
        return [part for answer in answers for part in answer.candidates[0].content.parts]

    def work(client: genai.Client) -> list[list[Any]]:
        chat = client.chats.create(model=MODEL, config=config)
        turns = [send(chat, user(f"tools=auto steps=2 reasoning=4 tokens=5 ids={ids}"))]
        for _ in range(2):
            calls = [part.function_call for part in turns[-1] if part.function_call]
            results = []
            for call in calls:
                part = types.Part.from_function_response(name=call.name, response={"result": 1})
                assert part.function_response is not None
                part.function_response.id = call.id
                results.append(part)
            turns.append(send(chat, results))
        return turns

    turns, simulator = await with_sdk(work)
    records = simulator.truth.records()
    for parts, record in zip(turns, records, strict=True):
        calls = [part for part in parts if part.function_call]
        assert [(part.function_call.name, part.function_call.args or {}) for part in calls] == [
            (call.name, orjson.loads(call.arguments)) for call in record.calls
        ]
        assert [bool(part.thought_signature) for part in calls] == [True, False][: len(calls)]
        assert "".join(part.text for part in parts if part.thought) == record.reasoning
    assert [len(record.calls) for record in records] == [2, 2, 0]
    assert [record.signatures for record in records] == [None, "verified", "verified"]


async def test_functions_called_by_the_sdk_itself() -> None:
    asked: list[str] = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "sunny"

    def work(client: genai.Client) -> Any:
        config = types.GenerateContentConfig(tools=[get_weather])
        return client.models.generate_content(
            model=MODEL, contents=user("tools=auto tokens=5"), config=config
        )

    answer, simulator = await with_sdk(work)
    first, second = simulator.truth.records()
    assert [orjson.loads(call.arguments) for call in first.calls] == [{"city": asked[0]}]
    assert answer.text == second.text


async def test_structured_output() -> None:
    def work(client: genai.Client) -> Any:
        config = types.GenerateContentConfig(
            response_mime_type="application/json", response_json_schema=WEATHER_SCHEMA
        )
        return client.models.generate_content(model=MODEL, contents=user(""), config=config)

    answer, _ = await with_sdk(work)
    assert set(orjson.loads(answer.text)) == {"city", "days", "unit"}


async def test_models_and_counts() -> None:
    def work(client: genai.Client) -> tuple[list[str | None], str | None, int | None]:
        counted = client.models.count_tokens(model=MODEL, contents=user("tokens=1"))
        listed = [model.name for model in client.models.list()]
        return listed, client.models.get(model=MODEL).name, counted.total_tokens

    (listed, one, counted), _ = await with_sdk(work)
    assert (listed, one) == ([f"models/{MODEL}"], f"models/{MODEL}")
    assert counted is not None
    assert counted > 10


@pytest.mark.parametrize(
    ("directives", "error", "code"),
    [
        ("status=429", errors.ClientError, 429),
        ("status=500", errors.ServerError, 500),
        ("tokens=10 fault=error_event", errors.ServerError, 503),
        ("tokens=10 fault=error_bare", errors.ServerError, 503),
        ("tokens=-1", errors.ClientError, 400),
    ],
)
async def test_errors_are_the_sdks_own(
    directives: str, error: type[errors.APIError], code: int
) -> None:
    def work(client: genai.Client) -> errors.APIError:
        with pytest.raises(error) as caught:
            list(client.models.generate_content_stream(model=MODEL, contents=user(directives)))
        return caught.value

    caught, simulator = await with_sdk(work)
    assert (caught.code, bool(caught.message)) == (code, True)
    assert simulator.truth.records()[0].ended == "error"


async def test_a_wrong_key_and_an_unknown_model() -> None:
    def work(client: genai.Client) -> tuple[int, str | None]:
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model="other", contents=user("tokens=1"))
        return caught.value.code, caught.value.status

    assert (await with_sdk(work, "wrong"))[0] == (400, "INVALID_ARGUMENT")
    assert (await with_sdk(work))[0] == (404, "NOT_FOUND")
