"""Limits against a model of them, which is said in another way, at random."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from engine.admission.limits import (
    Demand,
    TokenLease,
)
from engine.admission.plans import Limits
from engine.errors import RateLimitedError
from tests.engine.admission.limiters import MINUTE_US, RATES, Bench, requests


@dataclass
class Model:
    """A leaky bucket of fractions of tokens, said in another way: what was used, and leaks."""

    limit: int
    used: Fraction = Fraction(0)
    at_us: int = 0

    def leak(self, now_us: int) -> None:
        leaked = Fraction(self.limit * (now_us - self.at_us), MINUTE_US)
        self.used, self.at_us = max(Fraction(0), self.used - leaked), now_us

    def has(self, units: int) -> bool:
        return self.used + min(units, self.limit) <= self.limit


@dataclass
class Open:
    """A lease, and what the model has taken for it."""

    lease: TokenLease
    taken: dict[str, int]
    total: int = 0


@dataclass
class Twins:
    """A limiter and the model of it, given the same."""

    bench: Bench
    limits: dict[str, Limits]
    requests: dict[str, Model] = field(default_factory=dict)
    tokens: dict[str, Model] = field(default_factory=dict)
    leases: list[Open] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, limits in self.limits.items():
            assert limits.requests_per_min is not None
            assert limits.tokens_per_min is not None
            self.requests[name] = Model(limits.requests_per_min, at_us=self.bench.now_us)
            self.tokens[name] = Model(limits.tokens_per_min, at_us=self.bench.now_us)

    def models(self, models: dict[str, Model], names: Iterable[str]) -> list[Model]:
        found = [models[name] for name in names]
        for model in found:
            model.leak(self.bench.now_us)
        return found

    def demand(self, names: Iterable[str]) -> Demand:
        return Demand.of(*((name, self.limits[name]) for name in names))

    async def take(self, names: list[str]) -> tuple[bool, bool]:
        models = self.models(self.requests, names)
        expected = all(model.has(1) for model in models)
        for model in models:
            model.used += expected
        return bool(await self.bench.takes(self.demand(names))), expected

    async def reserve(self, names: list[str], units: int) -> tuple[bool, bool]:
        models = self.models(self.tokens, names)
        expected = all(model.has(units) for model in models)
        try:
            lease = await self.bench.limiter.reserve_tokens(self.demand(names), units)
        except RateLimitedError:
            return False, expected
        taken = {name: min(units, model.limit) for name, model in zip(names, models, strict=True)}
        if expected:
            for name, model in zip(names, models, strict=True):
                model.used += taken[name]
        self.leases.append(Open(lease, taken))
        return True, expected

    def spend(self, chance: random.Random) -> None:
        open_ = chance.choice(self.leases)
        open_.total += chance.randrange(400)
        open_.lease.spent(open_.total)
        self._come_to(open_, least=False)

    def close(self, chance: random.Random) -> None:
        open_ = self.leases.pop(chance.randrange(len(self.leases)))
        open_.lease.close(open_.total)
        self._come_to(open_, least=True)

    def _come_to(self, open_: Open, *, least: bool) -> None:
        for name, taken in open_.taken.items():
            if least or open_.total > taken:
                (model,) = self.models(self.tokens, [name])
                model.used = max(Fraction(0), model.used + open_.total - taken)
                open_.taken[name] = open_.total


async def run_twins(seed: int, steps: int) -> None:
    """Do the same with both, at random; they answer alike."""
    chance = random.Random(seed)
    names = ["key_1", "key_2", "acct_1"]
    limits = {
        name: Limits(chance.choice(RATES), chance.choice((60, 997, 10_000))) for name in names
    }
    twins = Twins(Bench(), limits)
    for step in range(steps):
        who = chance.choice((["key_1", "acct_1"], ["key_2", "acct_1"], ["acct_1"]))
        told = (True, True)
        match chance.randrange(8):
            case 0 | 1:
                twins.bench.now_us += chance.choice((1, 999, 10_000, 300_000, 7_000_000))
            case 2 | 3 | 4:
                told = await twins.take(who)
            case 5:
                told = await twins.reserve(who, chance.choice((1, 10, 100, 2_000)))
            case 6 if twins.leases:
                twins.spend(chance)
            case 7 if twins.leases:
                twins.close(chance)
        assert told[0] == told[1], f"seed {seed}, step {step}: {told}"
        for name in names:
            (model,) = twins.models(twins.tokens, [name])
            window = twins.bench.limiter.status(twins.demand([name])).tokens
            assert window is not None
            expected = max(0, (model.limit - model.used) // 1)
            assert window.remaining == expected, f"seed {seed}, step {step}, {name}"


@pytest.mark.parametrize("seed", range(6))
async def test_it_does_as_a_model_of_fractions_does(seed: int) -> None:
    await run_twins(seed, 250)


@pytest.mark.long
async def test_it_does_as_a_model_of_fractions_does_for_long() -> None:
    first = random.randrange(1_000_000)
    for seed in range(first, first + 200):
        await run_twins(seed, 2_000)


@pytest.mark.parametrize("seed", range(4))
async def test_no_stretch_of_time_has_more_than_its_share(seed: int) -> None:
    """Between any two requests that passed: no more than the bucket, and what came in meanwhile."""
    chance = random.Random(seed)
    limit = chance.choice((7, 60, 400))
    bench, demand = Bench(), requests(limit)
    passed_us = []
    for _ in range(600):
        bench.now_us += int(chance.expovariate(2 * limit / MINUTE_US))
        if await bench.takes(demand):
            passed_us.append(bench.now_us)
    for first, from_us in enumerate(passed_us):
        for count, until_us in enumerate(passed_us[first:], 1):
            share = limit * MINUTE_US + limit * (until_us - from_us)
            assert count * MINUTE_US <= share, f"seed {seed}: {count} in {until_us - from_us} us"
