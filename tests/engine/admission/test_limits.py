"""Requests a minute are exact: at the edges of time, among tasks, over two scopes, when changed."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import MockClock

from engine.admission.limits import (
    Demand,
    LimitStatus,
    LocalLimiter,
    Slots,
    Window,
    whole_ms_s,
)
from engine.admission.plans import NO_LIMITS, Limits
from engine.errors import ConcurrencyLimitedError, RateLimitedError
from tests.engine.admission.limiters import MINUTE_US, RATES, Bench, requests, tokens


@pytest.mark.parametrize("limit", RATES)
async def test_a_minutes_requests_at_once_and_then_one_by_one(limit: int) -> None:
    bench, demand = Bench(), requests(limit)
    assert await bench.takes(demand, limit + 3) == limit

    began_us = bench.now_us
    for nth in range(1, 4):
        due_us = began_us + -(-MINUTE_US * nth // limit)
        bench.now_us = due_us - 1
        assert await bench.takes(demand) == 0
        bench.now_us = due_us
        assert await bench.takes(demand, 2) == 1

    bench.now_us = due_us + MINUTE_US - 1
    assert await bench.takes(demand, limit + 3) == limit - 1
    bench.now_us += 10 * MINUTE_US  # more than a minute's never gathers
    assert await bench.takes(demand, limit + 3) == limit


async def test_a_scope_that_is_made_after_the_clock_was_asked_is_full() -> None:
    """Time goes on between the two."""
    ticks = itertools.count()
    limiter = LocalLimiter(lambda: next(ticks))
    await limiter.take_request(requests(1))
    with pytest.raises(RateLimitedError):
        await limiter.take_request(requests(1))


@pytest.mark.parametrize("limit", RATES)
async def test_who_waits_as_long_as_was_said_passes(limit: int, mock_clock: MockClock) -> None:
    """By Trio's clock, whose seconds are no integers."""
    mock_clock.jump(86_399.123_456_7)
    limiter, demand = LocalLimiter(), requests(limit)
    for _ in range(limit):
        await limiter.take_request(demand)
    for _ in range(20):
        with pytest.raises(RateLimitedError) as caught:
            await limiter.take_request(demand)
        wait_s = caught.value.retry_after_s
        assert wait_s is not None
        assert wait_s * 1_000 == pytest.approx(round(wait_s * 1_000))
        assert wait_s <= 60 / limit + 0.001
        mock_clock.jump(wait_s)
        await limiter.take_request(demand)


@pytest.mark.parametrize(
    ("wait_us", "wait_s"),
    [(1, 0.001), (999, 0.001), (1_000, 0.001), (1_001, 0.002), (600_000_000, 600)],
)
def test_a_wait_is_rounded_up_to_milliseconds(wait_us: int, wait_s: float) -> None:
    assert whole_ms_s(wait_us) == wait_s


async def test_two_hundred_tasks_at_once(mock_clock: MockClock) -> None:
    limiter = LocalLimiter()
    demand = Demand.of(("key_1", Limits(100, 10_000)), ("acct_1", Limits(1_000, 6_000)))
    passed: list[str] = []

    async def ask() -> None:
        await trio.lowlevel.checkpoint()
        try:
            await limiter.take_request(demand)
        except RateLimitedError:
            return
        passed.append("request")
        await trio.lowlevel.checkpoint()
        try:
            await limiter.reserve_tokens(demand, 100)
        except RateLimitedError:
            return
        passed.append("tokens")

    async def ask_together(tasks: int) -> tuple[int, int]:
        passed.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(ask)
        return passed.count("request"), passed.count("tokens")

    assert await ask_together(200) == (100, 60)
    mock_clock.jump(0.599_999)
    assert await ask_together(200) == (0, 0)
    mock_clock.jump(0.000_001)
    assert await ask_together(200) == (1, 0)  # 100 tokens of 6,000 a minute take a second
    mock_clock.jump(0.6)
    assert await ask_together(200) == (1, 1)
    mock_clock.jump(60)
    assert await ask_together(200) == (100, 60)


async def test_a_request_is_taken_of_all_scopes_or_of_none() -> None:
    bench = Bench()
    key, account = ("key_1", Limits(requests_per_min=5)), ("acct_1", Limits(requests_per_min=3))
    both = Demand.of(key, account)
    assert await bench.takes(both, 10) == 3
    left = bench.limiter.status(Demand.of(key)).requests
    assert left is not None
    assert left.remaining == 2

    other = Demand.of(("key_2", Limits(requests_per_min=5)), account)
    assert await bench.takes(other, 10) == 0
    bench.now_us += MINUTE_US // 3
    assert await bench.takes(other) == 1
    assert await bench.takes(Demand.of(key), 10) == 3  # 5 a minute: 5/3 have come back


async def test_the_longest_wait_is_told_and_whose_it_is() -> None:
    bench = Bench()
    demand = Demand.of(("key_1", Limits(60, 6_000)), ("acct_1", Limits(30, 1_000)))
    assert await bench.takes(demand, 99) == 30
    bench.now_us += 500_000
    error = await bench.refusal(demand)
    assert (error.status, error.code, error.kind) == (429, "rate_limit_exceeded", "requests")
    assert error.message == "Rate limit of acct_1 reached: 30 requests per minute."
    assert error.retry_after_s == 1.5

    await bench.limiter.reserve_tokens(demand, 1_000)
    error = await bench.refusal(demand, 1)
    assert (error.code, error.kind, error.retry_after_s) == ("rate_limit_exceeded", "tokens", 0.06)
    assert error.message.startswith("Rate limit of acct_1 reached: 1,000 tokens per minute.")


