"""What an answer says, in no protocol's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.events import Usage

# Why a choice ended. STOP with calls is TOOLS, whatever the protocol says.
STOP = "stop"
STOP_SEQUENCE = "stop sequence"
LENGTH = "length"
CONTEXT = "context length"
TOOLS = "tools"
FILTERED = "filtered"
BLOCKED = "prompt blocked"
PAUSED = "paused"
MALFORMED = "malformed call"
OTHER = "other"
NONE = "none"


@dataclass(frozen=True, slots=True)
class InvalidJson:
    """Arguments that no protocol with objects can hold."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; `arguments` is an object, or `InvalidJson`."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Logprob:
    """A token, its logarithm rounded, and the same of the alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers.

    Attributes:
        citations: of each source its URL and title.
        media: of each piece its type and its base64.
        redacted: pieces of thinking that only their issuer can read.
        signatures: secrets of the provider.
        logprobs: of each token, with those that might have stood in its place.
        explanation: the provider's words for a refusal.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = NONE
    stop_sequence: str | None = None
    explanation: str | None = None
    citations: tuple[tuple[str | None, str | None], ...] = ()
    media: tuple[tuple[str, str], ...] = ()
    transcript: str = ""
    logprobs: tuple[Logprob, ...] = ()
    redacted: int = 0
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as its SDK reads it. `usage` is None where there is no report of it."""

    choices: tuple[Choice, ...]
    usage: Usage | None
    id: str | None = None
    model: str | None = None
    created: int | None = None
    service_tier: str | None = None
    failed: bool = False
    """The SDK raised the protocol's error in the middle of the stream."""


@dataclass(slots=True)
class Draft:
    """A choice while it is put together."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    whole_calls: list[Call] = field(default_factory=list)
    finish: str = NONE
    stop_sequence: str | None = None
    explanation: str | None = None
    citations: list[tuple[str | None, str | None]] = field(default_factory=list)
    media: list[tuple[str, str]] = field(default_factory=list)
    transcript: str = ""
    logprobs: list[Logprob] = field(default_factory=list)
    redacted: int = 0
    signatures: list[str] = field(default_factory=list)

    def call(self, index: int) -> dict[str, str]:
        """A call that comes in pieces, by its index."""
        return self.calls.setdefault(index, {"name": "", "arguments": ""})

    def choice(self) -> Choice:
        """What it came to."""
        calls = [Call(c["name"], arguments(c["arguments"])) for _, c in sorted(self.calls.items())]
        calls += self.whole_calls
        return Choice(
            text=self.text,
            reasoning=self.reasoning,
            refusal=self.refusal,
            calls=tuple(calls),
            finish=TOOLS if self.finish == STOP and calls else self.finish,
            stop_sequence=self.stop_sequence,
            explanation=self.explanation,
            citations=tuple(self.citations),
            media=tuple(self.media),
            transcript=self.transcript,
            logprobs=tuple(self.logprobs),
            redacted=self.redacted,
            signatures=tuple(self.signatures),
        )


def arguments(text: str) -> Any:
    """Arguments as an object: none at all is the empty one."""
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        return InvalidJson(text)
    return document if isinstance(document, dict) else InvalidJson(text)


def drafts(found: Mapping[int, Draft]) -> tuple[Choice, ...]:
    """The choices in the order of their index."""
    return tuple(draft.choice() for _, draft in sorted(found.items()))


def unfinished(answer: Reading) -> Reading:
    """An answer that has failed has no end: neither reasons nor totals that came before count."""
    choices = tuple(replace(choice, finish=NONE, explanation=None) for choice in answer.choices)
    return replace(answer, choices=choices, usage=None, failed=True)
