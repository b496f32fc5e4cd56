"""Budgets in front of a provider: refused before, cut validly in the middle, exact in parallel."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine import Outcome
from engine.errors import BudgetExceededError, InsufficientFundsError
from engine.ledger.receipts import Receipt
from tests.clocks import HandClock
from tests.gateways import (
    OUTPUT_NANODOLLARS,
    Setup,
    charge,
    chat_body,
    content,
    drain,
    events,
    open_setup,
    run,
)
from tests.scripted import DONE, answering, open_scripted, usage_only, word


async def limit(setup: Setup, amount: int, *, of_key: bool = True) -> None:
    """A hard budget of a day for the key, or for the account."""
    key_id = setup.gateway.authenticate(setup.key).key_id if of_key else None
    await setup.gateway.ledger.set_budget(setup.account_id, key_id, "day", amount)


@pytest.mark.parametrize("of_key", [True, False], ids=["of the key", "of the account"])
async def test_a_spent_budget_refuses_until_the_next_day(tmp_path: Path, of_key: bool) -> None:
    clock = HandClock("2026-01-15 12:00")
    async with open_setup(tmp_path, clock=clock) as setup:
        await limit(setup, charge(len(chat_body("tokens=20")), 40), of_key=of_key)
        _, receipt, _ = await run(setup, setup.call("tokens=30"))
        assert receipt.price_nanodollars > 0
        answered = len(setup.sim.truth.records())
        with pytest.raises(BudgetExceededError, match="2026-01-16T00:00:00"):
            await run(setup, setup.call("tokens=30"))
        assert len(setup.sim.truth.records()) == answered
        clock.set("2026-01-16 00:00")
        _, receipt, error = await run(setup, setup.call("tokens=30"))
        assert error is None


async def test_funds_that_are_short_are_not_blamed_on_a_budget(tmp_path: Path) -> None:
    async with open_setup(tmp_path, funds_nanodollars=1_000) as setup:
        await limit(setup, 1_000_000)
        with pytest.raises(InsufficientFundsError):
            await run(setup, setup.call("tokens=30"))


@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic"])
async def test_a_budget_cuts_a_stream_validly(tmp_path: Path, protocol: str) -> None:
    """The slice that the budget does not cover is refused; what came is paid, never more."""
    billing = "output_slice_tokens = 100"
    directives = "tokens=2000 tokens_per_second=20000 ignore_max_tokens=1"
    async with open_setup(tmp_path, billing=billing) as setup:
        call = setup.call_of("openai_chat", protocol, directives)
        amount = charge(len(call.body), 350)
        await limit(setup, amount)
        async with setup.gateway.open_exchange(call) as exchange:
            body = await drain(exchange)
        receipt = exchange.receipt
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        assert receipt.flags == ("budget",)
        assert 100 < receipt.usage["output_tokens"] <= 400
        assert receipt.price_nanodollars <= amount
        finishes = [c["finish_reason"] for e in events(body) for c in e.get("choices", ())]
        assert finishes[-1] == "length"
        assert body.endswith(b"data: [DONE]\n\n")
        assert content(body)
        (view,) = await setup.gateway.ledger.budgets()
        assert view.spent_nanodollars == receipt.price_nanodollars


async def test_a_budget_with_little_left_lowers_the_limit_of_the_answer(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        await limit(setup, charge(len(chat_body("tokens=500")), 40))
        _, receipt, _ = await run(setup, setup.call("tokens=500"))
        assert (receipt.outcome, receipt.flags) == (Outcome.COMPLETED, ("budget",))
        assert receipt.usage["output_tokens"] == 40


async def test_a_report_above_the_budget_is_the_houses(tmp_path: Path) -> None:
    """What a provider says it generated unseen is posted up to the budget, not the balance."""
    body = word(" word") * 20 + usage_only(10, 5_000) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        amount = charge(len(chat_body()), 2_048) + 7
        await limit(setup, amount)
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.price_nanodollars == amount
        assert receipt.overrun_nanodollars == charge(10, 5_000) - amount


async def test_two_hundred_at_once_never_exceed_a_budget(tmp_path: Path) -> None:
    """A budget for one first slice: exactly one of two hundred is admitted at a time."""
    directives = "tokens=20 head_ms=300"
    one = charge(len(chat_body(directives, max_tokens=20)), 20)
    async with open_setup(tmp_path) as setup:
        await limit(setup, one + 15 * OUTPUT_NANODOLLARS)
        receipts: list[Receipt] = []
        refused = 0

        async def ask() -> None:
            nonlocal refused
            try:
                _, receipt, _ = await run(setup, setup.call(directives, max_tokens=20))
            except BudgetExceededError:
                refused += 1
                return
            receipts.append(receipt)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
        assert (len(receipts), refused) == (1, 199)
        (view,) = await setup.gateway.ledger.budgets()
        assert view.spent_nanodollars == receipts[0].price_nanodollars
        assert view.held_nanodollars == 0
