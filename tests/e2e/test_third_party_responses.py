"""Recorded answers of the hosts that speak OpenAI's responses, each replayed by a provider that its
`kind` configures: to a client of responses byte for byte, across with the SDKs of the others,
billed as reported; and their errors."""

from __future__ import annotations

import random
import re
from pathlib import Path

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
from tests.gateways import PROTOCOLS, charge
from tests.served import Served, open_served

HOSTS = {
    "azure-openai-responses": "azure",
    "deepseek-responses": "deepseek",
    "openrouter-responses": "openrouter",
    "xai-responses": "xai",
}
ONLY = "only-"
"""In front of the model of a provider that all clients are translated to responses for; the one of
the plain name speaks chat as well, and is asked in that by the clients of other protocols."""
SAMPLE = 3
ACROSS: tuple[Protocol, ...] = ("openai_chat", "anthropic", "gemini")
DONE = b"data: [DONE]\n\n"
TOTAL = re.compile(rb'"total_tokens":\s*(\d+)')


def all_tables(folder: Path) -> str:
    """A provider of each kind twice: as its row says, and one that speaks nothing but responses."""
    only = tables(folder, HOSTS.values(), prefix=ONLY, more='protocol = "openai-responses"')
    return tables(folder, HOSTS.values()) + only


def model_of(name: str) -> str:
    """The model whose provider replays a recording."""
    return HOSTS[name.partition("/")[0]]


def answers_of(host: str) -> list[str]:
    """The recorded answers of a host that are whole."""
    return [
        name
        for name in names("openai_responses")
        if name.startswith(f"{host}/") and not sdk.recorded(name).failed
    ]


def sample_of(host: str) -> list[str]:
    """A few of them, the same ones every time."""
    found = answers_of(host)
    if not found:
        pytest.skip("no recordings")
    return random.Random(host).sample(found, min(SAMPLE, len(found)))


async def check_price(served: Served, request_id: str, body: bytes) -> None:
    """What was paid is what the usage costs, reasoning within the output. All of these hosts count
    it so here, xAI too, whose chat has it beside: their totals say so."""
    receipt = await served.receipt(request_id)
    used = receipt["usage"]
    assert TOTAL.findall(body) == [b"%d" % (used["input_tokens"] + used["output_tokens"])]
    price = charge(used["input_tokens"], used["output_tokens"])
    assert receipt["price"]["nanodollars"] == price


async def check_own(served: Served, model: str, name: str, seed: int) -> None:
    """Byte for byte, and billed. What stands behind the event that ends a response is not of it:
    OpenRouter's `[DONE]`."""
    recording = recordings.load(name)
    document = {"model": model, "input": prompt(recording, seed), "stream": recording.stream}
    async with served.http() as client:
        answer = await client.post("/responses", json=document)
    assert without_cost(answer.content) == without_cost(recording.body.removesuffix(DONE)), (
        f"{name}, seed {seed}"
    )
    request_id = answer.headers["x-request-id"]
    await check_billed(served, request_id, sdk.recorded(name).usage)
    await check_price(served, request_id, recording.body)


async def check_across(served: Served, client: Protocol, found: list[str]) -> None:
    """What a client's SDK reads is what OpenAI's reads, and the same is billed."""
    asker = Asker(served)
    try:
        for seed, name in enumerate(found):
            model = f"{ONLY}{model_of(name)}"
            got = await trio.to_thread.run_sync(asker.ask, client, name, seed, model)
            original = sdk.recorded(name)
            assert compare(original, got, client).wrong == [], f"{name}, seed {seed}"
            await check_billed(served, asker.request_id, original.usage)
    finally:
        asker.close()


async def check_all(served: Served, found: list[str]) -> None:
    """Both ways of a provider to a client of responses, and the other clients."""
    for seed, name in enumerate(found):
        for prefix in ("", ONLY):
            await check_own(served, f"{prefix}{model_of(name)}", name, seed)
    for client in ACROSS:
        await check_across(served, client, found)


def test_every_host_has_a_row_that_speaks_responses() -> None:
    assert all(PROVIDERS[kind].responses for kind in HOSTS.values())


async def test_a_sample(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=all_tables(tmp_path)) as served:
        for host in HOSTS:
            await check_all(served, sample_of(host))


@pytest.mark.long
@pytest.mark.parametrize("host", HOSTS)
async def test_all(tmp_path: Path, host: str) -> None:
    async with open_served(tmp_path, models=all_tables(tmp_path)) as served:
        await check_all(served, answers_of(host))


def refusals() -> list[tuple[str, str]]:
    """The answers that are errors, each with its host; those of its chat are in the same words."""
    return [
        (kind, name)
        for folder, kind in HOSTS.items()
        for spoken in (folder, f"{folder.removesuffix('-responses')}-chat")
        for name in recordings.names(spoken)
        if isinstance(name, str) and recordings.load(name).status >= 400
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_errors_are_told_in_the_clients_protocol(tmp_path: Path, protocol: Protocol) -> None:
    found = refusals()
    if not found:
        pytest.skip("no recordings")
    codec = codec_of(protocol)
    async with open_served(tmp_path, models=all_tables(tmp_path)) as served:
        for kind, name in found:
            recording = recordings.load(name)
            read = codec_of("openai_responses").read_error(recording.status, recording.body)
            text = prompt(recording, 1)
            answer = await ask_in(served, protocol, f"{ONLY}{kind}", text)
            assert answer.status_code == codec.error_status(read), name
            assert answer.json()["error"]["message"] == read.message, name
            receipt = await served.receipt(answer.headers["x-request-id"])
            assert receipt["usage"] == Usage().units()
