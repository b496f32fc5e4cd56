"""Prompts whose tokens are counted where that is needed, and what is left of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Input(Protocol):
    """A prompt whose tokens are counted where its provider does not say them."""

    def count(self) -> int:
        """Its tokens by our own count."""

    async def release(self) -> None:
        """Let go of the memory that it takes; it can be counted all the same."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A prompt of which only this is left."""

    tokens: int

    def count(self) -> int:
        """As it was counted."""
        return self.tokens

    async def release(self) -> None:
        """There is nothing to let go of."""


@dataclass(frozen=True, slots=True)
class InputBefore:
    """A prompt, with the beginning of its answer behind it."""

    prompt: Input
    tokens: int

    def count(self) -> int:
        """Of both."""
        return self.prompt.count() + self.tokens

    async def release(self) -> None:
        """What the prompt takes."""
        await self.prompt.release()


@dataclass(frozen=True, slots=True)
class InputShare:
    """What of a prompt's count falls to a stretch of its bytes: all of them together have all."""

    prompt: Input
    start: int
    end: int
    of: int

    def count(self) -> int:
        """Its tokens."""
        tokens = self.prompt.count()
        return tokens * self.end // self.of - tokens * self.start // self.of

    async def release(self) -> None:
        """What the prompt takes."""
        await self.prompt.release()
