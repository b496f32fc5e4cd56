"""Whole exchanges whose bodies are parsed apart: for its client nothing is different."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import orjson
import pytest
import trio

from engine import Call, Outcome, Provenance
from engine.errors import InvalidRequestError, ModelNotFoundError, UnavailableError
from engine.gateway import Gateway
from tests.gateways import DOLLAR, PAIRS, charge, content, open_setup, run, settled

APART = "parsed_here_max_bytes = 1"


def jobs(gateway: Gateway) -> tuple[float | None, float | None]:
    """What the metrics say of the helper: bodies, starts."""
    sample = gateway.telemetry.registry.get_sample_value
    return sample("parshall_helper_jobs"), sample("parshall_helper_starts")


async def test_streams_and_whole_answers_of_all_pairs(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server=APART) as setup:
        for client, provider in PAIRS:
            for stream in (True, False):
                call = setup.call_of(client, provider, "tokens=7", stream=stream)
                _, receipt, error = await run(setup, call)
                assert (receipt.outcome, error) == (Outcome.COMPLETED, None), (client, provider)
                assert receipt.usage["output_tokens"] == 7, (client, provider)
                assert receipt.provenance is Provenance.REPORTED

        assert jobs(setup.gateway) == (2 * len(PAIRS), 1)


async def test_refusals_counts_and_limits(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server=APART, funds_nanodollars=charge(2_000, 40)) as setup:
        # What is wrong is said before any money is touched.
        for body, kind in (
            (b"{", InvalidRequestError),
            (b'{"model":"nobody","messages":[{"role":"user","content":"x"}]}', ModelNotFoundError),
        ):
            with pytest.raises(kind):
                await run(setup, Call(body, setup.key))
        # Who leaves pays for the prompt, which is counted.
        async with setup.gateway.open_exchange(setup.call("tokens=500")) as exchange:
            await anext(aiter(exchange))
        counted = exchange.receipt.usage["input_tokens"]
        assert exchange.receipt.usage_provenance["input_tokens"] is Provenance.COUNTED
        assert abs(counted - setup.truth(exchange).input_tokens) <= 5
        # A count is no exchange.
        call = setup.call_of("anthropic", "openai_chat", stream=False)
        call = Call(call.body, setup.key, "anthropic", "count_tokens")
        head, answer = await setup.gateway.count_tokens(call)
        assert (b"x-parshall-counted", b"estimate") in head.headers
        assert orjson.loads(answer)["input_tokens"] > 5


async def test_a_balance_that_covers_little_lowers_the_limit(tmp_path: Path) -> None:
    funds = charge(300, 100)
    async with open_setup(tmp_path, server=APART, funds_nanodollars=funds) as setup:
        call = setup.call("tokens=2000", max_tokens=2_000)
        body, receipt, _ = await run(setup, call)
        assert receipt.outcome is Outcome.COMPLETED
        assert 0 < receipt.usage["output_tokens"] < 300
        assert content(body) != ""
        assert jobs(setup.gateway) == (2, 1), "it was encoded once more"


async def test_a_helper_that_dies_costs_nothing(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server=APART) as setup:
        await run(setup, setup.call("tokens=1"))
        before = await setup.balance()
        pid = setup.gateway.statistics()["parsing"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def refused() -> None:
                with pytest.raises(UnavailableError) as caught:
                    await run(setup, setup.call("tokens=1"))
                assert caught.value.retry_after_s is not None

            nursery.start_soon(refused)
            await settled(lambda: jobs(setup.gateway)[0] == 2)
            os.kill(pid, signal.SIGKILL)
        assert await setup.balance() == before < DOLLAR
        assert len(setup.sim.truth.records()) == 1
        _, receipt, _ = await run(setup, setup.call("tokens=1"))
        assert receipt.outcome is Outcome.COMPLETED
        assert jobs(setup.gateway) == (3, 2)
