"""Custom tools, whose input is any text: called on command in both of OpenAI's APIs."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received
from tests.bench.talks import NOW_SCHEMA, ask, openai_events
from tests.bench.test_grammar_responses import likened, read
from tests.bench.test_sdk import with_sdk

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
PATCH: dict[str, Any] = {"name": "apply_patch", "description": "Edits files.", "format": GRAMMAR}
NOW: dict[str, Any] = {"name": "now", "parameters": NOW_SCHEMA}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "openai": [{"type": "function", "function": NOW}, {"type": "custom", "custom": PATCH}],
    "openai-responses": [{"type": "function"} | NOW, {"type": "custom"} | PATCH],
}
CHOICES: dict[str, dict[str, Any]] = {
    "openai": {"type": "custom", "custom": {"name": "apply_patch"}},
    "openai-responses": {"type": "custom", "name": "apply_patch"},
}
CALLS = "tools=apply_patch,now,apply_patch preamble=2"


async def asked(api: str, directives: str, **more: Any) -> tuple[Received, TruthRecord]:
    """With the tools declared in the words of the API."""
    async with open_simulator(SimulatorSettings()) as simulator:
        talk = ask(api, directives, **more)
        talk.body["tools"] = TOOLS[api]
        received = await talk.send(simulator)
        [record] = simulator.truth.records()
        assert simulator.statistics().crashes == 0
        return received, record


@pytest.mark.parametrize("more", ["", "interleave=1", "tokens_per_event=7"])
async def test_a_stream_of_responses_says_what_the_whole_answer_says(more: str) -> None:
    received, record = await asked("openai-responses", f"{CALLS} {more}")
    reader = read(received)
    whole, _ = await asked("openai-responses", f"{CALLS} {more}", stream=False)
    assert likened(reader.response) == likened(orjson.loads(whole.body))
    items = [item for item in reader.response["output"] if item["type"] != "message"]
    kinds = [("custom_tool_call", "ctc"), ("function_call", "fc"), ("custom_tool_call", "ctc")]
    assert [(item["type"], item["id"].partition("_")[0]) for item in items] == kinds
    assert [item.get("input", item.get("arguments")) for item in items] == [
        call.arguments for call in record.calls
    ]


@pytest.mark.parametrize("limit", range(16, 46, 7))
async def test_a_limit_cuts_an_input_short(limit: int) -> None:
    received, record = await asked("openai-responses", CALLS, limit=limit)
    reader = read(received)
    whole, _ = await asked("openai-responses", CALLS, limit=limit, stream=False)
    assert likened(reader.response) == likened(orjson.loads(whole.body))
    assert record.tokens_generated == limit
    assert reader.response["status"] == "incomplete"


@pytest.mark.parametrize("more", ["", "interleave=1", "tokens_per_event=7"])
async def test_a_stream_of_chat_says_what_the_whole_answer_says(more: str) -> None:
    received, record = await asked("openai", f"{CALLS} {more}")
    calls: dict[int, dict[str, Any]] = {}
    for event in openai_events(received.body):
        for choice in event["choices"]:
            for piece in choice["delta"].get("tool_calls", ()):
                index = piece.pop("index")
                if index not in calls:
                    calls[index] = piece
                    continue
                [(kind, text)] = piece.items()
                [(name, value)] = text.items()
                calls[index][kind][name] += value
    whole, _ = await asked("openai", f"{CALLS} {more}", stream=False)
    [choice] = orjson.loads(whole.body)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [calls[index] for index in range(3)]
    assert [call[call["type"]]["name"] for call in calls.values()] == [
        call.name for call in record.calls
    ]


@pytest.mark.parametrize("api", TOOLS)
async def test_its_input_is_lines_that_want_escapes(api: str) -> None:
    _, record = await asked(api, "tools=apply_patch")
    [call] = record.calls
    assert call.custom
    assert call.arguments.count("\n") >= 3
    assert any(mark in call.arguments for mark in ('"', "\\", "🌊", "two\nlines"))


@pytest.mark.parametrize("api", TOOLS)
async def test_it_is_called_when_it_is_chosen(api: str) -> None:
    received, record = await asked(api, "tokens=3", tool_choice=CHOICES[api])
    assert received.status == 200
    assert [(call.name, call.custom) for call in record.calls] == [("apply_patch", True)]


@pytest.mark.parametrize("api", TOOLS)
async def test_a_choice_names_the_kind_that_was_declared(api: str) -> None:
    as_function = orjson.loads(orjson.dumps(CHOICES[api]).replace(b"custom", b"function"))
    received, _ = await asked(api, "tokens=3", tool_choice=as_function, stream=False)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["param"] == "tool_choice"


async def test_the_sdk_sends_a_call_back_with_its_output() -> None:
    def work(client: openai.OpenAI) -> tuple[Any, Any]:
        tools: Any = TOOLS["openai-responses"]
        items: list[Any] = [{"role": "user", "content": "#sim tools=apply_patch tokens=4\nGo."}]
        with client.responses.stream(model="sim-openai", input=items, tools=tools) as events:
            for _ in events:
                pass
            first: Any = events.get_final_response()
        [call] = first.output
        items += first.output
        output: Any = {
            "type": "custom_tool_call_output",
            "call_id": call.call_id,
            "output": "Done!",
        }
        second = client.responses.create(
            model="sim-openai", input=[*items, output], tools=tools, store=False
        )
        return call, second

    (call, second), simulator = await with_sdk(work)
    first_record, record = simulator.truth.records()
    assert (call.type, call.input) == ("custom_tool_call", first_record.calls[0].arguments)
    assert second.output_text == record.text
    assert record.calls == []
