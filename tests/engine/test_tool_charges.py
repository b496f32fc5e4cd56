"""Searches of files and sessions of code, on receipts: streamed, whole, unasked, and where the
answer breaks off behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Call
from engine.events import Protocol
from engine.ledger.receipts import Receipt
from tests.gateways import Setup, run
from tests.scripted import Script, answering, open_scripted

MODEL = """
[providers.other]
protocol = "openai-responses"
base_url = "$SIM/v1"
http2 = "prior-knowledge"
[models.tooled]
deployments = [{ provider = "other", model = "tooled" }]
price = { input = 1, output = 2, file_searches = 2.5, code_sessions = 0.03 }
"""
SEARCH = 2_500_000  # nanodollars
SESSION = 30_000_000
TOOLS = [
    {"type": "file_search", "vector_store_ids": []},
    {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}},
]
ITEMS: list[dict[str, Any]] = [
    {"type": "file_search_call", "id": "fs_1", "queries": [], "status": "completed"},
    {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "code": "",
        "container_id": "cntr_1",
        "status": "completed",
    },
    {"type": "file_search_call", "id": "fs_2", "queries": [], "status": "completed"},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Found.", "annotations": []}],
    },
]
USAGE = {"input_tokens": 1_000, "output_tokens": 10, "total_tokens": 1_010}
FULL = 1_000 * 1_000 + 10 * 2_000 + 2 * SEARCH + 4 * SESSION


def response(status: str, output: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "tooled",
        "status": status,
        "output": output,
        "tools": TOOLS,
        **more,
    }


def frame(kind: str, **fields: object) -> bytes:
    data = orjson.dumps({"type": kind, "sequence_number": 0, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def streamed(items: list[dict[str, Any]], *, whole: bool = True) -> bytes:
    frames = [frame("response.created", response=response("in_progress", []))]
    for index, item in enumerate(items):
        frames.append(frame("response.output_item.added", output_index=index, item=item))
        frames.append(frame("response.output_item.done", output_index=index, item=item))
    if whole:
        final = response("completed", items, usage=USAGE)
        frames.append(frame("response.completed", response=final))
    return b"".join(frames)


def call(setup: Setup, client: Protocol, *, stream: bool) -> Call:
    document: dict[str, Any] = {"model": "tooled", "stream": stream}
    if client == "openai_responses":
        document |= {"input": "Look it up.", "store": False, "tools": TOOLS}
    else:
        document |= {"messages": [{"role": "user", "content": "Look it up."}], "max_tokens": 50}
    return Call(body=orjson.dumps(document), key=setup.key, protocol=client)


async def billed(folder: Path, script: Script, client: Protocol, *, stream: bool) -> Receipt:
    async with open_scripted(folder, script, models=MODEL) as setup:
        _, receipt, _ = await run(setup, call(setup, client, stream=stream))
    return receipt


def whole_answer(*, stream: bool) -> Script:
    whole = orjson.dumps(response("completed", ITEMS, usage=USAGE))
    return answering(streamed(ITEMS) if stream else whole)


@pytest.mark.parametrize("stream", [True, False])
async def test_tools_are_charged_by_their_units(tmp_path: Path, stream: bool) -> None:
    script = whole_answer(stream=stream)
    receipt = await billed(tmp_path, script, "openai_responses", stream=stream)
    assert receipt.usage["file_searches"] == 2
    assert receipt.usage["code_sessions"] == 4
    assert receipt.price_nanodollars == FULL
    assert receipt.usage_provenance["file_searches"] == "reported"


@pytest.mark.parametrize("client", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
async def test_tools_that_nobody_asked_for_cost_nothing(
    tmp_path: Path, client: Protocol, stream: bool
) -> None:
    """Clients of the other protocols cannot name them: such a report is a fault."""
    receipt = await billed(tmp_path, whole_answer(stream=stream), client, stream=stream)
    assert receipt.price_nanodollars == 1_000 * 1_000 + 10 * 2_000
    assert "usage_clamped" in receipt.flags


async def test_what_was_called_before_a_stream_breaks_is_charged(tmp_path: Path) -> None:
    written = {**ITEMS[3], "status": "in_progress", "content": []}
    body = streamed(ITEMS[:2], whole=False)
    body += frame("response.output_item.added", output_index=2, item=written)
    body += frame("response.output_text.delta", output_index=2, content_index=0, delta="Found")
    receipt = await billed(tmp_path, answering(body), "openai_responses", stream=True)
    assert receipt.outcome == "upstream_failed"
    assert (receipt.usage["file_searches"], receipt.usage["code_sessions"]) == (1, 4)
    assert receipt.usage["output_tokens"] == 1
    assert receipt.usage_provenance["output_tokens"] == "counted"


async def test_what_tools_can_come_to_is_held(tmp_path: Path) -> None:
    """Eight searches and a session of 4 GB, beside the tokens."""
    held = []

    async def script(request: Any) -> None:
        held.append(setup.gateway.ledger.statistics().held_nanodollars)
        await answering(streamed(ITEMS))(request)  # type: ignore[misc]

    async with open_scripted(tmp_path, script, models=MODEL) as setup:
        plain = orjson.dumps({"model": "tooled", "stream": True, "input": "Hi", "store": False})
        tooled = call(setup, "openai_responses", stream=True)
        await run(setup, tooled)
        await run(setup, Call(body=plain, key=setup.key, protocol="openai_responses"))
    tokens = (len(tooled.body) - len(plain)) * 1_000
    assert held[0] - held[1] == 8 * SEARCH + 4 * SESSION + tokens
