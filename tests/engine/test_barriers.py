"""Nothing generated leaves before the hold is durable, nor the end before the settlement is.

The journal is stalled for real: another connection holds the database's write lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from engine import Outcome
from engine.errors import UnavailableError
from tests.gateways import DOLLAR, Setup, open_setup, run, settled


@contextmanager
def stalled_journal(setup: Setup) -> Iterator[None]:
    """No commit succeeds inside the block."""
    other = sqlite3.connect(setup.gateway.config.storage.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_no_generated_byte_leaves_before_the_hold_is_durable(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        body: list[bytes] = []

        async def ask() -> None:
            async with setup.gateway.open_exchange(setup.call("tokens=20")) as exchange:
                async for chunk in exchange:
                    body.append(chunk)  # noqa: PERF401 - the chunks are looked at as they come

        async with trio.open_nursery() as nursery:
            with stalled_journal(setup):
                nursery.start_soon(ask)
                await settled(lambda: any(t.tokens_written for t in setup.sim.truth.records()))
                await trio.testing.wait_all_tasks_blocked(0.2)
                assert body == []
            await settled(lambda: bool(body))
        assert b"".join(body).endswith(b"data: [DONE]\n\n")


async def test_no_last_byte_leaves_before_the_settlement_is_durable(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        await check_last_byte(setup, "tokens=300 tokens_per_second=1000", stream=True)
        for tokens in (300, 20_000):
            early = await check_last_byte(setup, f"tokens={tokens}", stream=False)
            assert early == b"", "nearly all of an answer is as good as all of it"


async def check_last_byte(setup: Setup, directives: str, *, stream: bool) -> bytes:
    """Stall the journal before the settlement; what had gone out until it was durable."""
    ending = b"data: [DONE]" if stream else b"}"
    chunks: list[bytes] = []
    begun, go_on = trio.Event(), trio.Event()
    call = setup.call(directives, stream=stream)

    async def ask() -> None:
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            begun.set()
            await go_on.wait()
            async for chunk in exchange:
                chunks.append(chunk)  # noqa: PERF401 - the chunks are looked at as they come

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await begun.wait()
        with stalled_journal(setup):
            go_on.set()
            truth = setup.sim.truth.record(call.request_id)
            assert truth is not None
            await settled(lambda: truth.ended == "done")
            await trio.testing.wait_all_tasks_blocked(0.2)
            early = b"".join(chunks)
            assert not early.rstrip().endswith(ending)
        await settled(lambda: b"".join(chunks).rstrip().endswith(ending))
    return early


async def test_a_hold_that_cannot_be_recorded_refuses_the_request(tmp_path: Path) -> None:
    async with open_setup(tmp_path, storage="barrier_timeout_s = 0.3") as setup:
        with stalled_journal(setup):
            _, receipt, error = await run(setup, setup.call("tokens=20"))
            assert isinstance(error, UnavailableError)
            assert receipt.outcome is Outcome.GATEWAY_FAILED
        await settled(lambda: setup.gateway.not_ready is None)
        assert await setup.balance() == DOLLAR


async def test_past_the_deadline_the_ending_is_released_and_admission_closes(
    tmp_path: Path,
) -> None:
    async with open_setup(tmp_path, storage="barrier_timeout_s = 0.3") as setup:
        call = setup.call("tokens=100 tokens_per_second=1000")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            with stalled_journal(setup):
                chunks = [chunk async for chunk in exchange]
                assert chunks[-1] == b"data: [DONE]\n\n"
                assert exchange.receipt.durability == "pending"
                assert setup.gateway.not_ready is not None
                with pytest.raises(UnavailableError):
                    async with setup.gateway.open_exchange(setup.call()):
                        pass
        await settled(lambda: setup.gateway.ledger.statistics().queued_records == 0)
        assert setup.gateway.ledger.healthy
        principal = setup.gateway.authenticate(setup.key)
        stored = await setup.gateway.receipt(principal, call.request_id)
        assert stored["durability"] == "durable"
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
        assert receipt.outcome is Outcome.COMPLETED
