"""The chunks of a Gemini stream in both framings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received
from tests.bench.talks import ask, gemini_chunks


async def said(directives: str, **more: Any) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await ask("gemini", directives, **more).send(simulator)
        [record] = simulator.truth.records()
        return received, record


def parts_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        part
        for chunk in chunks
        for candidate in chunk.get("candidates", ())
        for part in candidate["content"]["parts"]
    ]


def usages(chunks: list[dict[str, Any]]) -> list[tuple[int | None, int | None, int]]:
    """Of each chunk: the candidates' tokens, the thoughts', the total without the prompt."""
    found = [chunk["usageMetadata"] for chunk in chunks]
    return [
        (
            usage.get("candidatesTokenCount"),
            usage.get("thoughtsTokenCount"),
            usage["totalTokenCount"] - usage["promptTokenCount"],
        )
        for usage in found
    ]


async def test_a_plain_stream() -> None:
    received, record = await said("tokens=3 cached=2")
    assert received.body.endswith(b"\r\n\r\n")
    assert b"content-type: text/event-stream\r\n" in received.head
    chunks = gemini_chunks(received.body)
    assert "".join(part["text"] for part in parts_of(chunks)) == record.text
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [
        None,
        None,
        None,
        "STOP",
    ]
    assert usages(chunks) == [(1, None, 1), (2, None, 2), (3, None, 3), (3, None, 3)]
    assert record.usage_reported == chunks[-1]["usageMetadata"]
    assert chunks[-1]["usageMetadata"]["cachedContentTokenCount"] == 2
    assert {(c["modelVersion"], c["responseId"]) for c in chunks} == {
        ("sim-gemini", record.completion_id)
    }


async def test_an_array() -> None:
    received, record = await said("tokens=3", as_array=True)
    assert b"content-type: application/json" in received.head
    assert received.body.startswith(b"[{\n")
    assert received.body.endswith(b"}\n]")
    assert received.body.count(b"\n,\r\n") == 3
    chunks = orjson.loads(received.body)
    assert "".join(part["text"] for part in parts_of(chunks)) == record.text


async def test_thoughts_are_counted_apart() -> None:
    received, record = await said("reasoning=2 tokens=2", think=True)
    chunks = gemini_chunks(received.body)
    parts = parts_of(chunks)
    assert [part.get("thought") for part in parts] == [True, True, None, None, None]
    assert "".join(part["text"] for part in parts[:2]) == record.reasoning
    assert usages(chunks) == [(None, None, 1), (None, None, 2), (1, 2, 3), (2, 2, 4), (2, 2, 4)]
    assert parts[-1]["text"] == ""
    assert parts[-1]["thoughtSignature"]


async def test_thoughts_nobody_asked_for_are_counted_only() -> None:
    received, record = await said("reasoning=2 tokens=2")
    chunks = gemini_chunks(received.body)
    assert not any(part.get("thought") for part in parts_of(chunks))
    assert usages(chunks)[-1] == (2, 2, 4)
    assert record.tokens_generated == 4


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("ids", [0, 1])
async def test_calls_come_whole_and_the_first_is_signed(ids: int, as_array: bool) -> None:
    received, record = await said(f"tools=auto ids={ids}", tools=True, as_array=as_array)
    chunks = gemini_chunks(received.body)
    calls = [part for part in parts_of(chunks) if "functionCall" in part]
    assert ["thoughtSignature" in part for part in calls] == [True, False]
    assert [part["functionCall"]["name"] for part in calls] == ["get_weather", "now"]
    assert calls[0]["functionCall"]["args"] == orjson.loads(record.calls[0].arguments)
    assert "args" not in calls[1]["functionCall"]
    assert all(("id" in part["functionCall"]) == bool(ids) for part in calls)
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_a_call_that_is_cut_short_does_not_come() -> None:
    received, record = await said("tools=get_weather", tools=True, limit=3)
    chunks = gemini_chunks(received.body)
    assert parts_of(chunks) == [{"text": ""}]
    assert chunks[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert record.tokens_generated == 3


async def test_candidates() -> None:
    received, record = await said("tokens=2", generationConfig={"candidateCount": 2})
    chunks = gemini_chunks(received.body)
    for index, text in enumerate(record.choices):
        own = [c for c in chunks if c["candidates"][0]["index"] == index]
        assert "".join(part["text"] for part in parts_of(own)) == text
    assert [output for output, _, _ in usages(chunks)] == [1, 2, 3, 4, 4, 4]


async def test_an_error_in_its_three_forms() -> None:
    framed, record = await said("tokens=4 fault=error_event")
    bare, _ = await said("tokens=4 fault=error_bare")
    listed, _ = await said("tokens=4 fault=error_event", as_array=True)
    error = {"code": 503, "status": "UNAVAILABLE"}
    for received in (framed, bare, listed):
        last = gemini_chunks(received.body)[-1]
        assert list(last) == ["error"]
        assert last["error"].items() >= error.items()
        assert received.terminated
    assert b'data: {"error"' in framed.body
    assert b'\r\n\r\n{\n  "error": {\n' in bare.body
    assert (record.ended, record.tokens_generated) == ("error", 2)


async def test_an_end_without_a_reason_and_a_cut() -> None:
    received, record = await said("tokens=4 fault=eof")
    chunks = gemini_chunks(received.body)
    assert "finishReason" not in chunks[-1]["candidates"][0]
    assert (received.terminated, record.ended) == (True, "cut")
    received, record = await said("tokens=4 cut_after=1", as_array=True)
    assert not received.body.endswith(b"]")
    assert (received.terminated, record.ended) == (False, "cut")


async def test_usage_that_is_missing_or_wrong() -> None:
    received, _ = await said("tokens=3 usage=none")
    assert not any("usageMetadata" in chunk for chunk in gemini_chunks(received.body))
    received, record = await said("tokens=3 usage=wrong")
    chunks = gemini_chunks(received.body)
    assert usages(chunks)[-1] == (103, None, 103)
    assert chunks[-1]["usageMetadata"]["promptTokenCount"] == record.input_tokens + 7


async def test_refusals() -> None:
    received, _ = await said("tokens=2 refuse=1")
    assert gemini_chunks(received.body)[-1]["candidates"][0]["finishReason"] == "SAFETY"
    received, _ = await said("tokens=2 refuse=filter")
    chunks = gemini_chunks(received.body)
    assert chunks[-1]["candidates"][0]["finishReason"] == "PROHIBITED_CONTENT"
    for stream in (True, False):
        received, _ = await said("refuse=prompt", stream=stream)
        [chunk] = gemini_chunks(received.body) if stream else [orjson.loads(received.body)]
        assert "candidates" not in chunk
        assert chunk["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
        assert received.status == 200
