"""Limits a minute and at once: token buckets and slots, exact among the tasks of one process.

A bucket of N a minute holds N at most and refills evenly: N at once, then one each 60 s / N. All
of it is integers: a level counts microseconds times units, a request or a token is `_UNIT`, and a
microsecond refills as much as the limit says. Debt is a negative level.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from engine.admission.plans import NO_LIMITS, Limits
from engine.errors import ConcurrencyLimitedError, RateLimitedError

_UNIT: Final = 60_000_000
"""The level of one request, or of one token: the microseconds of a minute."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Whose limits a request has to keep, all of them: its key's and its account's.

    Attributes:
        scopes: (id, its limits); those without limits are left out.
    """

    scopes: tuple[tuple[str, Limits], ...] = ()

    @classmethod
    def of(cls, *scopes: tuple[str, Limits]) -> Demand:
        """Of these, without those that limit nothing."""
        return cls(tuple(scope for scope in scopes if not scope[1].unlimited))


@dataclass(frozen=True, slots=True)
class Window:
    """Of one limit: how much there is of it, how much is left, and when all of it will be."""

    limit: int
    remaining: int
    reset_us: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Of concurrent streams: how many there may be, and how many there are."""

    limit: int
    open: int

    @property
    def remaining(self) -> int:
        """How many more there may be; none where the limit was lowered below those there are."""
        return max(0, self.limit - self.open)


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """What is left, of the scope that has the least of it; None where nothing limits it."""

    requests: Window | None = None
    tokens: Window | None = None
    streams: Slots | None = None


class TokenLease(Protocol):
    """Tokens that were taken for an exchange before it is known how many it needs.

    None of this waits: a limiter that is shared among processes sends it behind.
    """

    def spent(self, total: int) -> None:
        """So many are spent by now: what goes beyond the reserve is taken too, into debt."""

    def close(self, total: int) -> None:
        """So many it was: the rest of the reserve is given back. Only the first call counts."""


class Limiter(Protocol):
    """Keeps limits. One that is shared among processes has to wait; `LocalLimiter` never does.

    The limits of a scope are those of the last `take_request`: what a request does later goes by
    them too, also when it was admitted under others.
    """

    async def take_request(self, demand: Demand) -> None:
        """Take one request from every scope, or nothing. Raises RateLimitedError."""

    async def reserve_tokens(self, demand: Demand, tokens: int) -> TokenLease:
        """Take tokens from every scope, or nothing; of each at most what it has in a minute.

        Raises:
            RateLimitedError: a scope has not so many left now.
        """

    def slot(self, demand: Demand) -> AbstractAsyncContextManager[None]:
        """One of the streams at once of every scope, for the block.

        Raises:
            ConcurrencyLimitedError: on entering; a scope has as many as it may have.
        """

    def status(self, demand: Demand) -> LimitStatus:
        """What is left, as far as it is known here; changes nothing."""

    def forget(self, scope: str) -> None:
        """This key or account will not ask again."""


def now_us() -> int:
    """Of Trio's clock."""
    return round(trio.current_time() * 1e6)


