"""What providers say in their heads of how much more they take.

Sources: OpenAI's `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` with resets as durations
(`6ms`, `1m30s`), which Groq, Azure and others copy; Anthropic's
`anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` with
resets as RFC 3339 times. Both call the reset the time at which the limit is whole again, and refill
steadily up to there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from engine.wire.http import Headers

Kind = Literal["requests", "tokens", "output"]

_RESET_MAX_S: Final = 86_400.0
_RESET_UNSAID_S: Final = 1.0
_LIMITS: Final[tuple[tuple[str, Kind, str], ...]] = (
    ("requests", "requests", "x-ratelimit-{part}-requests"),
    ("tokens", "tokens", "x-ratelimit-{part}-tokens"),
    ("requests", "requests", "anthropic-ratelimit-requests-{part}"),
    ("tokens", "tokens", "anthropic-ratelimit-tokens-{part}"),
    ("input tokens", "tokens", "anthropic-ratelimit-input-tokens-{part}"),
    ("output tokens", "output", "anthropic-ratelimit-output-tokens-{part}"),
)
"""What a limit is called here, what it counts, and the names of its headers."""
_PARTS: Final = tuple(
    (
        limit,
        kind,
        name.format(part="remaining").encode(),
        name.format(part="limit").encode(),
        name.format(part="reset").encode(),
    )
    for limit, kind, name in _LIMITS
)
_REMAINING: Final = frozenset(remaining for _, _, remaining, _, _ in _PARTS)
_SCARCE: Final = 4
"""Of a limit of which more than one in so many is left nothing is kept: most answers say so."""
_INTEGER_MAX_CHARS: Final = 15
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_DURATION: Final = re.compile(
    r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m(?!s))?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_UNITS_S: Final = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


@dataclass(slots=True)
class Allowance:
    """What is left of one limit of a provider, by what it said last. Times are Trio's.

    Attributes:
        left: when it was said, less what has been sent since.
        per_s: how fast it refills; None: not known, all at once when it is whole.
        said_at, whole_at: when it was said, and when it is whole again.
    """

    kind: Kind
    left: float
    per_s: float | None
    said_at: float
    whole_at: float

    def take(self, tokens: int) -> None:
        """A request of so many tokens has been sent."""
        self.left -= self._amount(tokens) if self.kind != "output" else 0

    def has_at(self, tokens: int) -> float:
        """From when on a request of so many tokens is within it."""
        lacking = self._amount(tokens) - self.left
        if lacking <= 0:
            return self.said_at
        if self.per_s is None:
            return self.whole_at
        return min(self.whole_at, self.said_at + lacking / self.per_s)

    def _amount(self, tokens: int) -> int:
        return max(1, tokens) if self.kind == "tokens" else 1


def read_allowances(headers: Headers, now: float, wall_ms: int) -> dict[str, Allowance | None]:
    """What a head says of each limit; None of one of which there is plenty. `now` is Trio's,
    `wall_ms` since 1970."""
    said = dict(headers)
    found: dict[str, Allowance | None] = {}
    if _REMAINING.isdisjoint(said):
        return found
    for limit, kind, remaining, size, reset in _PARTS:
        if (left := _integer(said.get(remaining))) is None:
            continue
        whole = _integer(said.get(size))
        if whole is not None and left * _SCARCE > whole:
            found[limit] = None
            continue
        reset_s = _reset_s(said.get(reset, b"").decode("latin-1").strip(), wall_ms)
        used = 0 if whole is None else whole - left
        per_s = used / reset_s if used > 0 and reset_s > 0 else None
        found[limit] = Allowance(kind, left, per_s, now, now + reset_s)
    return found


def _integer(said: bytes | None) -> int | None:
    if said is None or len(said) > _INTEGER_MAX_CHARS or not said.isdigit():
        return None
    return int(said)


def _reset_s(said: str, wall_ms: int) -> float:
    """
    >>> _reset_s("6ms", 0), _reset_s("1m30.5s", 0), _reset_s("2", 0), _reset_s("soon", 0)
    (0.006, 90.5, 2.0, 1.0)
    >>> _reset_s("1970-01-01T00:01:00Z", 20_000)
    40.0
    """
    if _SECONDS.fullmatch(said):
        return min(float(said), _RESET_MAX_S)
    if said and (found := _DURATION.fullmatch(said)):
        parts = zip(found.groups(), _UNITS_S, strict=True)
        return min(sum(float(part or 0) * unit_s for part, unit_s in parts), _RESET_MAX_S)
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return _RESET_UNSAID_S
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, at.timestamp() - wall_ms / 1_000), _RESET_MAX_S)
