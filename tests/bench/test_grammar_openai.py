"""Reasoning, calls and refusals in a chat stream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received
from tests.bench.talks import ask, openai_events


async def said(directives: str, **more: Any) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await ask("openai", directives, **more).send(simulator)
        [record] = simulator.truth.records()
        return received, record


def deltas(received: Received) -> list[dict[str, Any]]:
    events = openai_events(received.body)
    return [choice["delta"] for event in events for choice in event["choices"]]


async def test_reasoning_comes_first_when_it_was_asked_for() -> None:
    received, record = await said("reasoning=3 tokens=2", think=True)
    found = [(key, value) for d in deltas(received) for key, value in d.items() if value]
    assert [key for key, _ in found] == [
        "role",
        *["reasoning_content"] * 3,
        *["content"] * 2,
    ]
    assert "".join(v for k, v in found if k == "reasoning_content") == record.reasoning
    usage = openai_events(received.body)[-1]["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 3
    assert usage["completion_tokens"] == record.tokens_generated == 5


async def test_reasoning_nobody_asked_for_is_counted_only() -> None:
    received, record = await said("reasoning=3 tokens=2")
    assert not any("reasoning_content" in delta for delta in deltas(received))
    assert record.tokens_written == 5


def calls_of(received: Received) -> dict[int, dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas(received):
        for piece in delta.get("tool_calls", ()):
            call = calls.setdefault(piece["index"], {"arguments": ""})
            if "id" in piece:
                assert piece["type"] == "function"
                call |= {"id": piece["id"], "name": piece["function"]["name"]}
                assert piece["index"] == len(calls) - 1
            call["arguments"] += piece["function"]["arguments"]
    return calls


@pytest.mark.parametrize("per_event", [1, 3, 40])
@pytest.mark.parametrize("interleave", [0, 1])
async def test_calls_come_in_fragments(interleave: int, per_event: int) -> None:
    received, record = await said(
        f"tools=get_weather,get_weather,now interleave={interleave} tokens_per_event={per_event}",
        tools=True,
    )
    calls = calls_of(received)
    expected = [
        {"id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in record.calls
    ]
    assert list(calls.values()) == expected
    assert set(orjson.loads(expected[0]["arguments"])) == {"city", "days", "unit"}
    assert len({call["id"] for call in expected}) == 3
    order = [piece["index"] for d in deltas(received) for piece in d.get("tool_calls", ())]
    assert (order == sorted(order)) == (not interleave or per_event == 40)
    reasons = [c["finish_reason"] for e in openai_events(received.body) for c in e["choices"]]
    assert reasons[-1] == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "called", "reason"),
    [
        ("none", [], "stop"),
        ("auto", [], "stop"),
        ("required", ["get_weather"], "tool_calls"),
        ({"type": "function", "function": {"name": "now"}}, ["now"], "stop"),
    ],
)
async def test_the_choice_of_tools_is_followed(
    choice: object, called: list[str], reason: str
) -> None:
    received, record = await said("tokens=2", tools=True, tool_choice=choice, stream=False)
    answer = orjson.loads(received.body)["choices"][0]
    assert [call["function"]["name"] for call in answer["message"].get("tool_calls", ())] == called
    assert answer["finish_reason"] == reason
    assert [call.name for call in record.calls] == called


async def test_one_call_where_parallel_ones_are_off() -> None:
    received, _ = await said("tools=auto", tools=True, parallel_tool_calls=False)
    assert len(calls_of(received)) == 1


async def test_a_tool_that_is_not_declared() -> None:
    received, record = await said("tools=get_wether", tools=True)
    assert received.status == 400
    assert "'get_wether', which is not declared" in orjson.loads(received.body)["error"]["message"]
    assert record.ended == "error"


async def test_a_refusal_is_not_content() -> None:
    received, record = await said("tokens=3 refuse=1")
    found = deltas(received)
    assert "".join(delta.get("refusal") or "" for delta in found) == record.text
    assert not any(delta.get("content") for delta in found)
    received, record = await said("tokens=3 refuse=1", stream=False)
    message = orjson.loads(received.body)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, record.text)


async def test_a_filter_and_a_refused_prompt() -> None:
    received, _ = await said("tokens=3 refuse=filter", stream=False)
    assert orjson.loads(received.body)["choices"][0]["finish_reason"] == "content_filter"
    received, _ = await said("refuse=prompt")
    assert (received.status, orjson.loads(received.body)["error"]["code"]) == (
        400,
        "invalid_prompt",
    )


async def test_json_by_a_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"river": {"type": "string", "enum": ['Ñ "1"', "Elbe"]}},
        "required": ["river"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "r", "schema": schema}}
    received, record = await said("", response_format=form)
    text = "".join(delta.get("content") or "" for delta in deltas(received))
    assert text == record.text
    assert orjson.loads(text)["river"] in schema["properties"]["river"]["enum"]  # type: ignore[index]
