"""Recorded answers, replayed by a provider over HTTP/2 and fetched over HTTP: in their own
protocol byte for byte, across with the official SDKs of the clients, and billed as reported."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2
import orjson
import pytest
import trio

from engine.events import Usage
from tests import recordings
from tests.answers import sdk, sdks
from tests.answers.across import compare
from tests.answers.recorded import names, protocol_of
from tests.costs import without_cost
from tests.engine.test_relay import without_usage
from tests.gateways import MODELS, PAIRS
from tests.recordings import Recording
from tests.served import Served, open_served

BATCH = 16
SAMPLE = 6


def prompt(recording: Recording, seed: int) -> str:
    """What makes the simulated provider replay a recording."""
    return f"#sim recording={recording.name} split_seed={seed}\nhello"


def body_of(recording: Recording, seed: int, **more: Any) -> tuple[str, bytes]:
    """Path and body of a request for it, in its own protocol."""
    protocol = protocol_of(recording.name)
    text, model = prompt(recording, seed), MODELS[protocol]
    document: dict[str, Any]
    if protocol == "gemini":
        method = "streamGenerateContent" if recording.stream else "generateContent"
        array = recording.body.lstrip().startswith(b"[")
        query = "?alt=sse" if recording.stream and not array else ""
        document = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        return f"/v1beta/models/{model}:{method}{query}", orjson.dumps(document | more)
    messages = [{"role": "user", "content": text}]
    if protocol == "openai_responses":
        document = {"model": model, "input": text, "stream": recording.stream}
        return "/v1/responses", orjson.dumps(document | more)
    document = {"model": model, "messages": messages, "stream": recording.stream}
    if protocol == "anthropic":
        document["max_tokens"] = 4_096
        if b'"server_tool_use"' in recording.body:  # who reads the prompt again for each search
            document["tools"] = [{"type": "web_search_20250305", "name": "web_search"}]
        return "/v1/messages", orjson.dumps(document | more)
    return "/v1/chat/completions", orjson.dumps(document | more)


async def fetch(served: Served, recording: Recording, seed: int, **more: Any) -> httpx.Response:
    """A recording through the gateway, in its own protocol."""
    path, body = body_of(recording, seed, **more)
    async with served.http() as client:
        return await client.post(f"{served.origin}{path}", content=body)


async def check_billed(served: Served, request_id: str, usage: Usage | None) -> None:
    """The receipt says what the provider reported, or that it was counted: also where there was
    text, and the report is of nothing, or of no prompt."""
    receipt = await served.receipt(request_id)
    assert receipt["outcome"] == "completed"
    if usage is None or not usage.input_tokens:
        assert receipt["provenance"] == "counted"
        return
    assert receipt["provenance"] == "reported"
    assert receipt["usage"].items() >= usage.units().items()


def batches(protocol: str) -> list[Any]:
    """Names of recordings, some at a time: opening a gateway costs more than asking it."""
    found = [name for name in names(protocol) if may_be_answer(name)]
    skip = pytest.mark.skip(reason="no recordings")
    return [
        pytest.param(found[at : at + BATCH], id=f"{protocol}-{at}")
        for at in range(0, len(found), BATCH)
    ] or [pytest.param([], marks=skip)]


def answers(batch: list[str]) -> list[str]:
    """Those of a batch that end well. SDKs read all to tell: too dear for whoever collects."""
    found = [name for name in batch if is_answer(name)]
    if not found:
        pytest.skip("none of them ends as its protocol says")
    return found


def may_be_answer(name: str) -> bool:
    """Other hosts that speak OpenAI's protocol end their answers in ways of their own."""
    return protocol_of(name) != "openai_chat" or name.startswith("openai-chat/")


def is_answer(name: str) -> bool:
    """Whether it ends as its protocol says: no failure, and no host without `[DONE]`."""
    if not may_be_answer(name) or sdk.recorded(name).failed:
        return False
    recording = recordings.load(name)
    if protocol_of(name) == "openai_responses":
        return b"[DONE]" not in recording.body  # OpenRouter's, behind the end
    if protocol_of(name) != "openai_chat":
        return True
    return not recording.stream or b"[DONE]" in recording.body


SYNTHETIC = [name for name in names(stream=True) if "/synthetic--" in name]
"""Streams that fail, of providers that fail as their protocol says."""


VERBATIM = [*batches("openai_responses"), *batches("anthropic"), *batches("gemini")]


