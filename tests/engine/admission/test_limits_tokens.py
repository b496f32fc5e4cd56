"""Tokens a minute: reserved, given back, owed; whatever clients say they need."""

from __future__ import annotations

from engine.admission.limits import (
    Demand,
    Window,
)
from engine.admission.plans import Limits
from tests.engine.admission.limiters import MINUTE_US, Bench, tokens


async def test_tokens_are_taken_of_all_scopes_or_of_none() -> None:
    bench = Bench()
    key, account = ("key_1", Limits(tokens_per_min=500)), ("acct_1", Limits(tokens_per_min=300))
    await bench.limiter.reserve_tokens(Demand.of(key, account), 200)
    await bench.refusal(Demand.of(key, account), 101)
    assert bench.tokens_left(Demand.of(key)) == 300
    assert bench.tokens_left(Demand.of(account)) == 100


async def test_what_was_reserved_and_not_needed_is_given_back() -> None:
    bench, demand = Bench(), tokens(1_000)
    lease = await bench.limiter.reserve_tokens(demand, 900)
    assert bench.tokens_left(demand) == 100
    lease.spent(300)  # within the reserve
    assert bench.tokens_left(demand) == 100
    lease.close(300)
    assert bench.tokens_left(demand) == 700
    lease.close(0)
    lease.spent(5_000)
    assert bench.tokens_left(demand) == 700


async def test_who_needs_more_than_was_reserved_goes_into_debt() -> None:
    bench, demand = Bench(), tokens(600)
    lease = await bench.limiter.reserve_tokens(demand, 100)
    for total in (90, 100, 400, 300, 1_300):
        lease.spent(total)
    lease.close(1_300)
    window = bench.limiter.status(demand).tokens
    assert window == Window(limit=600, remaining=0, reset_us=130 * 1_000_000)

    assert (await bench.refusal(demand, 1)).retry_after_s == 70.1  # 700 of debt, and the one
    bench.now_us += 70_099_999
    await bench.refusal(demand, 1)
    bench.now_us += 1
    await bench.limiter.reserve_tokens(demand, 1)


async def test_debt_is_of_all_scopes_and_bars_all_their_keys() -> None:
    bench = Bench()
    account = ("acct_1", Limits(tokens_per_min=1_000))
    first = Demand.of(("key_1", Limits(tokens_per_min=100)), account)
    second = Demand.of(("key_2", Limits(tokens_per_min=100)), account)
    lease = await bench.limiter.reserve_tokens(first, 100)
    lease.spent(1_500)
    assert (await bench.refusal(second, 50)).retry_after_s == 33.0
    assert (await bench.refusal(first, 1)).retry_after_s == 840.6


async def test_time_that_has_run_over_pays_for_no_tokens() -> None:
    """A stream that generates much after a long silence has no minutes saved up."""
    bench, demand = Bench(), tokens(600)
    lease = await bench.limiter.reserve_tokens(demand, 10)
    bench.now_us += 100 * MINUTE_US
    lease.spent(610)
    assert bench.tokens_left(demand) == 0
    await bench.refusal(demand, 1)
    bench.now_us += 100 * MINUTE_US
    lease.close(910)
    assert bench.tokens_left(demand) == 300


async def test_nothing_is_given_back_beyond_the_limit() -> None:
    bench, demand = Bench(), tokens(600)
    lease = await bench.limiter.reserve_tokens(demand, 500)
    bench.now_us += MINUTE_US
    lease.close(0)
    await bench.limiter.reserve_tokens(demand, 600)
    await bench.refusal(demand, 1)


async def test_a_request_for_more_than_a_minutes_tokens_passes_alone_and_pays_later() -> None:
    bench = Bench()
    demand = Demand.of(
        ("key_1", Limits(tokens_per_min=100)), ("acct_1", Limits(tokens_per_min=1_000))
    )
    lease = await bench.limiter.reserve_tokens(demand, 400)
    assert bench.tokens_left(Demand.of(demand.scopes[1])) == 600
    assert (await bench.refusal(demand, 400)).retry_after_s == 60.0
    lease.close(400)
    assert (await bench.refusal(demand, 400)).retry_after_s == 240.0  # 300 of debt
    assert bench.tokens_left(Demand.of(demand.scopes[1])) == 600


async def test_a_lower_limit_puts_nobody_into_debt_and_forgives_none() -> None:
    bench = Bench()
    await bench.limiter.reserve_tokens(tokens(1_000), 900)
    await bench.takes(tokens(100))
    assert (await bench.refusal(tokens(100), 1)).retry_after_s == 0.6

    lease = await bench.limiter.reserve_tokens(tokens(1_000, "key_2"), 900)
    lease.spent(1_050)
    await bench.takes(tokens(100, "key_2"))
    assert (await bench.refusal(tokens(100, "key_2"), 1)).retry_after_s == 30.6


async def test_a_lease_outlives_a_change_of_its_limit() -> None:
    bench = Bench()
    lease = await bench.limiter.reserve_tokens(tokens(1_000), 600)
    await bench.takes(tokens(2_000))
    assert bench.tokens_left(tokens(2_000)) == 1_400
    lease.close(100)
    assert bench.tokens_left(tokens(2_000)) == 1_900
