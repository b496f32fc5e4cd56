"""Streams at once: slots are taken of all scopes or of none, and always given back."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from engine.admission.limits import (
    Demand,
    LocalLimiter,
    Slots,
)
from engine.admission.plans import Limits
from engine.errors import ConcurrencyLimitedError
from tests.engine.admission.limiters import streams


async def test_streams_at_once(mock_clock: MockClock) -> None:
    limiter = LocalLimiter()
    demand = Demand.of(
        ("key_1", Limits(concurrent_streams=7)), ("acct_1", Limits(concurrent_streams=9))
    )
    most = refused = 0

    async def stream(nth: int) -> None:
        nonlocal most, refused
        try:
            async with limiter.slot(demand):
                status = limiter.status(demand).streams
                assert status is not None
                most = max(most, status.open)
                await trio.sleep(1 + nth % 3)
        except ConcurrencyLimitedError:
            refused += 1

    async with trio.open_nursery() as nursery:
        mock_clock.autojump_threshold = 0.0
        for nth in range(200):
            nursery.start_soon(stream, nth)
    assert (most, refused) == (7, 193)
    assert limiter.status(demand).streams == Slots(limit=7, open=0)


async def test_a_slot_is_of_all_scopes_or_of_none() -> None:
    limiter = LocalLimiter()
    key, account = ("key_1", Limits(concurrent_streams=5)), ("acct_1", Limits(concurrent_streams=1))
    async with limiter.slot(Demand.of(key, account)):
        with pytest.raises(ConcurrencyLimitedError) as caught:
            await limiter.slot(Demand.of(key, account)).__aenter__()
        assert limiter.status(Demand.of(key)).streams == Slots(limit=5, open=1)
    error = caught.value
    assert (error.status, error.code, error.kind) == (429, "concurrency_limit_exceeded", "requests")
    assert error.retry_after_s == 1
    assert error.message.startswith("Limit of acct_1 reached: 1 at once.")


async def test_a_slot_is_given_back_however_its_block_ends(mock_clock: MockClock) -> None:
    limiter, demand = LocalLimiter(), streams(1)

    with pytest.raises(ZeroDivisionError):
        async with limiter.slot(demand):
            raise ZeroDivisionError
    with trio.CancelScope() as scope:
        async with limiter.slot(demand):
            scope.cancel()
            await trio.sleep_forever()
    with trio.move_on_after(5):
        mock_clock.autojump_threshold = 0.0
        async with limiter.slot(demand), limiter.slot(Demand()), limiter.slot(streams(1, "key_2")):
            await trio.sleep_forever()
    slot = limiter.slot(demand)
    await slot.__aenter__()
    await slot.__aexit__(None, None, None)
    await slot.__aexit__(None, None, None)
    assert limiter.status(demand).streams == Slots(limit=1, open=0)


async def test_a_lower_limit_ends_no_stream() -> None:
    limiter, few = LocalLimiter(), streams(2)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(limiter.slot(streams(5)))
        await limiter.take_request(few)
        status = limiter.status(few).streams
        assert status == Slots(limit=2, open=5)
        assert status.remaining == 0
        with pytest.raises(ConcurrencyLimitedError):
            await limiter.slot(few).__aenter__()
    async with limiter.slot(few), limiter.slot(few):
        assert limiter.status(few).streams == Slots(limit=2, open=2)