@pytest.mark.parametrize("batch", VERBATIM)
async def test_byte_for_byte(tmp_path: Path, batch: list[str]) -> None:
    found = answers(batch)
    async with open_served(tmp_path) as served:
        for seed, name in enumerate(found):
            recording = recordings.load(name)
            answer = await fetch(served, recording, seed)
            assert without_cost(answer.content) == without_cost(recording.body), (
                f"{name}, seed {seed}"
            )
            await check_billed(served, answer.headers["x-request-id"], sdk.recorded(name).usage)


@pytest.mark.parametrize("batch", batches("openai_chat"))
async def test_byte_for_byte_but_for_usage(tmp_path: Path, batch: list[str]) -> None:
    found = answers(batch)
    async with open_served(tmp_path) as served:
        for seed, name in enumerate(found):
            recording, usage = recordings.load(name), sdk.recorded(name).usage
            options = {"stream_options": {"include_usage": True}} if recording.stream else {}
            asked = await fetch(served, recording, seed, **options)
            assert without_cost(asked.content) == without_cost(recording.body), (
                f"{name}, seed {seed}"
            )
            await check_billed(served, asked.headers["x-request-id"], usage)
            if recording.stream:
                other = await fetch(served, recording, seed)
                assert other.content == without_usage(recording.body), f"{name}, seed {seed}"
                await check_billed(served, other.headers["x-request-id"], usage)


@pytest.mark.parametrize("name", SYNTHETIC)
async def test_failures(tmp_path: Path, name: str) -> None:
    """What came before the failure, and the failure as the client's protocol says it."""
    recording = recordings.load(name)
    assert sdk.recorded(name).failed
    async with open_served(tmp_path) as served:
        answer = await fetch(served, recording, 1)
        receipt = await served.receipt(answer.headers["x-request-id"])
    assert receipt["outcome"] == "upstream_failed"
    read = sdk.read(protocol_of(name), answer.content, stream=True)
    assert read.failed
    assert read.choices == sdk.recorded(name).choices


@dataclass(slots=True)
class Asker:
    """The official SDKs as clients of a gateway; keeps the id of the last request."""

    served: Served
    request_id: str = ""
    _http: httpx.Client = field(init=False)
    _http2: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        hooks: Any = {"response": [self._keep]}
        self._http = httpx.Client(event_hooks=hooks, timeout=30, verify=False)
        self._http2 = httpx2.Client(event_hooks=hooks, timeout=30, verify=False)

    def _keep(self, response: httpx.Response | httpx2.Response) -> None:
        self.request_id = response.headers["x-request-id"]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._http2.close()

    def ask(self, client: str, name: str, seed: int, model: str | None = None) -> Any:
        """A recording as the client of a protocol reads it; `model` where it is not the usual."""
        recording = recordings.load(name)
        clients = sdks.clients(
            self.served.origin,
            self.served.setup.key,
            self._http,
            self._http2,
            model=model or MODELS[protocol_of(name)],
            prompt=prompt(recording, seed),
        )
        return sdk.ask(client, clients, stream=recording.stream)


async def check_across(served: Served, client: str, sample: list[str]) -> None:
    """What a client's SDK reads of other providers' answers, and what was billed for it."""
    asker = Asker(served)
    try:
        for seed, name in enumerate(sample):
            got = await trio.to_thread.run_sync(asker.ask, client, name, seed)
            original = sdk.recorded(name)
            assert compare(original, got, client).wrong == [], f"{name}, seed {seed}"
            await check_billed(served, asker.request_id, original.usage)
    finally:
        asker.close()


ACROSS = [pair for pair in PAIRS if pair[0] != pair[1]]
ACROSS_IDS = [f"{client}-from-{provider}" for client, provider in ACROSS]


@pytest.mark.parametrize(("client", "provider"), ACROSS, ids=ACROSS_IDS)
async def test_a_sample_across(tmp_path: Path, client: str, provider: str) -> None:
    found = [name for name in names(provider) if is_answer(name)]
    if not found:
        pytest.skip("no recordings")
    sample = random.Random(f"{client} {provider}").sample(found, SAMPLE)
    async with open_served(tmp_path) as served:
        await check_across(served, client, sample)


@pytest.mark.long
@pytest.mark.parametrize(("client", "provider"), ACROSS, ids=ACROSS_IDS)
async def test_all_across(tmp_path: Path, client: str, provider: str) -> None:
    async with open_served(tmp_path, provider='terminal = "eof"') as served:
        whole = [name for name in names(provider) if not sdk.recorded(name).failed]
        await check_across(served, client, whole)


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_recorded_refusals(tmp_path: Path, status: int) -> None:
    found = recordings.names("openai-chat", status=status)
    if not all(isinstance(name, str) for name in found):
        pytest.skip("no recordings")
    async with open_served(tmp_path) as served:
        for name in found:
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