async def test_to_be_refused_costs_nothing() -> None:
    bench, demand = Bench(), requests(60)
    assert await bench.takes(demand, 1_000) == 60
    bench.now_us += 400_000
    assert await bench.takes(demand, 1_000) == 0
    assert (await bench.refusal(demand)).retry_after_s == 0.6


@pytest.mark.parametrize(
    ("before", "used", "after", "left"),
    [
        (100, 30, 1_000, 970),
        (100, 30, 50, 20),
        (100, 60, 50, 0),
        (100, 100, 50, 0),
        (100, 100, 200, 100),
        (10, 0, 20, 20),
    ],
)
async def test_another_limit_keeps_what_is_used(
    before: int, used: int, after: int, left: int
) -> None:
    bench = Bench()
    assert await bench.takes(requests(before), used) == used
    assert await bench.takes(requests(after), after + 1) == left
    assert (await bench.refusal(requests(after))).retry_after_s == whole_ms_s(
        -(-MINUTE_US // after)
    )


async def test_until_a_change_what_is_used_comes_back_by_the_limit_that_was() -> None:
    bench = Bench()
    assert await bench.takes(requests(60), 60) == 60
    bench.now_us += MINUTE_US // 2
    assert await bench.takes(requests(120), 99) == 90
    bench.now_us += MINUTE_US // 2
    assert await bench.takes(requests(30), 99) == 0  # 60 of 120 are used
    bench.now_us += 2_000_000
    assert await bench.takes(requests(30), 99) == 1


async def test_no_limit_any_more_and_then_again_one() -> None:
    bench = Bench()
    lease = await bench.limiter.reserve_tokens(tokens(1_000), 600)
    unlimited = Demand((("key_1", Limits(requests_per_min=9)),))
    await bench.takes(unlimited)
    await bench.limiter.reserve_tokens(tokens(1_000), 5_000)
    lease.close(900)
    await bench.takes(tokens(500))
    assert bench.tokens_left(tokens(500)) == 500


async def test_what_was_admitted_under_other_limits_changes_none() -> None:
    """A request may reserve, and a head be written, after the limits have changed."""
    bench = Bench()
    old, new = Demand.of(("key_1", Limits(100, 1_000, 9))), Demand.of(("key_1", Limits(10, 100, 1)))
    await bench.takes(old)
    await bench.takes(new)
    assert bench.limiter.status(old) == bench.limiter.status(new)
    await bench.limiter.reserve_tokens(old, 100)
    await bench.refusal(new, 1)
    async with bench.limiter.slot(old):
        with pytest.raises(ConcurrencyLimitedError):
            await bench.limiter.slot(old).__aenter__()
    assert await bench.takes(new, 99) == 8


async def test_the_status_is_of_the_scope_that_has_the_least() -> None:
    bench = Bench()
    demand = Demand.of(("key_1", Limits(10, 1_000, 2)), ("acct_1", Limits(5, 100_000, 9)))
    assert bench.limiter.status(demand) == LimitStatus(
        Window(5, 5, 0), Window(1_000, 1_000, 0), Slots(2, 0)
    )
    await bench.takes(demand, 2)
    await bench.limiter.reserve_tokens(demand, 250)
    async with bench.limiter.slot(demand):
        assert bench.limiter.status(demand) == LimitStatus(
            Window(5, 3, 24_000_000), Window(1_000, 750, 15_000_000), Slots(2, 1)
        )
    bench.now_us += 11_999_999
    window = bench.limiter.status(demand).requests
    assert window == Window(5, 3, 12_000_001)  # a part of a request is none


async def test_to_be_asked_for_the_status_changes_nothing() -> None:
    bench, demand = Bench(), Demand.of(("key_1", Limits(10, 1_000, 2)))
    first = bench.limiter.status(demand)
    raised = Demand.of(("key_1", Limits(1_000, 1_000, 2)))
    assert await bench.takes(demand, 99) == 10
    bench.limiter.status(raised)
    assert await bench.takes(demand) == 0
    assert first == LimitStatus(Window(10, 10, 0), Window(1_000, 1_000, 0), Slots(2, 0))


async def test_without_limits_nothing_is_kept() -> None:
    bench = Bench()
    demand = Demand.of(("key_1", NO_LIMITS), ("acct_1", Limits()))
    assert demand == Demand()
    assert await bench.takes(demand, 5_000) == 5_000
    lease = await bench.limiter.reserve_tokens(demand, 10**12)
    lease.spent(10**13)
    lease.close(0)
    async with bench.limiter.slot(demand):
        assert bench.limiter.status(demand) == LimitStatus()


async def test_a_scope_that_is_forgotten_begins_anew() -> None:
    bench, demand = Bench(), Demand.of(("key_1", Limits(1, 100, 1)))
    lease = await bench.limiter.reserve_tokens(demand, 100)
    assert await bench.takes(demand, 2) == 1
    async with bench.limiter.slot(demand):
        bench.limiter.forget("key_1")
        bench.limiter.forget("key_1")
        lease.close(0)
        assert await bench.takes(demand, 2) == 1
    assert bench.limiter.status(demand) == LimitStatus(
        Window(1, 0, MINUTE_US), Window(100, 100, 0), Slots(1, 0)
    )
