"""A limiter on a clock that a test sets, and what is asked of it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

import pytest

from engine.admission.limits import (
    Demand,
    LocalLimiter,
)
from engine.admission.plans import Limits
from engine.errors import RateLimitedError

MINUTE_US = 60_000_000
RATES = (1, 7, 30, 60, 100, 400, 1_000, 5_999)


@dataclass
class Bench:
    """A limiter whose microseconds a test sets."""

    now_us: int = 1_234_567_890_123

    def __post_init__(self) -> None:
        self.limiter = LocalLimiter(lambda: self.now_us)

    async def takes(self, demand: Demand, times: int = 1) -> int:
        """How many of so many requests pass."""
        passed = 0
        for _ in range(times):
            try:
                await self.limiter.take_request(demand)
            except RateLimitedError:
                continue
            passed += 1
        return passed

    async def refusal(self, demand: Demand, tokens: int | None = None) -> RateLimitedError:
        """Of a request, or of its tokens."""
        asked: Awaitable[object] = (
            self.limiter.take_request(demand)
            if tokens is None
            else self.limiter.reserve_tokens(demand, tokens)
        )
        with pytest.raises(RateLimitedError) as caught:
            await asked
        return caught.value

    def tokens_left(self, demand: Demand) -> int:
        window = self.limiter.status(demand).tokens
        assert window is not None
        return window.remaining


def requests(limit: int, name: str = "key_1") -> Demand:
    return Demand.of((name, Limits(requests_per_min=limit)))


def tokens(limit: int, name: str = "key_1") -> Demand:
    return Demand.of((name, Limits(tokens_per_min=limit)))


def streams(limit: int, name: str = "key_1") -> Demand:
    return Demand.of((name, Limits(concurrent_streams=limit)))
