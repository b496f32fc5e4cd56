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
from engine.ledger.receipts import Receipt
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
        early, whole = await stalled_at_the_end(setup, "tokens=300 tokens_per_second=600")
        assert early
        assert whole.startswith(early)
        assert b"[DONE]" not in early


async def test_nothing_of_an_answer_in_one_piece_leaves_before_its_settlement_is_durable(
    tmp_path: Path,
) -> None:
    async with open_setup(tmp_path) as setup:
        for tokens in (300, 20_000):
            early, _ = await stalled_at_the_end(setup, f"tokens={tokens} head_ms=300", stream=False)
            assert early == b"", "nearly all of an answer is as good as all of it"


async def stalled_at_the_end(
    setup: Setup, directives: str, *, stream: bool = True
) -> tuple[bytes, bytes]:
    """Stall the journal between hold and settlement; what had gone out until it was durable, head
    and body, and what came to the client altogether."""
    given: list[bytes] = []
    call = setup.call(directives, stream=stream)

    async def ask() -> None:
        async with setup.gateway.open_exchange(call) as exchange:
            head = await exchange.head()
            given.append(b"%d" % head.status)
            async for chunk in exchange:
                given.append(chunk)  # noqa: PERF401 - the chunks are looked at as they come
        given.append(b"end")

    def hold_is_durable() -> bool:
        dispatched = setup.sim.truth.record(call.request_id) is not None
        return dispatched and setup.gateway.ledger.statistics().queued_records == 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settled(lambda: bool(given) if stream else hold_is_durable())
        with stalled_journal(setup):
            truth = setup.sim.truth.record(call.request_id)
            assert truth is not None
            await settled(lambda: truth.ended == "done")
            await trio.testing.wait_all_tasks_blocked(0.2)
            early = b"".join(given)
        await settled(lambda: given[-1:] == [b"end"])
    return early, b"".join(given)


async def test_who_leaves_before_an_answer_in_one_piece_was_let_go_pays_nothing(
    tmp_path: Path,
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call("tokens=9", stream=False)
        receipts: list[Receipt] = []
        left = trio.CancelScope()

        async def ask() -> None:
            with left:
                async with setup.gateway.open_exchange(call) as exchange:
                    try:
                        await exchange.head()
                    finally:
                        receipts.append(exchange.receipt)
            receipts.append(exchange.receipt)

        async with trio.open_nursery() as nursery:
            with stalled_journal(setup):
                nursery.start_soon(ask)
                await settled(lambda: any(t.ended == "done" for t in setup.sim.truth.records()))
                await trio.testing.wait_all_tasks_blocked(0.2)
                left.cancel()
        assert left.cancelled_caught
        assert receipts[0].outcome is Outcome.RUNNING
        receipt = receipts[1]
        assert (receipt.outcome, receipt.price_nanodollars) == (Outcome.CLIENT_LEFT, 0)
        assert (receipt.received_output_tokens, receipt.delivered_output_tokens) == (9, 0)


async def test_a_hold_that_cannot_be_recorded_refuses_the_request(tmp_path: Path) -> None:
    async with open_setup(tmp_path, storage="barrier_timeout_s = 1") as setup:
        with stalled_journal(setup):
            _, receipt, error = await run(setup, setup.call("tokens=20"))
            assert isinstance(error, UnavailableError)
            assert receipt.outcome is Outcome.GATEWAY_FAILED
        await settled(lambda: setup.gateway.not_ready is None)
        assert await setup.balance() == DOLLAR


async def test_past_the_deadline_the_ending_is_released_and_admission_closes(
    tmp_path: Path,
) -> None:
    async with open_setup(tmp_path, storage="barrier_timeout_s = 1") as setup:
        call = setup.call("tokens=100 tokens_per_second=300")
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
