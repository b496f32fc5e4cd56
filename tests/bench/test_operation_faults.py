"""The faults of a chat, of every endpoint beside it: what comes, and what the truth log says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import trio

from bench.simulate import Simulator, TruthRecord, open_simulator
from tests.bench.peer import PATIENCE_S
from tests.bench.raw import converse, post
from tests.bench.uploads import form, sound, upload

WAV = sound(2)
EMBED = "/v1beta/models/gemini-embedding-001:embedContent"
WHOLE = (
    "/v1/moderations",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/images/generations",
    "/v1/audio/transcriptions",
    EMBED,
)
STREAMED = ("/v1/audio/speech", "/v1/audio/transcriptions", "/v1/images/generations")
EVERY = tuple(sorted({*WHOLE, *STREAMED}))


def body_of(path: str, directives: str, *, stream: bool) -> dict[str, Any]:
    text = f"#sim {directives}\nRivers."
    match path:
        case "/v1/moderations":
            return {"input": text}
        case "/v1/embeddings":
            return {"model": "text-embedding-3-small", "input": text}
        case "/v1/rerank":
            return {"model": "rerank-v3.5", "query": text, "documents": ["a", "b"]}
        case "/v1/images/generations":
            more = {"stream": True, "partial_images": 3} if stream else {}
            return {"model": "gpt-image-1", "prompt": text, **more}
        case "/v1/audio/speech":
            return {"model": "tts-1", "input": text, "voice": "alloy"}
        case _:
            return {"content": {"parts": [{"text": text}]}}


def request_to(path: str, directives: str = "", *, stream: bool = False) -> bytes:
    """A request whose first line of text has directives."""
    if path == "/v1/audio/transcriptions":
        values = {"model": "gpt-4o-transcribe", "prompt": f"#sim {directives}\n"}
        if stream:
            values["stream"] = "true"
        return upload(path, form([("file", WAV), *values.items()]))
    body = body_of(path, directives, stream=stream)
    return post(body, path=path, more="connection: close\r\n")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with open_simulator() as simulator:
        yield simulator
        assert simulator.statistics().crashes == 0


async def ended(simulator: Simulator) -> TruthRecord:
    [record] = simulator.truth.records()
    with trio.fail_after(PATIENCE_S):
        return await simulator.truth.wait_ended(record.request_id)


@pytest.mark.parametrize("path", EVERY)
@pytest.mark.parametrize("status", [429, 500])
async def test_a_status(simulator: Simulator, path: str, status: int) -> None:
    received = await converse(simulator.port, request_to(path, f"status={status}"))
    record = await ended(simulator)
    assert received.status == record.status == status
    assert orjson.loads(received.body)
    assert (b"retry-after: 1\r\n" in received.head + b"\r\n") == (status == 429)
    assert (record.ended, record.consumed) == ("error", {})


@pytest.mark.parametrize("path", WHOLE)
async def test_cut_before_the_first_byte(simulator: Simulator, path: str) -> None:
    received = await converse(simulator.port, request_to(path, "fault=cut"))
    record = await ended(simulator)
    assert (received.data, record.ended) == (b"", "cut")
    assert "images" not in record.consumed


@pytest.mark.parametrize("path", WHOLE)
async def test_cut_half_way_through_a_body(simulator: Simulator, path: str) -> None:
    whole = await converse(simulator.port, request_to(path))
    cut = await converse(simulator.port, request_to(path, "fault=cut_body"))
    [_, record] = simulator.truth.records()
    assert cut.status == 200
    [length] = re.findall(rb"content-length: (\d+)", cut.head)
    assert 0 < len(cut.body) == int(length) // 2 < len(whole.body)
    assert (record.ended, record.tokens_written) == ("cut", 0)


@pytest.mark.parametrize("path", STREAMED)
async def test_a_stream_cut_after_its_first_event(simulator: Simulator, path: str) -> None:
    received = await converse(simulator.port, request_to(path, "cut_after=1", stream=True))
    record = await ended(simulator)
    assert received.status == 200
    assert received.body
    assert not received.terminated
    assert (record.ended, record.tokens_generated, record.tokens_written) == ("cut", 1, 1)


@pytest.mark.parametrize("path", STREAMED)
async def test_a_stream_that_stalls_goes_on(simulator: Simulator, path: str) -> None:
    told = "cut_after=1 fault=stall stall_ms=20"
    received = await converse(simulator.port, request_to(path, told, stream=True))
    record = await ended(simulator)
    assert received.terminated
    assert record.ended == "done"
    assert record.tokens_generated == record.tokens_written == record.answer.tokens > 1


@pytest.mark.parametrize("path", STREAMED)
async def test_a_client_leaves_a_slow_stream(simulator: Simulator, path: str) -> None:
    told = "tokens_per_second=0.1"
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        await stream.send_all(request_to(path, told, stream=True))
        with trio.fail_after(PATIENCE_S):
            while not await stream.receive_some():
                raise AssertionError("no byte came")
    record = await ended(simulator)
    assert record.ended == "reset"
    assert 1 <= record.tokens_generated < record.answer.tokens


@pytest.mark.parametrize("path", EVERY)
@pytest.mark.parametrize("fault", ["html", "error_ok"])
async def test_no_answer_though_the_status_says_so(
    simulator: Simulator, path: str, fault: str
) -> None:
    received = await converse(simulator.port, request_to(path, f"fault={fault}"))
    record = await ended(simulator)
    kind = b"text/html" if fault == "html" else b"application/json"
    assert received.status == 200
    assert b"content-type: " + kind in received.head
    assert (record.ended, record.consumed) == ("error", {})


@pytest.mark.parametrize("path", WHOLE)
async def test_an_answer_of_megabytes(simulator: Simulator, path: str) -> None:
    received = await converse(simulator.port, request_to(path, "answer_bytes=3000000"))
    assert len(received.body) >= 3_000_000
    assert orjson.loads(received.body)
