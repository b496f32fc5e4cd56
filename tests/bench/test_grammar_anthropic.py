"""The events of a messages stream, byte for byte where that matters."""

from __future__ import annotations

from typing import Any

import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received
from tests.bench.talks import ask, named_events


async def said(directives: str, **more: Any) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await ask("anthropic", directives, **more).send(simulator)
        [record] = simulator.truth.records()
        return received, record


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("content_block_") for event in events]


async def test_a_plain_stream() -> None:
    received, record = await said("tokens=3 cached=4")
    events = named_events(received.body)
    assert kinds(events) == [
        "message_start",
        "start",
        "ping",
        *["delta"] * 3,
        "stop",
        "message_delta",
        "message_stop",
    ]
    assert b"content-type: text/event-stream" in received.head
    assert f"request-id: {record.provider_request_id}".encode() in received.head
    message = events[0]["message"]
    assert (message["content"], message["stop_reason"], message["id"]) == (
        [],
        None,
        record.completion_id,
    )
    assert message["usage"]["output_tokens"] not in (0, 3)
    end = events[-2]
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"] == {
        "input_tokens": record.input_tokens - 4,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 3,
    }
    assert record.usage_reported is not None
    assert record.usage_reported["output_tokens"] == 3
    text = "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")
    assert (text, record.ended, record.api) == (record.text, "done", "anthropic")


async def test_thoughts_text_and_calls_are_blocks_in_order() -> None:
    received, record = await said(
        "reasoning=4 preamble=2 tools=auto tokens_per_event=2", think=True, tools=True
    )
    events = named_events(received.body)
    starts = [e for e in events if e["type"] == "content_block_start"]
    stops = [e["index"] for e in events if e["type"] == "content_block_stop"]
    assert [e["content_block"]["type"] for e in starts] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert [e["index"] for e in starts] == stops == [0, 1, 2, 3]
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    of_kind = {
        kind: [d for d in deltas if d["type"] == kind]
        for kind in ("thinking_delta", "signature_delta", "input_json_delta")
    }
    assert "".join(d["thinking"] for d in of_kind["thinking_delta"]) == record.reasoning
    assert len(of_kind["signature_delta"]) == 1
    assert of_kind["input_json_delta"][0]["partial_json"] == ""
    inputs = "".join(d["partial_json"] for d in of_kind["input_json_delta"])
    assert inputs == "".join(call.arguments for call in record.calls)
    end = events[-2]
    assert end["delta"]["stop_reason"] == "tool_use"
    assert end["usage"]["output_tokens_details"] == {"thinking_tokens": 4}
    assert end["usage"]["output_tokens"] == record.tokens_generated > 4 + 2


async def test_omitted_thoughts_are_a_signature_only() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1_024, "display": "omitted"}
    received, record = await said("reasoning=9 tokens=1", thinking=thinking)
    events = named_events(received.body)
    block = [e for e in events if e.get("index") == 0]
    assert [e["type"] for e in block] == [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ]
    assert block[1]["delta"]["type"] == "signature_delta"
    assert record.tokens_generated == 10


async def test_reasoning_nobody_asked_for_is_counted_only() -> None:
    received, record = await said("reasoning=9 tokens=1")
    events = named_events(received.body)
    assert [e["content_block"]["type"] for e in events if "content_block" in e] == ["text"]
    assert events[-2]["usage"]["output_tokens"] == record.tokens_generated == 10


async def test_a_model_that_is_told_to_think_always_signs() -> None:
    received, _ = await said("tokens=2", think=True)
    events = named_events(received.body)
    assert [e["content_block"]["type"] for e in events if "content_block" in e] == [
        "thinking",
        "text",
    ]


@pytest.mark.parametrize(
    ("directives", "limit", "open_block"),
    [("tokens=9", 4, "text"), ("tools=get_weather", 5, "tool_use"), ("reasoning=9", 4, "thinking")],
)
async def test_the_limit_closes_the_open_block(
    directives: str, limit: int, open_block: str
) -> None:
    thinking = {"type": "adaptive"}
    received, record = await said(directives, limit=limit, tools=True, thinking=thinking)
    events = named_events(received.body)
    assert kinds(events)[-3:] == ["stop", "message_delta", "message_stop"]
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert [e["content_block"]["type"] for e in events if "content_block" in e] == [open_block]
    assert record.tokens_generated == limit


async def test_an_error_ends_the_stream() -> None:
    received, record = await said("tokens=8 fault=error_event")
    events = named_events(received.body)
    assert kinds(events)[-2:] == ["delta", "error"]
    assert events[-1]["error"]["type"] == "overloaded_error"
    assert (received.terminated, record.ended, record.tokens_generated) == (True, "error", 4)


async def test_an_end_without_a_terminal_event() -> None:
    received, record = await said("tokens=8 fault=eof")
    assert kinds(named_events(received.body))[-2:] == ["delta", "stop"]
    assert (received.terminated, record.ended, record.usage_reported) == (True, "cut", None)


async def test_a_cut() -> None:
    received, record = await said("tokens=8 cut_after=3")
    assert (received.terminated, record.ended, record.tokens_generated) == (False, "cut", 3)


async def test_usage_that_is_missing_or_wrong() -> None:
    received, record = await said("tokens=3 usage=none")
    events = named_events(received.body)
    assert "usage" not in events[0]["message"]
    assert "usage" not in events[-2]
    assert record.usage_reported is None
    received, record = await said("tokens=3 usage=wrong")
    usage = named_events(received.body)[-2]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (record.input_tokens + 7, 103)


@pytest.mark.parametrize("how", ["1", "filter", "prompt"])
async def test_refusals(how: str) -> None:
    received, record = await said(f"tokens=2 refuse={how}")
    events = named_events(received.body)
    assert events[-2]["delta"]["stop_reason"] == "refusal"
    assert events[-2]["delta"]["stop_details"]["type"] == "refusal"
    blocks = [e for e in events if e["type"] == "content_block_start"]
    assert (len(blocks), record.tokens_generated) == ((0, 0) if how == "prompt" else (1, 2))


async def test_the_stall_resumes_inside_a_call() -> None:
    received, record = await said(
        "tools=get_weather cut_after=4 fault=stall stall_ms=20", tools=True
    )
    events = named_events(received.body)
    assert (kinds(events)[-1], record.ended) == ("message_stop", "done")
    fragments = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta"]
    assert "".join(fragments) == record.calls[0].arguments
