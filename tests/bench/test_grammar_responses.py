"""The events of a responses stream: numbered, nested, and all of it again at the end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received
from tests.bench.talks import ask, named_events

TERMINALS = ("response.completed", "response.incomplete", "response.failed")


async def said(directives: str, **more: Any) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await ask("openai-responses", directives, **more).send(simulator)
        [record] = simulator.truth.records()
        assert simulator.statistics().crashes == 0
        return received, record


class Reader:
    """Builds a response from its events, and insists on their grammar."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.kinds = [event["type"] for event in events]
        self.items: dict[int, dict[str, Any]] = {}
        self.done: dict[int, dict[str, Any]] = {}
        self.open_parts: set[tuple[int, str, int]] = set()
        self.deltas = 0
        assert self.kinds[:2] == ["response.created", "response.in_progress"]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        for event in events[2:-1]:
            self._read(event)
        self.last = events[-1]
        assert self.last["type"] in TERMINALS
        self.response: dict[str, Any] = self.last["response"]
        assert self.response["id"] == events[0]["response"]["id"]
        assert set(self.response) == set(events[0]["response"])

    def _read(self, event: dict[str, Any]) -> None:
        kind = event["type"].removeprefix("response.")
        if kind == "error":
            return
        index = event["output_index"]
        if kind == "output_item.added":
            assert index == len(self.items)
            self.items[index] = event["item"]
        elif kind == "output_item.done":
            self._close_item(index, event["item"])
        else:
            assert index not in self.done
            item = self.items[index]
            assert event["item_id"] == item["id"]
            self._read_inside(kind, item, event)

    def _close_item(self, index: int, item: dict[str, Any]) -> None:
        assert index not in self.done
        assert not any(place[0] == index for place in self.open_parts)
        begun = self.items[index]
        added = {name: item.get(name) for name in begun if name not in ("status", "id")}
        kept = {name: begun[name] for name in added}
        assert kept == added
        assert begun["id"] == item["id"]
        self.done[index] = item

    def _read_inside(self, kind: str, item: dict[str, Any], event: dict[str, Any]) -> None:
        key = "summary" if "summary_index" in event else "content"
        place = (event["output_index"], key, event.get(f"{key}_index", 0))
        if kind.endswith("part.added"):
            assert place[2] == len(item.setdefault(key, []))
            item[key].append(event["part"])
            self.open_parts.add(place)
        elif kind.endswith("part.done"):
            assert item[key][place[2]] == event["part"]
            self.open_parts.remove(place)
        elif kind in ("function_call_arguments.delta", "custom_tool_call_input.delta"):
            item["input" if item["type"] == "custom_tool_call" else "arguments"] += event["delta"]
            self.deltas += 1
        elif kind == "function_call_arguments.done":
            assert event["arguments"] == item["arguments"]
        elif kind == "custom_tool_call_input.done":
            assert event["input"] == item["input"]
        else:
            assert place in self.open_parts
            part = item[key][place[2]]
            field = "refusal" if part["type"] == "refusal" else "text"
            name, _, step = kind.rpartition(".")
            expected = {"summary_text": "reasoning_summary_text"}.get(part["type"], part["type"])
            assert name == expected
            if step == "delta":
                part[field] += event["delta"]
                self.deltas += 1
            else:
                assert event[field] == part[field]


def read(received: Received) -> Reader:
    reader = Reader(named_events(received.body))
    assert not reader.open_parts
    assert reader.response["output"] == [reader.done[index] for index in sorted(reader.done)]
    assert set(reader.done) == set(reader.items)
    return reader


