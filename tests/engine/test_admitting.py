"""What a key and its account may have: requests, streams, tokens, models, prices. One gateway in
front of a simulated provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from engine import Exchange, Outcome
from engine.errors import (
    AccountDisabledError,
    AuthenticationError,
    ClientError,
    ConcurrencyLimitedError,
    ExpiredKeyError,
    InsufficientFundsError,
    KeyDisabledError,
    ModelNotAllowedError,
    ModelNotFoundError,
    ModelUnavailableError,
    PermissionDeniedError,
    RateLimitedError,
)
from engine.events import Call
from tests.clocks import HandClock
from tests.gateways import Setup, add_key, drain, open_setup, run, settled

ENDLESS = "tokens=100000 tokens_per_second=2000"
LIAR = "tokens=400 ignore_max_tokens=1"


@asynccontextmanager
async def limited(folder: Path, plan: str, **sections: Any) -> AsyncIterator[Setup]:
    """A gateway whose account is on a plan with these limits."""
    async with open_setup(folder, models=f"[plans.test]\n{plan}\n", **sections) as setup:
        await setup.gateway.ledger.set_account_plan(setup.account_id, "test")
        yield setup


def tokens_left(setup: Setup) -> int:
    gateway = setup.gateway
    window = gateway.limit_status(gateway.identify(setup.key, "inference")).tokens
    assert window is not None
    return window.remaining


def used(exchange: Exchange) -> int:
    usage = exchange.receipt.usage
    return usage["input_tokens"] + usage["output_tokens"]


async def refusals(setup: Setup, calls: Sequence[Call]) -> list[ClientError | None]:
    """What each of these calls is refused with; those that are not stay open until the last."""
    found: list[ClientError | None] = []
    async with AsyncExitStack() as open_exchanges:
        for call in calls:
            try:
                await open_exchanges.enter_async_context(setup.gateway.open_exchange(call))
            except ClientError as error:
                found.append(error)
            else:
                found.append(None)
    return found


async def refused(setup: Setup, call: Call) -> ClientError:
    """The refusal of a call."""
    [error] = await refusals(setup, [call])
    assert error is not None, "it was admitted"
    return error


# ---- requests and streams ---------------------------------------------------------------------


async def test_so_many_requests_a_minute_pass_and_no_more(tmp_path: Path) -> None:
    async with limited(tmp_path, "requests_per_min = 5") as setup:
        found = await refusals(setup, [setup.call("tokens=1") for _ in range(20)])
        assert found.count(None) == 5
        errors = [error for error in found if error is not None]
        assert {(type(error), error.kind) for error in errors} == {(RateLimitedError, "requests")}
        assert all(0 < (error.retry_after_s or 0) <= 12 for error in errors)


async def test_so_many_streams_are_open_at_once_and_one_that_ends_makes_room(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, "concurrent_streams = 2") as setup:
        for _ in range(2):
            found = await refusals(setup, [setup.call("tokens=1") for _ in range(20)])
            assert found.count(None) == 2
            assert {type(error) for error in found} == {type(None), ConcurrencyLimitedError}
        assert (await run(setup, setup.call("tokens=1")))[2] is None


async def test_keys_share_what_their_account_has_and_have_limits_of_their_own(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, "concurrent_streams = 3") as setup:
        _, other = await add_key(setup.gateway, setup.account_id, limits={"concurrent_streams": 1})
        call = setup.call("tokens=1")
        others = [replace(setup.call("tokens=1"), key=other) for _ in range(2)]
        found = await refusals(setup, [*others, call, setup.call(), setup.call()])
        assert [error is None for error in found] == [True, False, True, True, False]


async def test_a_request_that_is_refused_takes_no_place(tmp_path: Path) -> None:
    async with limited(tmp_path, "concurrent_streams = 1") as setup:
        for body in (b"{", b'{"model": "missing", "messages": []}'):
            await refused(setup, replace(setup.call(), body=body))
        assert (await run(setup, setup.call("tokens=1")))[2] is None


# ---- tokens -----------------------------------------------------------------------------------


async def test_who_lies_about_its_output_owes_it_and_is_not_cut(tmp_path: Path) -> None:
    """Five tokens are asked for, the provider gives 400; of 300 a minute."""
    async with limited(tmp_path, "tokens_per_min = 300") as setup:
        call = setup.call(LIAR, max_tokens=5)
        async with setup.gateway.open_exchange(call) as exchange:
            await drain(exchange)
        assert exchange.receipt.outcome is Outcome.COMPLETED
        assert setup.truth(exchange).tokens_generated == 400
        assert used(exchange) > 400
        assert tokens_left(setup) == 0
        error = await refused(setup, setup.call(LIAR, max_tokens=5))
        assert (error.status, error.kind) == (429, "tokens")
        owed = used(exchange) - 300
        assert error.retry_after_s is not None
        assert owed / 5 - 2 < error.retry_after_s < (owed + 100) / 5


async def test_who_leaves_early_pays_what_was_used(tmp_path: Path) -> None:
    async with limited(tmp_path, "tokens_per_min = 6000") as setup:
        began_s = trio.current_time()
        call = setup.call(ENDLESS, max_tokens=5_900)
        async with setup.gateway.open_exchange(call) as exchange:
            await anext(exchange)
            error = await refused(setup, setup.call(max_tokens=5_900))
            assert error.kind == "tokens"
        assert exchange.receipt.outcome is Outcome.CLIENT_LEFT
        least = 6_000 - used(exchange)
        refilled = (trio.current_time() - began_s) * 100 + 1
        assert least <= tokens_left(setup) <= least + refilled


async def test_what_a_stream_uses_counts_while_it_runs(tmp_path: Path) -> None:
    """Others wait for it at once, not only when it has ended."""
    billing = "output_slice_tokens = 100"
    async with limited(tmp_path, "tokens_per_min = 900", billing=billing) as setup:
        async with setup.gateway.open_exchange(setup.call(ENDLESS)) as exchange:
            assert tokens_left(setup) > 700

            async def read() -> None:
                async for _ in exchange:
                    pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await settled(lambda: tokens_left(setup) == 0)
                nursery.cancel_scope.cancel()
        assert used(exchange) >= 800


async def test_a_limit_of_output_above_that_of_a_minute_passes_when_all_of_it_is_there(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, "tokens_per_min = 300") as setup:
        _, receipt, error = await run(setup, setup.call("tokens=1", max_tokens=100_000))
        assert error is None
        assert tokens_left(setup) >= 300 - sum(receipt.usage.values())


async def test_who_cannot_pay_gets_the_tokens_back(tmp_path: Path) -> None:
    async with limited(tmp_path, "tokens_per_min = 6000", funds_nanodollars=0) as setup:
        error = await refused(setup, setup.call(max_tokens=5_900))
        assert isinstance(error, InsufficientFundsError)
        assert tokens_left(setup) == 6_000


async def test_an_answer_that_is_given_again_takes_no_tokens(tmp_path: Path) -> None:
    async with limited(tmp_path, "tokens_per_min = 6000") as setup:
        call = replace(setup.call("tokens=50", stream=False), idempotency_key="once")
        _, receipt, _ = await run(setup, call)
        assert receipt.outcome is Outcome.COMPLETED
        before = tokens_left(setup)
        async with setup.gateway.open_exchange(
            replace(call, request_id="req_again", upload=None)
        ) as exchange:
            await drain(exchange)
            assert exchange.replayed
            assert tokens_left(setup) >= before


# ---- keys -------------------------------------------------------------------------------------

Act = Callable[[Setup, HandClock, str], Awaitable[None]]


async def _revoke(setup: Setup, _: HandClock, key_id: str) -> None:
    await setup.gateway.ledger.revoke_key(key_id)


async def _expire(_: Setup, clock: HandClock, __: str) -> None:
    clock.set("2026-01-15 12:01")


async def _disable_key(setup: Setup, _: HandClock, key_id: str) -> None:
    await setup.gateway.ledger.switch("key", key_id, off=True)


async def _disable_account(setup: Setup, _: HandClock, __: str) -> None:
    await setup.gateway.ledger.switch("account", setup.account_id, off=True)


async def _narrow(setup: Setup, _: HandClock, key_id: str) -> None:
    await setup.gateway.ledger.set_key_terms(
        key_id, lambda terms: replace(terms, scopes=("read", "keys"))
    )


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (_revoke, AuthenticationError),
        (_expire, ExpiredKeyError),
        (_disable_key, KeyDisabledError),
        (_disable_account, AccountDisabledError),
        (_narrow, PermissionDeniedError),
    ],
)
async def test_a_key_is_looked_at_again_when_the_body_has_come(
    tmp_path: Path, act: Act, error: type[ClientError]
) -> None:
    """What was open before goes on, and is billed."""
    clock = HandClock("2026-01-15 12:00")
    async with open_setup(tmp_path, clock=clock) as setup:
        gateway = setup.gateway
        key_id, key = await add_key(gateway, setup.account_id, expires_at_ms=clock.now_ms + 60_000)
        async with gateway.open_exchange(replace(setup.call("tokens=20"), key=key)) as exchange:
            admitted = await gateway.admit(key, "inference")
            await act(setup, clock, key_id)
            with pytest.raises(error):
                async with gateway.open_exchange(replace(setup.call(), key=None), admitted):
                    raise AssertionError("it was admitted")
            with pytest.raises(error):
                await gateway.count_tokens(replace(setup.call(), key=None), admitted)
            with pytest.raises(error):
                gateway.identify(key, "inference")
            assert (await drain(exchange)).endswith(b"data: [DONE]\n\n")
        assert exchange.receipt.outcome is Outcome.COMPLETED
        assert exchange.receipt.price_nanodollars > 0


async def test_a_key_is_for_its_scopes(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        _, key = await add_key(setup.gateway, setup.account_id, scopes=("read",))
        assert setup.gateway.identify(key, "read").entry.terms.scopes == {"read"}
        assert setup.gateway.identify(key, None).plan is None
        error = await refused(setup, replace(setup.call(), key=key))
        assert isinstance(error, PermissionDeniedError)
        assert (error.status, error.code) == (403, "insufficient_scope")


# ---- models and prices ------------------------------------------------------------------------


async def test_a_model_outside_the_plan_is_not_there_and_one_that_the_key_has_not_is_refused(
    tmp_path: Path,
) -> None:
    async with limited(tmp_path, 'models = ["sim-open*", "sim-anthropic"]') as setup:
        _, key = await add_key(setup.gateway, setup.account_id, models=("sim-openai", "no-*"))
        call = replace(setup.call("tokens=1"), key=key)
        assert (await run(setup, call))[2] is None
        expected = {
            "sim-anthropic": ModelNotAllowedError,
            "sim-gemini": ModelNotFoundError,
            "sim-openai-2": ModelNotFoundError,
            "no-such": ModelNotFoundError,
        }
        for model, kind in expected.items():
            call = replace(setup.call(model=model), key=key)
            error = await refused(setup, call)
            assert (type(error), error.param) == (kind, "model")
            with pytest.raises(kind):
                await setup.gateway.count_tokens(call)
        outside = await refused(setup, setup.call(model="sim-gemini"))
        assert outside.message.replace("sim-gemini", "*") == error.message.replace("no-such", "*")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("provider", "sim"), ("deployment", "sim/sim-openai"), ("model", "sim-openai")],
)
async def test_what_is_switched_off_serves_nothing_new(
    tmp_path: Path, kind: Any, subject: str
) -> None:
    async with open_setup(tmp_path) as setup:
        switch = setup.gateway.ledger.switch
        async with setup.gateway.open_exchange(setup.call("tokens=20")) as exchange:
            await switch(kind, subject, off=True, reason="an outage")
            with pytest.raises(ModelUnavailableError) as caught:
                async with setup.gateway.open_exchange(setup.call()):
                    raise AssertionError("it was admitted")
            assert caught.value.retry_after_s == 30
            assert (await drain(exchange)).endswith(b"data: [DONE]\n\n")
        other = setup.call_of("openai_chat", "anthropic", "tokens=1")
        assert (await run(setup, other))[2] is None
        await switch(kind, subject, off=False)
        assert (await run(setup, setup.call("tokens=1")))[2] is None


async def test_an_accounts_price_goes_before_its_plans_and_that_before_everybodys(
    tmp_path: Path,
) -> None:
    prices = '[plans.test.prices."sim-openai"]\ninput = 0\noutput = 3'
    async with limited(tmp_path, prices) as setup:
        set_price = setup.gateway.ledger.set_price

        async def paid_for_a_token() -> float:
            _, receipt, _ = await run(setup, setup.call("tokens=100"))
            return receipt.price_nanodollars / receipt.usage["output_tokens"]

        assert await paid_for_a_token() == 3_000
        await set_price("all", "", "sim-openai", {"input": "0", "output": "4"})
        assert await paid_for_a_token() == 3_000
        await set_price("plan", "test", "sim-openai", {"input": "0", "output": "5"})
        assert await paid_for_a_token() == 5_000
        await set_price("account", setup.account_id, "sim-openai", {"input": "0", "output": "6"})
        assert await paid_for_a_token() == 6_000


async def test_an_open_exchange_keeps_its_price(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=100")) as exchange:
            await setup.gateway.ledger.set_price(
                "all", "", "sim-openai", {"input": "0", "output": "50"}
            )
            await drain(exchange)
        _, later, _ = await run(setup, setup.call("tokens=100"))
        usage = exchange.receipt.usage
        dearer = exchange.receipt.price_nanodollars
        assert dearer == usage["input_tokens"] * 1_000 + usage["output_tokens"] * 2_000
        assert later.price_nanodollars == later.usage["output_tokens"] * 50_000
