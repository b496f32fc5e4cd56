"""The simulated provider accepts what is translated for it: our examples and recorded requests."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine.events import Protocol
from engine.protocols.registry import codec_of
from tests import recordings
from tests.golden_requests import PROTOCOLS, case_names, load_case
from tests.recordings import RECORDINGS
from tests.requests.comparing import names_something
from tests.requests.recorded import requests_of
from tests.requests.translating import Refused, Target, Translated, call_of, translate

SIMULATED = {
    "openai_chat": (Target("openai_chat", "sim-openai"), "v1"),
    "openai_responses": (Target("openai_responses", "sim-openai"), "v1"),
    "anthropic": (Target("anthropic", "sim-anthropic"), "v1"),
    "gemini": (Target("gemini", "sim-gemini"), "v1beta"),
}
# Gemini and Anthropic tell signatures that are not their own, as those of examples and recordings:
# so they came.
FORGED = {
    "gemini": ("thoughtSignature", "Corrupted thought signature."),
    "anthropic": ("signature", "Invalid `signature`"),
}
# DeepSeek takes conversations that begin with the model; the other providers refuse them.
BEGUN_BY_THE_MODEL = "deepseek-responses/"
# Two recordings of an old model have a result whose call is not in the conversation.
LOST_CALL = "completion-tools-call-with-tool-result-stream"
PAIRS = [(a, b) for a in PROTOCOLS for b in PROTOCOLS if a != b]


def translated(
    source: str, provider: str, requests: dict[str, dict[str, Any]]
) -> dict[str, Translated]:
    """The bodies for a provider, by name; what is refused is rightly refused."""
    found = {}
    for name, document in requests.items():
        call = call_of(cast(Protocol, source), document, stream="stream" in name)
        result = translate(call, SIMULATED[provider][0])
        if isinstance(result, Refused):
            assert names_something(result, source, document), (name, result)
        else:
            found[name] = result
    return found


async def refusals(
    simulator: Simulator, provider: str, bodies: dict[str, Translated]
) -> list[tuple[str, int, str]]:
    """What the provider does not accept."""
    codec, (target, version) = codec_of(provider), SIMULATED[provider]
    headers = codec.provider_headers()
    refused = []
    async with httpx.AsyncClient(timeout=60) as client:
        for name, result in bodies.items():
            stream = bool(result.body.get("stream"))
            path = codec.path(target.model, "chat", stream=stream, array=False)
            url = f"{simulator.base_url}/{version}{path}"
            answer = await client.post(url, json=result.body, headers=headers)
            signature, problem = FORGED.get(provider, ("", "\n"))
            forged = signature in str(result.body) and problem in answer.text
            if answer.status_code != 200 and not forged:
                refused.append((name, answer.status_code, answer.text))
    return refused


@pytest.mark.parametrize(("source", "provider"), PAIRS)
async def test_translated_examples_are_accepted(source: str, provider: str) -> None:
    names = [name for name in case_names() if name.startswith(f"{source}/")]
    bodies = translated(source, provider, {name: load_case(name) for name in names})
    assert len(bodies) > len(names) / 2
    async with open_simulator(SimulatorSettings()) as simulator:
        assert await refusals(simulator, provider, bodies) == []


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")
@pytest.mark.parametrize(("source", "provider"), PAIRS)
async def test_translated_recordings_are_accepted(source: str, provider: str) -> None:
    left_out = (LOST_CALL, BEGUN_BY_THE_MODEL)
    names = [name for name in requests_of(source) if not any(part in name for part in left_out)]
    documents = {name: recordings.load(name).request or {} for name in names}
    bodies = translated(source, provider, documents)
    assert len(bodies) > len(documents) / 2
    async with open_simulator(SimulatorSettings()) as simulator:
        assert await refusals(simulator, provider, bodies) == []