def likened(response: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one answer to the next."""
    items = [item | {"id": item["id"].partition("_")[0]} for item in response["output"]]
    for item in items:
        item.pop("encrypted_content", None)
    own = {"id": "", "created_at": 0, "completed_at": 0, "output": items}
    return response | own


DIRECTIVES = [
    "tokens=0",
    "tokens=1",
    "tokens=9 tokens_per_event=4",
    "tokens=3 reasoning=5",
    "tokens=3 reasoning=5 summary_parts=3 tokens_per_event=2",
    "tokens=3 reasoning=5 summary_parts=16",
    "tokens=3 reasoning=5 thoughts=text tokens_per_event=3",
    "tokens=3 refuse=1",
    "tokens=5 refuse=filter",
    "tools=get_weather,get_weather,now preamble=2",
    "tools=get_weather,get_weather,now interleave=1 tokens_per_event=3",
    "tools=auto reasoning=4 tokens_per_event=40",
    "tokens=9 usage=none",
]


@pytest.mark.parametrize("think", [False, True])
@pytest.mark.parametrize("directives", DIRECTIVES)
async def test_a_stream_says_what_the_whole_answer_says(directives: str, think: bool) -> None:
    received, record = await said(directives, tools=True, think=think)
    reader = read(received)
    whole, _ = await said(directives, tools=True, think=think, stream=False)
    assert likened(reader.response) == likened(orjson.loads(whole.body))
    expected = "response.incomplete" if "filter" in directives else "response.completed"
    assert reader.last["type"] == expected
    texts = [
        part.get("text", part.get("refusal"))
        for item in reader.response["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]
    assert "".join(texts) == record.text
    usage = reader.response["usage"]
    if "usage=none" in directives:
        assert usage is None
    else:
        assert usage == record.usage_reported
        assert usage["output_tokens"] == record.tokens_generated


@pytest.mark.parametrize("limit", range(16, 40, 3))
@pytest.mark.parametrize("directives", ["tools=auto preamble=12 reasoning=11", "tokens=90"])
async def test_a_limit_cuts_an_item_short(directives: str, limit: int) -> None:
    received, record = await said(directives, tools=True, think=True, limit=limit)
    reader = read(received)
    whole, _ = await said(directives, tools=True, think=True, limit=limit, stream=False)
    assert likened(reader.response) == likened(orjson.loads(whole.body))
    cut = record.tokens_generated == limit
    assert reader.response["status"] == ("incomplete" if cut else "completed")
    reason = {"reason": "max_output_tokens"} if cut else None
    assert reader.response["incomplete_details"] == reason
    assert [call.arguments for call in record.calls] == [
        item["arguments"] for item in reader.response["output"] if item["type"] == "function_call"
    ]


async def test_reasoning_is_shown_only_when_asked_for() -> None:
    received, record = await said("reasoning=3 tokens=2")
    thought = read(received).response["output"][0]
    assert (thought["type"], thought["summary"]) == ("reasoning", [])
    assert "encrypted_content" not in thought
    received, record = await said("reasoning=3 tokens=2", think=True)
    thought = read(received).response["output"][0]
    assert thought["summary"] == [{"type": "summary_text", "text": record.reasoning}]
    received, record = await said("reasoning=3 tokens=2 thoughts=text", think=True)
    thought = read(received).response["output"][0]
    assert thought["content"] == [{"type": "reasoning_text", "text": record.reasoning}]


@pytest.mark.parametrize("think", [False, True])
async def test_encrypted_reasoning_is_ours_alone(think: bool) -> None:
    include = ["reasoning.encrypted_content"]
    received, _ = await said("reasoning=3", think=think, include=include, store=False)
    thought, message = read(received).response["output"]
    question = {"role": "user", "content": "And then?"}

    async def again(*items: dict[str, Any]) -> tuple[int, str | None]:
        received, record = await said("", input=[question, *items, question], store=False)
        error = orjson.loads(received.body)["error"] if received.status >= 400 else {}
        return received.status, error.get("code") or record.signatures

    assert await again(thought, message) == (200, "verified")
    without_id = {name: value for name, value in thought.items() if name != "id"}
    assert await again(without_id, message) == (200, "verified")
    forged = thought | {"encrypted_content": "x" * 40}
    assert await again(forged, message) == (400, "invalid_encrypted_content")
    changed = thought | {"summary": [{"type": "summary_text", "text": "other"}]}
    assert await again(changed, message) == (400, "invalid_encrypted_content")
    bare = {name: value for name, value in thought.items() if name != "encrypted_content"}
    assert await again(bare, message) == (404, None)
    assert await again(thought) == (400, None)


async def test_an_error_in_a_stream() -> None:
    received, record = await said("tokens=10 fault=error_event")
    events = named_events(received.body)
    reader = Reader(events)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["error"]["code"] == "server_error"
    assert (reader.response["status"], reader.response["output"]) == ("failed", [])
    assert reader.response["error"]["code"] == "server_error"
    assert record.ended == "error"


@pytest.mark.parametrize("fault", ["cut", "eof", "rst"])
async def test_a_cut_stream_has_no_terminal_event(fault: str) -> None:
    received, record = await said(f"tokens=20 fault={fault} cut_after=7")
    assert not any(f'"{kind}"'.encode() in received.body for kind in TERMINALS)
    assert record.ended == "cut"
    assert record.tokens_generated == 7


async def test_obfuscation_can_be_turned_off() -> None:
    received, _ = await said("tokens=9")
    deltas = [event for event in named_events(received.body) if event["type"].endswith("delta")]
    assert all(event["obfuscation"] for event in deltas)
    received, _ = await said("tokens=9", stream_options={"include_obfuscation": False})
    deltas = [event for event in named_events(received.body) if event["type"].endswith("delta")]
    assert not any("obfuscation" in event for event in deltas)


async def test_the_request_is_repeated() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"format": {"type": "json_schema", "name": "a", "schema": schema}}
    received, record = await said(
        "", instructions="Be brief.", temperature=0.5, text=form, user="u", tools=True
    )
    response = read(received).response
    assert (response["instructions"], response["temperature"]) == ("Be brief.", 0.5)
    assert (response["text"]["format"], response["user"]) == (form["format"], "u")
    assert [tool["strict"] for tool in response["tools"]] == [True, True]
    assert set(orjson.loads(record.text)) == {"a"}
