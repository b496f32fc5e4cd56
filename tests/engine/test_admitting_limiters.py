"""What admission goes by: memory, and a limiter that may have to wait."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from engine import Outcome
from engine.admission.limits import Demand, LimitStatus, LocalLimiter, TokenLease
from engine.errors import (
    ConcurrencyLimitedError,
    GatewayError,
    RateLimitedError,
    UnavailableError,
)
from engine.ledger import readers
from tests.engine.test_admitting import limited, tokens_left
from tests.gateways import run


async def test_a_request_is_admitted_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads the database for it; the journal has had its connection since the start."""

    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("there is no database for you")

    plan = "requests_per_min = 50\ntokens_per_min = 100_000\nmonthly_budget_usd = 1"
    async with limited(tmp_path, plan) as setup:
        gateway = setup.gateway
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", refuse)
            patch.setattr(readers, "_taken", refuse)  # the connection that is kept
            for stream in (True, False):
                _, receipt, error = await run(setup, setup.call("tokens=3", stream=stream))
                assert (receipt.outcome, error) == (Outcome.COMPLETED, None)
            assert len(gateway.models(gateway.identify(setup.key, "inference"))) > 1
            with pytest.raises(UnavailableError):  # what does ask it
                await gateway.ledger.keys()


class WaitingLimiter:
    """A limiter as one is that several processes share: it has to ask somebody, and wait."""

    def __init__(self) -> None:
        self._inner = LocalLimiter(clock_us=lambda: 0)

    async def take_request(self, demand: Demand) -> None:
        await trio.sleep(0.001)
        await self._inner.take_request(demand)

    async def reserve_tokens(self, demand: Demand, tokens: int) -> TokenLease:
        await trio.sleep(0.001)
        return await self._inner.reserve_tokens(demand, tokens)

    @asynccontextmanager
    async def slot(self, demand: Demand) -> AsyncIterator[None]:
        await trio.sleep(0.001)
        async with self._inner.slot(demand):
            yield
        await trio.sleep(0.001)

    def status(self, demand: Demand) -> LimitStatus:
        return self._inner.status(demand)

    def forget(self, scope: str) -> None:
        self._inner.forget(scope)


async def test_another_limiter_may_wait(tmp_path: Path) -> None:
    """The exchange keeps to the interface, not to the limiter of one process."""
    plan = "requests_per_min = 20\nconcurrent_streams = 5\ntokens_per_min = 100_000"
    async with limited(tmp_path, plan) as setup:
        setup.gateway._parts.limiter = WaitingLimiter()
        found: list[GatewayError | None] = []
        spent = 0

        async def ask() -> None:
            nonlocal spent
            try:
                _, receipt, error = await run(setup, setup.call("tokens=3", max_tokens=5))
                spent += receipt.usage["input_tokens"] + receipt.usage["output_tokens"]
            except (RateLimitedError, ConcurrencyLimitedError) as refusal:
                error = refusal
            found.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask)
        assert sum(isinstance(error, RateLimitedError) for error in found) == 10
        assert 5 <= found.count(None) <= 20
        assert tokens_left(setup) == 100_000 - spent
