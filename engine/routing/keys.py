"""What is known of a provider's keys: which it refuses, and what each may still ask for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.routing.limits_seen import Allowance

logger = logging.getLogger(__name__)

_NEVER: Final = float("-inf")
_OUT_MAX_S: Final = 900.0
_LIMITED_MAX_S: Final = 30.0
_SAID_MAX_S: Final = 300.0
"""Some say a day (Azure's `Retry-After: 86400`), or mean one request that was too large: so often
one is sent all the same, to see."""
_DOUBLINGS_MAX: Final = 16


@dataclass(slots=True)
class KeyOut:
    """A key that its provider has refused, or whose account is used up."""

    until: float = _NEVER
    refused_at: float = _NEVER
    refusals: int = 0


@dataclass(slots=True)
class ProviderKeys:
    """Of one provider, shared by its deployments; `out` has only those that were refused.

    A refusal may be of one request rather than of the key (a 403 for a file that a client names),
    so a key that is out is used where no other is left.
    """

    out: dict[int, KeyOut] = field(default_factory=dict)

    def refused(self, provider: str, key: int, out_s: float, now: float) -> None:
        """The provider does not take this key: it is left alone, for longer each time. Logged once
        for all the requests that meet it until it is taken again."""
        row = self.out.setdefault(key, KeyOut())
        row.refused_at = now
        if now < row.until:
            return
        if not row.refusals:
            logger.error("the provider %s refuses key %d of those configured", provider, key + 1)
        row.until = now + min(_OUT_MAX_S, out_s * 2**row.refusals)
        row.refusals = min(row.refusals + 1, _DOUBLINGS_MAX)

    def taken(self, key: int, begun_at: float) -> None:
        """The provider takes it, of an attempt that began then: it may have been refused since."""
        if (row := self.out.get(key)) is not None and begun_at >= row.refused_at:
            del self.out[key]


@dataclass(slots=True)
class KeyLimits:
    """What one key may ask of one deployment.

    Attributes:
        until: the provider wants no more before.
        guessed_until: it wanted no more, and has not said for how long; see `has_at`.
        allowances: what it has said to be left, where that is little.
    """

    until: float = _NEVER
    guessed_until: float = _NEVER
    allowances: dict[str, Allowance] = field(default_factory=dict)
    _refused_at: float = _NEVER
    _refusals: int = 0

    def refused(self, now: float, after_s: float | None, draw: float) -> None:
        """Too many requests, or tokens; where it is not said until when, for longer each time."""
        self._refused_at = now
        if after_s is not None:
            self.until = max(self.until, now + min(after_s, _SAID_MAX_S))
        elif now >= self.guessed_until:  # else it is of the same burst
            self.guessed_until = now + min(_LIMITED_MAX_S, 2.0**self._refusals) * draw
            self._refusals = min(self._refusals + 1, _DOUBLINGS_MAX)

    def taken(self, begun_at: float) -> None:
        """It was not too many, for an attempt that began then."""
        if begun_at >= self._refused_at:
            self._refusals, self.guessed_until = 0, _NEVER

    def heard(self, found: Mapping[str, Allowance | None]) -> None:
        """What an answer has said of what is left; None: plenty."""
        for name, allowance in found.items():
            if allowance is None:
                self.allowances.pop(name, None)
            else:
                self.allowances[name] = allowance

    def sent(self, tokens: int) -> None:
        """A request of about so many tokens."""
        for allowance in self.allowances.values():
            allowance.take(tokens)

    def has_at(self, now: float, tokens: int) -> float:
        """When a request of so many tokens will be taken, as far as one can guess."""
        at = max(now, self.guessed_until)
        if self.allowances:
            self.allowances = {n: a for n, a in self.allowances.items() if now < a.whole_at}
            at = max((at, *(a.has_at(tokens) for a in self.allowances.values())))
        return at
