"""Anthropic's SDK for Bedrock, unmodified, against the simulated provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anthropic
import pytest
import trio
from anthropic import AnthropicBedrock
from botocore.eventstream import ChecksumMismatch

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from bench.simulate.aws_signature import AwsKey
from tests.bench.peer import PATIENCE_S
from tests.bench.talks import NOW_SCHEMA, WEATHER_SCHEMA

T = TypeVar("T")
MODEL = "anthropic.sim-anthropic-v1:0"
SETTINGS = SimulatorSettings(
    api_keys=frozenset({"AKIDEXAMPLE", "ASIAEXAMPLE", "bedrock-api-key"}),
    aws_keys={"AKIDEXAMPLE": AwsKey("secret"), "ASIAEXAMPLE": AwsKey("secret-too", "the-token")},
)
TOOLS: Any = [
    {"name": "get_weather", "input_schema": WEATHER_SCHEMA},
    {"name": "now", "input_schema": NOW_SCHEMA},
]
KEYS: list[dict[str, str]] = [
    {"aws_access_key": "AKIDEXAMPLE", "aws_secret_key": "secret"},
    {
        "aws_access_key": "ASIAEXAMPLE",
        "aws_secret_key": "secret-too",
        "aws_session_token": "the-token",
    },
    {"api_key": "bedrock-api-key"},
]


@contextmanager
def open_client(simulator: Simulator, **keys: str) -> Iterator[AnthropicBedrock]:
    options: Any = {"aws_region": "us-east-1"} | keys
    with AnthropicBedrock(
        base_url=simulator.base_url, max_retries=0, timeout=PATIENCE_S, **options
    ) as client:
        yield client


async def with_sdk(work: Callable[[AnthropicBedrock], T], **keys: str) -> tuple[T, Simulator]:
    """Run blocking SDK code in a thread."""
    async with open_simulator(SETTINGS) as simulator:

        def run() -> T:
            with open_client(simulator, **(keys or KEYS[0])) as client:
                return work(client)

        return await trio.to_thread.run_sync(run), simulator


def user(directives: str) -> Any:
    return [{"role": "user", "content": f"#sim {directives}\nTell me about rivers."}]


@pytest.mark.parametrize("keys", KEYS, ids=["key", "session", "api-key"])
async def test_streams(keys: dict[str, str]) -> None:
    def work(client: AnthropicBedrock) -> tuple[str, Any]:
        with client.messages.stream(
            model=MODEL, max_tokens=100, messages=user("tokens=40 tokens_per_event=3")
        ) as stream:
            return "".join(stream.text_stream), stream.get_final_message()

    (text, message), simulator = await with_sdk(work, **keys)
    [record] = simulator.truth.records()
    assert text == record.text == message.content[0].text
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 40)
    assert message.usage.input_tokens == record.input_tokens
    assert record.api == "bedrock"


async def test_tools_and_thinking_in_two_turns() -> None:
    def turn(client: AnthropicBedrock, messages: Any) -> Any:
        with client.messages.stream(
            model=MODEL,
            max_tokens=4_000,
            tools=TOOLS,
            thinking={"type": "enabled", "budget_tokens": 2_000},
            messages=messages,
        ) as events:
            return events.get_final_message()

    def work(client: AnthropicBedrock) -> tuple[Any, Any]:
        messages = user("tools=get_weather,now reasoning=10")
        first = turn(client, messages)
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "21"}
            for block in first.content
            if block.type == "tool_use"
        ]
        messages += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results},
        ]
        return first, turn(client, messages)

    (first, second), simulator = await with_sdk(work)
    kinds = [block.type for block in first.content]
    assert kinds == ["thinking", "tool_use", "tool_use"]
    assert second.stop_reason == "end_turn"
    assert simulator.truth.records()[1].signatures == "verified"


async def test_an_answer_in_one_piece_and_its_betas() -> None:
    def work(client: AnthropicBedrock) -> Any:
        beta: Any = client.beta  # whose messages are typed as another class's
        return beta.messages.create(
            model=MODEL, max_tokens=7, messages=user("tokens=40"), betas=["one", "two"]
        )

    message, simulator = await with_sdk(work)
    [record] = simulator.truth.records()
    assert (message.content[0].text, message.stop_reason) == (record.text, "max_tokens")
    assert record.request["anthropic_version"] == "bedrock-2023-05-31"
    assert record.request["anthropic_beta"] == ["one", "two"]
    assert not {"model", "stream"} & record.request.keys()


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"aws_access_key": "AKIDEXAMPLE", "aws_secret_key": "wrong"}, "does not match"),
        ({"aws_access_key": "AKIDOTHER", "aws_secret_key": "secret"}, "security token"),
        (KEYS[0] | {"aws_region": "eu-west-1"}, "valid region"),
        ({"api_key": "another"}, "Invalid API Key"),
    ],
)
async def test_keys_that_are_refused(keys: dict[str, str], error: str) -> None:
    def work(client: AnthropicBedrock) -> None:
        with pytest.raises(anthropic.PermissionDeniedError, match=error):
            client.messages.create(model=MODEL, max_tokens=7, messages=user(""))

    await with_sdk(work, **keys)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
    ],
)
async def test_errors_by_status(status: int, error: type[anthropic.APIStatusError]) -> None:
    def work(client: AnthropicBedrock) -> None:
        with pytest.raises(error) as refusal:
            client.messages.create(model=MODEL, max_tokens=7, messages=user(f"status={status}"))
        assert refusal.value.response.headers["x-amzn-errortype"].endswith("/com.amazon.bedrock/")
        assert isinstance(refusal.value.body, dict)
        assert list(refusal.value.body) == ["message"]

    await with_sdk(work)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("error_event", ValueError, "throttlingException"),
        ("error_event exception=modelStreamErrorException", ValueError, "modelStreamError"),
        ("error_bare", ValueError, "InternalError"),
        ("corrupt", ChecksumMismatch, "Checksum mismatch"),
        ("oversized", Exception, "32"),
    ],
)
async def test_streams_that_fail(fault: str, error: type[Exception], message: str) -> None:
    def work(client: AnthropicBedrock) -> int:
        events = client.messages.create(
            model=MODEL,
            max_tokens=100,
            messages=user(f"tokens=40 cut_after=9 fault={fault}"),
            stream=True,
        )
        kinds: list[str] = []
        with pytest.raises(error, match=message):
            kinds.extend(event.type for event in events)
        return kinds.count("content_block_delta")

    deltas, _ = await with_sdk(work)
    assert deltas == 9
