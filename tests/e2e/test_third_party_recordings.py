"""Recorded answers of the hosts that speak OpenAI's chat, each replayed by a provider that its
`kind` configures: in its own protocol byte for byte, across with the SDKs of the other clients,
billed as its row says; and its errors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from engine.events import Protocol, Usage
from engine.protocols.registry import codec_of
from engine.upstream.provider_table import PROVIDERS
from tests import recordings
from tests.answers import sdk
from tests.answers.across import compare
from tests.answers.recorded import names
from tests.costs import without_cost
from tests.e2e.hosts import ask_in, tables
from tests.e2e.test_recordings import Asker, check_billed, prompt
from tests.engine.test_relay import without_usage
from tests.gateways import PROTOCOLS
from tests.served import Served, open_served

HOSTS = {
    "alibaba-chat": "alibaba",
    "azure-openai-chat": "azure-deployments",
    "cerebras-chat": "cerebras",
    "deepseek-chat": "deepseek",
    "groq-chat": "groq",
    "huggingface-chat": "huggingface",
    "mistral-chat": "mistral",
    "ollama-chat": "ollama",
    "openrouter-chat": "openrouter",
    "perplexity-chat": "perplexity",
    "together-chat": "together",
    "xai-chat": "xai",
    "zai-chat": "zai",
}
SAMPLE = 2
ACROSS: tuple[Protocol, ...] = ("openai_responses", "anthropic", "gemini")
MORE = "responses = false"
"""What some of these speak as well is in test_third_party_responses.py."""


def answers_of(host: str) -> list[str]:
    """The recorded answers of a host that are whole."""
    return [
        name
        for name in names("openai_chat")
        if name.startswith(f"{host}/") and not sdk.recorded(name).failed
    ]


def sample_of(host: str) -> list[str]:
    """A few of them, the same ones every time."""
    found = answers_of(host)
    if not found:
        pytest.skip("no recordings")
    return random.Random(host).sample(found, min(SAMPLE, len(found)))


async def fetch(served: Served, name: str, seed: int, **more: Any) -> httpx.Response:
    """A recording through the gateway, in its own protocol."""
    recording = recordings.load(name)
    messages = [{"role": "user", "content": prompt(recording, seed)}]
    model = HOSTS[name.partition("/")[0]]
    document = {"model": model, "messages": messages, "stream": recording.stream}
    async with served.http() as client:
        return await client.post("/chat/completions", json=document | more)


async def check_own(served: Served, found: list[str]) -> None:
    """Byte for byte but for usage that was not asked for, and billed."""
    for seed, name in enumerate(found):
        recording, usage = recordings.load(name), sdk.recorded(name).usage
        options = {"stream_options": {"include_usage": True}} if recording.stream else {}
        asked = await fetch(served, name, seed, **options)
        assert without_cost(asked.content) == without_cost(recording.body), f"{name}, seed {seed}"
        await check_billed(served, asked.headers["x-request-id"], usage)
        if recording.stream:
            other = await fetch(served, name, seed)
            assert other.content == without_usage(recording.body), f"{name}, seed {seed}"
            await check_billed(served, other.headers["x-request-id"], usage)


async def check_across(served: Served, client: str, found: list[str]) -> None:
    """What a client's SDK reads is what the host's own reads, and the same is billed."""
    asker = Asker(served)
    try:
        for seed, name in enumerate(found):
            model = HOSTS[name.partition("/")[0]]
            got = await trio.to_thread.run_sync(asker.ask, client, name, seed, model)
            original = sdk.recorded(name)
            assert compare(original, got, client).wrong == [], f"{name}, seed {seed}"
            await check_billed(served, asker.request_id, original.usage)
    finally:
        asker.close()


def test_every_host_has_a_row() -> None:
    assert set(HOSTS.values()) <= set(PROVIDERS)


async def test_a_sample(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=tables(tmp_path, HOSTS.values(), more=MORE)) as served:
        for host in HOSTS:
            found = sample_of(host)
            await check_own(served, found)
            for client in ACROSS:
                await check_across(served, client, found)


@pytest.mark.long
@pytest.mark.parametrize("host", HOSTS)
async def test_all(tmp_path: Path, host: str) -> None:
    async with open_served(tmp_path, models=tables(tmp_path, HOSTS.values(), more=MORE)) as served:
        found = answers_of(host)
        await check_own(served, found)
        for client in ACROSS:
            await check_across(served, client, found)


def failures() -> list[str]:
    """The streams that end in an error."""
    return [
        name
        for name in names("openai_chat", stream=True)
        if name.partition("/")[0] in HOSTS and sdk.recorded(name).failed
    ]


async def test_streams_that_fail(tmp_path: Path) -> None:
    found = failures()
    if not found:
        pytest.skip("no recordings")
    async with open_served(tmp_path, models=tables(tmp_path, HOSTS.values(), more=MORE)) as served:
        for name in found:
            answer = await fetch(served, name, 1)
            receipt = await served.receipt(answer.headers["x-request-id"])
            assert receipt["outcome"] == "upstream_failed"
            if answer.status_code == 200:
                read = sdk.read("openai_chat", answer.content, stream=True)
                assert read.failed
                assert read.choices == sdk.recorded(name).choices
            else:
                assert answer.json()["error"]["message"]


def refusals() -> list[str]:
    """The answers that are errors."""
    return [
        name
        for host in HOSTS
        for name in recordings.names(host)
        if isinstance(name, str) and recordings.load(name).status >= 400
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_errors_are_told_in_the_clients_protocol(tmp_path: Path, protocol: Protocol) -> None:
    found = refusals()
    if not found:
        pytest.skip("no recordings")
    codec = codec_of(protocol)
    async with open_served(tmp_path, models=tables(tmp_path, HOSTS.values(), more=MORE)) as served:
        for name in found:
            recording = recordings.load(name)
            read = codec_of("openai_chat").read_error(recording.status, recording.body)
            model = HOSTS[name.partition("/")[0]]
            answer = await ask_in(served, protocol, model, prompt(recording, 1))
            assert answer.status_code == codec.error_status(read), name
            error = answer.json()["error"]
            assert error["message"] == read.message, name
            if recording.status == 401:
                assert "Invalid API key" not in answer.text
            receipt = await served.receipt(answer.headers["x-request-id"])
            assert receipt["usage"] == Usage().units()
