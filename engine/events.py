"""The canonical words of one call: what was asked, what was consumed, how it ended.

Frozen values only. Protocol codecs read and write them; everything else passes them on.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeGuard


class Outcome(StrEnum):
    """How an admitted exchange ended; each ends in exactly one."""

    RUNNING = "running"
    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    UPSTREAM_FAILED = "upstream_failed"
    FUNDS_EXHAUSTED = "funds_exhausted"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    GATEWAY_FAILED = "gateway_failed"


class Provenance(StrEnum):
    """How the billed usage is known."""

    REPORTED = "reported"
    DRAINED = "drained"
    COUNTED = "counted"
    FLAT = "flat"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens consumed, by unit, with OpenAI's inclusion rules.

    `input_tokens` includes the cached and cache-writing ones, `output_tokens` includes reasoning.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def clamped(self) -> Usage:
        """The same with no part larger than its whole, whatever the provider said."""
        cached = min(self.cached_input_tokens, self.input_tokens)
        return Usage(
            input_tokens=self.input_tokens,
            cached_input_tokens=cached,
            cache_write_tokens=min(self.cache_write_tokens, self.input_tokens - cached),
            output_tokens=self.output_tokens,
            reasoning_tokens=min(self.reasoning_tokens, self.output_tokens),
        )

    def units(self) -> dict[str, int]:
        """All units by name, zeros included."""
        return {
            "input_tokens": self.input_tokens,
            "cached_input_tokens": self.cached_input_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }


# No provider serves a request of this many tokens; a larger report is a fault, not a usage.
_TOKENS_MAX = 2**28


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value out of a provider's JSON can be a count of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS_MAX


def read_count(value: object) -> int:
    """A token count out of a provider's JSON; anything that cannot be one is 0."""
    return value if is_count(value) else 0


def new_request_id() -> str:
    """An id of milliseconds and 80 random bits; a client's own id never keys anything.

    The time in front keeps the indexes over ids local: new rows go to the same few pages.
    """
    return f"req_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Call:
    """One client request as a frontend received it; the body is not parsed yet."""

    body: bytes = field(repr=False)
    key: str | None = field(repr=False)
    protocol: str = "openai_chat"
    operation: str = "chat"
    peer: str = ""
    client_request_id: str | None = None
    request_id: str = field(default_factory=new_request_id)


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of the answer, for the frontend to encode."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
