"""What one call has consumed, by unit, and counts out of a provider's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeGuard

MoreUnit = Literal[
    "cache_write_1h_tokens",
    "cached_audio_tokens",
    "cached_image_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "input_video_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_video_tokens",
    "web_searches",
    "requests",
    "characters",
    "milliseconds",
    "images",
    "clips",
    "file_searches",
    "code_sessions",
    "trained_tokens",
    "megabyte_days",
]
"""What few answers are measured in beside tokens of text. A code session is of a container with a
gigabyte of memory; a megabyte is 2^20 bytes."""

BaseUnit = Literal["input", "cached_input", "cache_write", "output"]

PART_OF: Mapping[MoreUnit, BaseUnit] = MappingProxyType(
    {
        "cache_write_1h_tokens": "cache_write",
        "cached_audio_tokens": "cached_input",
        "cached_image_tokens": "cached_input",
        "input_audio_tokens": "input",
        "input_image_tokens": "input",
        "input_video_tokens": "input",
        "output_audio_tokens": "output",
        "output_image_tokens": "output",
        "output_video_tokens": "output",
    }
)
"""Tokens that are counted among others: of the input what is neither cached nor written to the
cache, of the output what is not reasoning."""

_NO_MORE: Mapping[MoreUnit, int] = MappingProxyType({})
_ALL_SAID: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Usage:
    """What was consumed, by unit, with OpenAI's inclusion rules.

    `input_tokens` includes the cached and cache-writing ones, `output_tokens` includes reasoning.

    Attributes:
        more: units that few answers have; those of `PART_OF` are included in the tokens above.
        unsaid: of `input_tokens` and `output_tokens` those that the provider has not said, or not
            as a count; they are 0 here.
        invalid: some figure of the provider's was none.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    more: Mapping[MoreUnit, int] = field(default_factory=lambda: _NO_MORE, hash=False, kw_only=True)
    unsaid: frozenset[str] = field(default=_ALL_SAID, compare=False, kw_only=True)
    invalid: bool = field(default=False, compare=False, kw_only=True)

    def clamped(self) -> Usage:
        """The same with no part larger than its whole, whatever the provider said."""
        if (
            not self.more
            and self.cached_input_tokens + self.cache_write_tokens <= self.input_tokens
            and self.reasoning_tokens <= self.output_tokens
        ):
            return self
        cached = min(self.cached_input_tokens, self.input_tokens)
        written = min(self.cache_write_tokens, self.input_tokens - cached)
        reasoning = min(self.reasoning_tokens, self.output_tokens)
        left: dict[BaseUnit, int] = {
            "input": self.input_tokens - cached - written,
            "cached_input": cached,
            "cache_write": written,
            "output": self.output_tokens - reasoning,
        }
        more: dict[MoreUnit, int] = {}
        for unit, count in self.more.items():
            if (whole := PART_OF.get(unit)) is not None:
                count = min(count, left[whole])
                left[whole] -= count
            if count:
                more[unit] = count
        return replace(
            self,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
            more=more or _NO_MORE,
        )

    def over(self, earlier: Usage) -> Usage:
        """Field by field: these figures, and of the earlier ones what they leave out."""
        if (
            not (self.unsaid or self.invalid or earlier.invalid or earlier.more)
            and (self.input_tokens or not earlier.input_tokens)
            and (self.cached_input_tokens or not earlier.cached_input_tokens)
            and (self.cache_write_tokens or not earlier.cache_write_tokens)
            and (self.output_tokens or not earlier.output_tokens)
            and (self.reasoning_tokens or not earlier.reasoning_tokens)
        ):
            return self
        return Usage(
            input_tokens=self.input_tokens or earlier.input_tokens,
            cached_input_tokens=self.cached_input_tokens or earlier.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens or earlier.cache_write_tokens,
            output_tokens=self.output_tokens or earlier.output_tokens,
            reasoning_tokens=self.reasoning_tokens or earlier.reasoning_tokens,
            more={**earlier.more, **self.more},
            unsaid=self.unsaid & earlier.unsaid,
            invalid=self.invalid or earlier.invalid,
        ).clamped()

    def plus(self, other: Usage) -> Usage:
        """Both together: two attempts have made one answer."""
        more = dict(self.more)
        for unit, count in other.more.items():
            more[unit] = more.get(unit, 0) + count
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            more=more or _NO_MORE,
            unsaid=self.unsaid | other.unsaid,
            invalid=self.invalid or other.invalid,
        )

    def units(self) -> dict[str, int]:
        """All units by name, zeros of the usual ones included."""
        usual = {
            "input_tokens": self.input_tokens,
            "cached_input_tokens": self.cached_input_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }
        for unit in self.more:
            usual[unit] = self.more[unit]
        return usual


# No provider serves a request of this many tokens; a larger report is a fault, not a usage.
_TOKENS_MAX = 2**28

UNSAID = MappingProxyType(
    {
        (False, False): _ALL_SAID,
        (True, False): frozenset({"input_tokens"}),
        (False, True): frozenset({"output_tokens"}),
        (True, True): frozenset({"input_tokens", "output_tokens"}),
    }
)
"""`Usage.unsaid` by whether the input is unsaid, and the output."""


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value out of a provider's JSON can be a count of tokens."""
    return type(value) is int and 0 <= value <= _TOKENS_MAX  # JSON's true is of another type


def read_count(value: object) -> int:
    """A token count out of a provider's JSON; anything that cannot be one is 0."""
    return value if type(value) is int and 0 <= value <= _TOKENS_MAX else 0


def is_wrong(*values: object) -> bool:
    """Whether one of these values is there, and cannot be a count."""
    return any(value is not None and not is_count(value) for value in values)


def unsaid(input_tokens: object, output_tokens: object) -> frozenset[str]:
    """`Usage.unsaid` of two values out of a provider's JSON."""
    return UNSAID[not is_count(input_tokens), not is_count(output_tokens)]
