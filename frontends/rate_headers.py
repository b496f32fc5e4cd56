"""What is left of a client's limits, in the headers that its protocol's tools read.

OpenAI's names for its protocols, for Gemini's, which has none, and for our own routes; Anthropic's
for its own.

Sources: platform.openai.com/docs/guides/rate-limits, docs.claude.com/en/api/rate-limits.
"""

from __future__ import annotations

import time
from typing import Final

from engine.admission.limits import LimitStatus, Window
from engine.events import Protocol

_LIMITED: Final = ("requests", "tokens")
_OPENAI: Final = {
    unit: tuple(f"x-ratelimit-{what}-{unit}".encode() for what in ("limit", "remaining", "reset"))
    for unit in _LIMITED
}
_ANTHROPIC: Final = {
    unit: tuple(
        f"anthropic-ratelimit-{unit}-{what}".encode() for what in ("limit", "remaining", "reset")
    )
    for unit in _LIMITED
}

RATE_HEADERS: Final = frozenset(
    name for names in (_OPENAI, _ANTHROPIC) for triple in names.values() for name in triple
)
"""All of them."""


def rate_headers(protocol: Protocol, status: LimitStatus, now_ms: int) -> list[tuple[bytes, bytes]]:
    """Limit, what remains of it, and when all of it will be there again; nothing of what is not
    limited. `now_ms` is the wall clock, in milliseconds since 1970."""
    anthropic = protocol == "anthropic"
    found: list[tuple[bytes, bytes]] = []
    for unit, window in (("requests", status.requests), ("tokens", status.tokens)):
        if window is not None:
            limit, remaining, reset = (_ANTHROPIC if anthropic else _OPENAI)[unit]
            found += (
                (limit, b"%d" % window.limit),
                (remaining, b"%d" % window.remaining),
                (reset, _moment(window, now_ms) if anthropic else duration(window.reset_us)),
            )
    return found


def duration(length_us: int) -> bytes:
    """As OpenAI writes it (Go's way), rounded up to milliseconds.

    >>> duration(6_000), duration(59_951_000), duration(90_000_000), duration(3_600_000_000)
    (b'6ms', b'59.951s', b'1m30s', b'1h0m0s')
    """
    seconds, milliseconds = divmod(-(-length_us // 1_000), 1_000)
    if seconds == 0 and milliseconds:
        return b"%dms" % milliseconds
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    if hours or minutes:
        text += f"{minutes}m"
    fraction = f".{milliseconds:03}".rstrip("0").rstrip(".")
    return f"{text}{seconds}{fraction}s".encode()


def _moment(window: Window, now_ms: int) -> bytes:
    """As Anthropic writes it (RFC 3339), rounded up to seconds."""
    at_s = -(-(now_ms * 1_000 + window.reset_us) // 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s)).encode()
