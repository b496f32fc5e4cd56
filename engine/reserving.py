"""The tokens a minute that one exchange takes of the limits of its key and its account."""

from __future__ import annotations

from engine.admission.limits import Demand, Limiter, TokenLease
from engine.bounds import Bounds
from engine.usage import Usage


class TokenReserve:
    """Tokens are taken as they are expected when the exchange is admitted, more of them as they
    come, and in the end exactly those that it was. A stream is never cut for them."""

    __slots__ = ("_demand", "_lease", "_limiter")

    def __init__(self, limiter: Limiter, demand: Demand) -> None:
        self._limiter = limiter
        self._demand = demand
        self._lease: TokenLease | None = None

    async def take(self, tokens: int) -> None:
        """Take so many.

        Raises:
            RateLimitedError: there are not so many now.
        """
        if self._demand.scopes:
            self._lease = await self._limiter.reserve_tokens(self._demand, tokens)

    def spent(self, usage: Usage) -> None:
        """So much it is by now."""
        if self._lease is not None:
            self._lease.spent(usage.input_tokens + usage.output_tokens)

    def close(self, usage: Usage) -> None:
        """So much it was; the rest is given back. What is closed stays as it is."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close(usage.input_tokens + usage.output_tokens)


def expected_tokens(
    bounds: Bounds, max_output_tokens: int | None, choices: int, slice_tokens: int
) -> int:
    """What a request is likely to take: its prompt, and the output that it allows each choice or,
    where it names no limit, a slice."""
    output_tokens = slice_tokens if max_output_tokens is None else max_output_tokens * choices
    return bounds.expected_input_tokens + output_tokens
