"""What an answer can have consumed at most: a report above that is a fault, not a usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from engine.usage import PART_OF, MoreUnit, Usage

UsageFlag = Literal["usage_clamped", "usage_invalid", "usage_doubtful"]
"""What a receipt says of a provider's figures: above what can have been, no counts at all, far
below the text that was received."""

OUTPUT_MAX_TOKENS: Final = 2**17
"""Of one choice, where neither the request nor the model names a limit."""


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """Attributes:
    input_max, output_max: tokens; the output of all choices.
    more_max: of units that are no tokens; what is not named has none.
    """

    input_max: int
    output_max: int
    more_max: Mapping[MoreUnit, int] = field(default_factory=lambda: MappingProxyType({}))

    def admit(self, usage: Usage) -> bool:
        """Whether nothing in it is above a limit."""
        return (
            usage.input_tokens <= self.input_max
            and usage.output_tokens <= self.output_max
            and (not usage.more or all(n <= self._max_of(u) for u, n in usage.more.items()))
        )

    def clamp(self, usage: Usage, received_tokens: int) -> Usage:
        """The usage within the limits; text that was received proves so much output."""
        output_max = max(self.output_max, received_tokens)
        return replace(
            usage,
            input_tokens=min(usage.input_tokens, self.input_max),
            output_tokens=min(usage.output_tokens, output_max),
            more={unit: min(n, self._max_of(unit)) for unit, n in usage.more.items()},
        ).clamped()

    def _max_of(self, unit: MoreUnit) -> int:
        if unit in PART_OF:
            return max(self.input_max, self.output_max)
        return self.more_max.get(unit, 0)
