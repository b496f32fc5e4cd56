"""A wall clock that a test sets."""

from __future__ import annotations

from datetime import UTC, datetime

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def at(text: str) -> int:
    """A time in UTC, e.g. "2026-01-31 23:59", in milliseconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


class HandClock:
    """An `engine.clock.Clock` that stands still until it is set."""

    def __init__(self, text: str = "2026-01-15 12:00") -> None:
        self.now_ms = at(text)

    def __call__(self) -> int:
        return self.now_ms

    def set(self, text: str) -> None:
        """Make it this time, earlier or later."""
        self.now_ms = at(text)