def whole_ms_s(wait_us: int) -> float:
    """Seconds, rounded up to whole milliseconds: whoever waits so long has waited enough."""
    return -(-wait_us // 1_000) / 1_000


class LocalLimiter:
    """In the memory of one process: a restart fills all buckets.

    One entry for each scope that has asked, until it is forgotten: bounded by how many there are.
    """

    def __init__(self, clock_us: Callable[[], int] = now_us) -> None:
        self._clock_us = clock_us
        self._scopes: dict[str, _Scope] = {}

    async def take_request(self, demand: Demand) -> None:
        """See `Limiter`."""
        if not demand.scopes:
            return
        now_us = self._clock_us()
        buckets = []
        wait_us, refusing = 0, ("", 0)
        for name, limits in demand.scopes:
            scope = self._scope(name, limits)
            if scope.limits is not limits:
                scope.keep(limits, now_us)
            if (bucket := scope.requests) is not None:
                bucket.refill(now_us)
                buckets.append(bucket)
                if bucket.level < _UNIT and bucket.wait_us(1) > wait_us:
                    wait_us, refusing = bucket.wait_us(1), (name, bucket.limit)
        if wait_us:
            name, limit = refusing
            raise RateLimitedError(
                f"Rate limit of {name} reached: {limit:,} requests per minute.",
                kind="requests",
                retry_after_s=whole_ms_s(wait_us),
            )
        for bucket in buckets:
            bucket.level -= _UNIT

    async def reserve_tokens(self, demand: Demand, tokens: int) -> TokenLease:
        """See `Limiter`."""
        now_us = self._clock_us()
        shares = []
        wait_us, refusing = 0, ("", 0)
        for name, limits in demand.scopes:
            if (bucket := self._scope(name, limits).tokens) is not None:
                bucket.refill(now_us)
                share = min(tokens, bucket.limit)
                shares.append(_Share(bucket, share))
                if bucket.level < share * _UNIT and bucket.wait_us(share) > wait_us:
                    wait_us, refusing = bucket.wait_us(share), (name, bucket.limit)
        if wait_us:
            name, limit = refusing
            raise RateLimitedError(
                f"Rate limit of {name} reached: {limit:,} tokens per minute. "
                f"This request may need {tokens:,}.",
                kind="tokens",
                retry_after_s=whole_ms_s(wait_us),
            )
        for taken in shares:
            taken.bucket.level -= taken.tokens * _UNIT
        return _Lease(shares, self._clock_us)

    def slot(self, demand: Demand) -> AbstractAsyncContextManager[None]:
        """See `Limiter`."""
        return _Slot(self, demand)

    def status(self, demand: Demand) -> LimitStatus:
        """See `Limiter`."""
        if not demand.scopes:
            return _UNLIMITED
        now_us = self._clock_us()
        requests: _Bucket | None = None
        tokens: _Bucket | None = None
        streams: Slots | None = None
        for name, limits in demand.scopes:
            scope = self._scopes.get(name) or _Scope(limits, now_us)
            if (bucket := scope.requests) is not None:
                bucket.refill(now_us)
                requests = bucket.or_less(requests)
            if (bucket := scope.tokens) is not None:
                bucket.refill(now_us)
                tokens = bucket.or_less(tokens)
            if (most := scope.limits.concurrent_streams) is not None and (
                streams is None or most - scope.open < streams.limit - streams.open
            ):
                streams = Slots(most, scope.open)
        return LimitStatus(
            None if requests is None else requests.window(),
            None if tokens is None else tokens.window(),
            streams,
        )

    def forget(self, scope: str) -> None:
        """See `Limiter`. Slots and leases that it has are given back to nobody."""
        self._scopes.pop(scope, None)

    def occupy(self, demand: Demand) -> list[_Scope]:
        """What `slot` does on entering; the scopes that `open` has been raised of."""
        scopes = [self._scope(name, limits) for name, limits in demand.scopes]
        for scope in scopes:
            most = scope.limits.concurrent_streams
            if most is not None and scope.open >= most:
                name, _ = demand.scopes[scopes.index(scope)]
                raise ConcurrencyLimitedError(
                    f"Limit of {name} reached: {most:,} at once. Wait for a request to end."
                )
        for scope in scopes:
            scope.open += 1
        return scopes

    def _scope(self, name: str, limits: Limits) -> _Scope:
        """By the limits that it has, not by these, which may be of yesterday, unless it is new."""
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = _Scope(limits, self._clock_us())
        return scope


class _Bucket:
    """`level` is what it was at `at_us`; `refill` brings it up to date."""

    __slots__ = ("at_us", "level", "limit")

    def __init__(self, limit: int, at_us: int) -> None:
        self.limit = limit
        self.level = limit * _UNIT
        self.at_us = at_us

    def refill(self, now_us: int) -> None:
        if now_us < self.at_us:  # it is newer than the moment that it is asked for
            return
        full = self.limit * _UNIT
        level = self.level + (now_us - self.at_us) * self.limit
        self.level = min(full, level)
        self.at_us = now_us

    def wait_us(self, units: int) -> int:
        """How long until there are so many; 0 when there are."""
        lacking = units * _UNIT - self.level
        return -(-lacking // self.limit) if lacking > 0 else 0

    def or_less(self, other: _Bucket | None) -> _Bucket:
        """The other one where it has less."""
        return self if other is None or self.level < other.level else other

    def window(self) -> Window:
        """As it was at `at_us`."""
        return Window(self.limit, max(0, self.level // _UNIT), self.wait_us(self.limit))

    def limit_to(self, limit: int, now_us: int) -> None:
        """Another limit from now on. What was used stays used; but who has used more than there
        now is stands before an empty bucket, not in debt: no limit that it had said so."""
        self.refill(now_us)
        used = self.limit * _UNIT - self.level
        self.limit = limit
        self.level = max(limit * _UNIT - used, min(0, self.level))


class _Scope:
    """The buckets of one key or account, and how many of its streams are open."""

    __slots__ = ("limits", "open", "requests", "tokens")

    def __init__(self, limits: Limits, now_us: int) -> None:
        self.requests: _Bucket | None = None
        self.tokens: _Bucket | None = None
        self.limits = NO_LIMITS
        self.open = 0
        self.keep(limits, now_us)

    def keep(self, limits: Limits, now_us: int) -> None:
        """These from now on."""
        self.limits = limits
        self.requests = _limited(self.requests, limits.requests_per_min, now_us)
        self.tokens = _limited(self.tokens, limits.tokens_per_min, now_us)


class _Slot:
    """What `LocalLimiter.slot` gives; without a generator, which would cost four times as much."""

    __slots__ = ("_demand", "_limiter", "_scopes")

    def __init__(self, limiter: LocalLimiter, demand: Demand) -> None:
        self._limiter = limiter
        self._demand = demand
        self._scopes: list[_Scope] = []

    async def __aenter__(self) -> None:
        self._scopes = self._limiter.occupy(self._demand)

    async def __aexit__(self, *_: object) -> None:
        for scope in self._scopes:
            scope.open -= 1
        self._scopes = []


class _Share:
    """What a lease has taken of one bucket."""

    __slots__ = ("bucket", "tokens")

    def __init__(self, bucket: _Bucket, tokens: int) -> None:
        self.bucket = bucket
        self.tokens = tokens

    def come_to(self, tokens: int, now_us: int) -> None:
        # What has run over by now is lost before anything is taken: it pays for nothing.
        self.bucket.refill(now_us)
        self.bucket.level -= (tokens - self.tokens) * _UNIT
        self.tokens = tokens


class _Lease:
    """Implements `TokenLease`."""

    __slots__ = ("_clock_us", "_shares")

    def __init__(self, shares: list[_Share], clock_us: Callable[[], int]) -> None:
        self._shares = shares
        self._clock_us = clock_us

    def spent(self, total: int) -> None:
        now_us = self._clock_us()
        for share in self._shares:
            if total > share.tokens:
                share.come_to(total, now_us)

    def close(self, total: int) -> None:
        now_us = self._clock_us()
        shares, self._shares = self._shares, []
        for share in shares:
            share.come_to(total, now_us)


_UNLIMITED: Final = LimitStatus()


def _limited(bucket: _Bucket | None, limit: int | None, now_us: int) -> _Bucket | None:
    if limit is None:
        return None
    if bucket is None:
        return _Bucket(limit, now_us)
    if bucket.limit != limit:
        bucket.limit_to(limit, now_us)
    return bucket
