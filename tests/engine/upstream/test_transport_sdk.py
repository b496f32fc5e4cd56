"""OpenAI's SDK, unmodified, over the transport, against the simulated provider."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import openai
import pytest
import trio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine.upstream import transport as transport_module
from engine.upstream.pool import open_pool
from engine.upstream.transport import MultiplexTransport
from tests.leaving import cancelled_once

# The SDK stops reading at `[DONE]` and leaves its generators to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def ask(directives: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"#sim {directives}\nTell me more."}]


class Setup:
    """A simulated provider and an SDK that reaches it through a pool."""

    def __init__(self, sim: Simulator, sdk: AsyncOpenAI) -> None:
        self.sim = sim
        self.sdk = sdk

    async def stream(
        self, directives: str, request_id: str = "one"
    ) -> openai.AsyncStream[openai.types.chat.ChatCompletionChunk]:
        return await self.sdk.chat.completions.create(
            model="sim-openai",
            messages=ask(directives),
            stream=True,
            extra_headers={"x-request-id": request_id},
        )

    async def read(self, directives: str, request_id: str = "one") -> str:
        """The text of a stream."""
        async with await self.stream(directives, request_id) as stream:
            return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def ended(self, request_id: str = "one") -> str | None:
        """How the provider says it ended."""
        with trio.fail_after(30):
            await self.sim.truth.wait_ended(request_id)
        record = self.sim.truth.record(request_id)
        assert record is not None
        return record.ended

    def text(self, request_id: str = "one") -> str:
        record = self.sim.truth.record(request_id)
        assert record is not None
        return record.text


@asynccontextmanager
async def open_setup(**options: Any) -> AsyncIterator[Setup]:
    async with open_simulator(SimulatorSettings()) as sim, open_pool() as pool:
        http = httpx.AsyncClient(
            transport=MultiplexTransport(pool, http2="prior-knowledge"), timeout=30
        )
        async with AsyncOpenAI(
            base_url=f"{sim.base_url}/v1",
            api_key="sk-test",
            http_client=cast(Any, http),
            **({"max_retries": 0} | options),
        ) as sdk:
            yield Setup(sim, sdk)
        assert all(origin.open_streams == 0 for origin in pool.statistics().origins)


async def test_an_answer_at_once() -> None:
    async with open_setup() as setup:
        answer = await setup.sdk.chat.completions.create(
            model="sim-openai",
            messages=ask("tokens=50"),
            extra_headers={"x-request-id": "one"},
        )
        assert answer.choices[0].message.content == setup.text()


async def test_a_stream() -> None:
    async with open_setup() as setup:
        assert await setup.read("tokens=200 tokens_per_second=1000") == setup.text()
        assert await setup.ended() == "done"


async def test_many_at_once_share_few_connections() -> None:
    texts: dict[str, str] = {}
    async with open_setup() as setup:

        async def one(request_id: str) -> None:
            texts[request_id] = await setup.read("tokens=30 tokens_per_second=60", request_id)

        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(one, f"r{n}")
            await trio.sleep(0.3)
            assert setup.sim.statistics().connections <= 4
        assert texts == {f"r{n}": setup.text(f"r{n}") for n in range(200)}


async def test_a_cancelled_request_stops_the_provider() -> None:
    async with open_setup() as setup:
        stream = await setup.stream("tokens=1000000 tokens_per_second=100")
        await anext(stream)
        with trio.move_on_after(0.05) as scope:
            async for _ in stream:
                pass
        assert scope.cancelled_caught
        assert await setup.ended() == "reset"


async def test_a_request_cancelled_before_its_head_stops_the_provider() -> None:
    async with open_setup() as setup:
        async with cancelled_once(lambda: any(setup.sim.truth.records())):
            await setup.read("tokens=10 first_token_ms=60000 head_ms=60000")
        assert await setup.ended() == "reset"


async def test_a_stream_that_is_closed_early_stops_the_provider_and_no_other() -> None:
    async with open_setup() as setup, trio.open_nursery() as nursery:
        nursery.start_soon(setup.read, "tokens=50 tokens_per_second=200", "other")
        stream = await setup.stream("tokens=1000000 tokens_per_second=100")
        await anext(stream)
        await stream.close()
        assert await setup.ended() == "reset"
        assert await setup.ended("other") == "done"


async def test_a_silent_provider_is_the_sdks_timeout() -> None:
    async with open_setup(timeout=httpx.Timeout(30, read=0.1)) as setup:
        with pytest.raises(openai.APITimeoutError):
            await setup.read("head_ms=60000")
        assert await setup.ended() == "reset"


@pytest.mark.parametrize("fault", ["cut", "rst", "goaway_refused", "refused"])
async def test_a_failing_provider_is_the_sdks_connection_error(fault: str) -> None:
    async with open_setup() as setup:
        with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
            await setup.read(f"tokens=20 fault={fault} cut_after=10")


async def test_an_error_status_is_the_sdks_own_error() -> None:
    async with open_setup() as setup:
        with pytest.raises(openai.RateLimitError) as raised:
            await setup.read("status=429 retry_after=3")
        assert raised.value.response.headers["retry-after"] == "3"


async def test_the_sdk_tries_again_by_itself() -> None:
    async with open_setup(max_retries=1) as setup:
        with pytest.raises(openai.InternalServerError):
            await setup.read("status=503 retry_after=0.01")
        assert len(setup.sim.truth.records()) == 2


async def test_a_large_prompt() -> None:
    prompt = "word " * 1_000_000
    async with open_setup() as setup:
        answer = await setup.sdk.chat.completions.create(
            model="sim-openai",
            messages=[{"role": "system", "content": prompt}, *ask("tokens=3")],
            extra_headers={"x-request-id": "one"},
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > 1_000_000


async def test_the_example_of_the_docstring_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (inspect.getdoc(transport_module) or "").splitlines()
    example = textwrap.dedent("\n".join(x for x in lines if not x or x.startswith("    ")))
    async with open_simulator(SimulatorSettings(any_model=True)) as sim:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{sim.base_url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        # The simulated provider speaks without TLS; and Trio runs already.
        example = example.replace(
            "open_multiplex_transport()", 'open_multiplex_transport(http2="prior-knowledge")'
        ).replace("trio.run(main)", "")
        namespace: dict[str, Any] = {}
        exec(example, namespace)
        await namespace["main"]()
        [record] = sim.truth.records()
        assert capsys.readouterr().out == record.text
