"""What an answer consists of: stretches of tokens, addressed by number, whatever the protocol.

Token j of an answer lies in one segment. Prose is words by a seed; the calls of tools are their
names and JSON arguments, cut where the tokenizer cuts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from bench.simulate.text import TextSource

Kind = Literal["reasoning", "text", "refusal", "calls", "media"]
Finish = Literal["stop", "length", "calls", "refusal", "filter"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of the answer; `arguments` is JSON, or of a custom tool any text; `signature`
    Gemini's of its first call."""

    call_id: str
    name: str
    arguments: str
    signature: str | None = None
    custom: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """One token of the calls: a piece of the arguments of call `index`, which may begin or end.

    The token that begins a call is its name and has no `text`.
    """

    index: int
    text: str
    first: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of media: what is sent of it, and what it comes to in each unit."""

    data: bytes
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `start` to `end - 1` of an answer. Positions passed in count from `start`."""

    kind: Kind
    start: int
    tokens: int
    sources: Sequence[TextSource] = ()
    """Prose: the text of each choice."""
    calls: Sequence[ToolCall] = ()
    units: Sequence[Unit] = ()
    pieces: Sequence[Piece] = ()
    """Of media."""
    media_type: str = ""
    shown: bool = True
    """Whether its text reaches the client."""
    signature: str | None = None
    """Of reasoning."""

    @property
    def end(self) -> int:
        return self.start + self.tokens

    def made(self, position: int) -> int:
        """How many of its tokens lie before a position of the answer."""
        return max(0, min(position - self.start, self.tokens))

    def text(self, choice: int, start: int, end: int) -> str:
        """Prose of one choice."""
        return self.sources[choice].text(start, end)


@dataclass(frozen=True, slots=True)
class Answer:
    """Segments in order, without gaps; `finish` is why it ends when nothing cuts it short."""

    segments: tuple[Segment, ...]
    finish: Finish
    blocked: bool = False
    """The prompt itself is refused: Gemini gives no candidate."""

    @property
    def tokens(self) -> int:
        """Of each choice."""
        return self.segments[-1].end if self.segments else 0

    def count(self, kind: Kind, position: int) -> int:
        """Tokens of a kind that lie before a position."""
        return sum(s.made(position) for s in self.segments if s.kind == kind)

    def produced(self, position: int) -> dict[str, int]:
        """What lies before a position in each unit; tokens where it is no media."""
        units: dict[str, int] = {}
        for segment in self.segments:
            made = segment.made(position)
            if segment.kind != "media":
                units["output_tokens"] = units.get("output_tokens", 0) + made
            for piece in segment.pieces[:made]:
                for unit, amount in piece.units.items():
                    units[unit] = units.get(unit, 0) + amount
        return units

    def prose(self, choice: int, position: int, *kinds: Kind) -> str:
        """The text of those kinds before a position."""
        return "".join(
            segment.text(choice, 0, segment.made(position))
            for segment in self.segments
            if segment.kind in kinds
        )

    def begun_calls(self, position: int) -> list[ToolCall]:
        """The calls that began before a position, with the arguments they have by then."""
        found: list[ToolCall] = []
        for segment in self.segments:
            pieces: dict[int, list[str]] = {}
            for unit in segment.units[: segment.made(position)]:
                pieces.setdefault(unit.index, []).append(unit.text)
            for index, texts in pieces.items():
                call = segment.calls[index]
                found.append(replace(call, arguments="".join(texts)))
        return found


def parsed(arguments: str) -> dict[str, Any]:
    """The arguments of a call; empty where they were cut short."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
