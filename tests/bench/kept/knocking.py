"""The simulated OpenAI with what it keeps, by its SDK in a thread or raw; recorded shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import openai
import orjson
import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.recordings import RECORDINGS, load

T = TypeVar("T")
KEYS = frozenset({"k-one", "k-two"})


@asynccontextmanager
async def simulated(**settings: Any) -> AsyncIterator[Simulator]:
    async with open_simulator(SimulatorSettings(api_keys=KEYS, **settings)) as simulator:
        yield simulator
        assert simulator.statistics().crashes == 0


async def by_sdk(simulator: Simulator, work: Callable[[openai.OpenAI], T], key: str = "k-one") -> T:
    """Blocking code of the SDK, in a thread."""

    def run() -> T:
        with openai.OpenAI(
            api_key=key, base_url=f"{simulator.base_url}/v1", max_retries=0, timeout=10.0
        ) as client:
            return work(client)

    return await trio.to_thread.run_sync(run)


def web(simulator: Simulator, key: str = "k-one") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=f"{simulator.base_url}/v1", headers=headers)


def recorded(name: str) -> Any:
    """The JSON of a recorded answer; where there are no recordings, the test is skipped."""
    if not (RECORDINGS / name).exists():
        pytest.skip(f"no recordings at {RECORDINGS}")
    return orjson.loads(load(name).body)


def lacks(shown: Any, known: Any) -> set[str]:
    """The keys of a recorded object that one shown here does not have."""
    return set(known) - set(shown)


def events(body: str) -> list[Any]:
    """The data of the events of a stream."""
    lines = body.splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith("data: {")]
