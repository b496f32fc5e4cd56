"""Every recorded OpenAI chat answer, replayed by a provider over HTTP/2 and fetched over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests import recordings
from tests.engine.test_relay import without_usage
from tests.recordings import Recording
from tests.served import Served, open_served

SEEDS = (1, 2, 3)


async def fetch(served: Served, recording: Recording, seed: int, **more: Any) -> httpx.Response:
    directives = f"#sim recording={recording.name} split_seed={seed}"
    document = {
        "model": "sim-openai",
        "messages": [{"role": "user", "content": f"{directives}\nhello"}],
        "stream": recording.stream,
    }
    async with served.http() as client:
        return await client.post("/chat/completions", content=orjson.dumps(document | more))


def recorded_usage(recording: Recording) -> dict[str, Any] | None:
    if not recording.stream:
        usage: dict[str, Any] | None = orjson.loads(recording.body).get("usage")
        return usage
    found = None
    for line in recording.body.splitlines():
        if line.startswith(b"data: {"):
            found = orjson.loads(line[6:]).get("usage") or found
    return found


async def check_billed(served: Served, answer: httpx.Response, recording: Recording) -> None:
    receipt = await served.receipt(answer.headers["x-request-id"])
    usage = recorded_usage(recording)
    assert receipt["outcome"] == "completed"
    if usage is None:
        assert receipt["provenance"] == "counted"
        assert receipt["usage"]["output_tokens"] > 0
        return
    details = usage.get("prompt_tokens_details") or {}
    assert receipt["provenance"] == "reported"
    assert receipt["usage"]["input_tokens"] == usage["prompt_tokens"]
    assert receipt["usage"]["output_tokens"] == usage["completion_tokens"]
    assert receipt["usage"]["cached_input_tokens"] == details.get("cached_tokens", 0)


@pytest.mark.parametrize("name", recordings.names("openai-chat", stream=True, status=200))
async def test_a_recorded_stream(tmp_path: Path, name: str) -> None:
    recording = recordings.load(name)
    async with open_served(tmp_path) as served:
        for seed in SEEDS:
            asked = await fetch(served, recording, seed, stream_options={"include_usage": True})
            if b"[DONE]" not in recording.body:
                assert b'"error"' in asked.content, "written by hand, without its end: a fault"
                return
            assert asked.content == recording.body, f"seed {seed}"
            await check_billed(served, asked, recording)
            not_asked = await fetch(served, recording, seed)
            assert not_asked.content == without_usage(recording.body), f"seed {seed}"
            await check_billed(served, not_asked, recording)


@pytest.mark.parametrize("name", recordings.names("openai-chat", stream=False, status=200))
async def test_a_recorded_answer(tmp_path: Path, name: str) -> None:
    recording = recordings.load(name)
    async with open_served(tmp_path) as served:
        for seed in SEEDS:
            answer = await fetch(served, recording, seed)
            assert answer.content == recording.body, f"seed {seed}"
            await check_billed(served, answer, recording)


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_recorded_refusals(tmp_path: Path, status: int) -> None:
    names = recordings.names("openai-chat", status=status)
    if not all(isinstance(name, str) for name in names):
        pytest.skip("no recordings")
    async with open_served(tmp_path) as served:
        for name in names:
            recording = recordings.load(name)
            answer = await fetch(served, recording, 1)
            error = answer.json()["error"]
            if status == 401:
                assert answer.status_code == 502, "the gateway's credentials, not the client's"
                continue
            recorded = orjson.loads(recording.body)["error"]
            assert answer.status_code == status
            assert {k: error[k] for k in ("message", "type", "code", "param")} == {
                k: recorded.get(k) or (error[k] if k in ("type", "code") else None)
                for k in ("message", "type", "code", "param")
            }
