"""How much an HTTP/2 peer may cost us: sizes of one thing, and counts of things in a window.

The defaults are what proxies that face the internet settled on after the CONTINUATION, rapid
reset (CVE-2023-44487) and MadeYouReset (CVE-2025-8671) floods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
"""Frame types, RFC 9113 section 6. Whatever is above is an extension and ignored."""

EMPTY_DATA = -1
"""Not a frame type: a DATA frame that carries neither a byte nor the end of its stream."""


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """Bounds on what a peer sends. Counts are per connection and `window_s`.

    Attributes:
        streams_max: open streams we let a client have (MAX_CONCURRENT_STREAMS).
        frame_max_bytes: MAX_FRAME_SIZE, 16,384 to 16,777,215 (RFC 9113 section 6.5.2).
        header_list_max_bytes: decoded header block, each field with 32 bytes of overhead
            (RFC 9113 section 6.5.2); past it the connection ends, as in h2.
        header_fields_max: fields in one block; past it the stream is reset.
        continuations_max: CONTINUATION frames in one header block.
        resets_max: streams a client resets, or makes us reset by a protocol error.
        pings_max, settings_max: each costs us an answer.
        empty_data_max: no flow control holds these back.
        oddities_max: PRIORITY and extension frames, each.
    """

    streams_max: int = 100
    frame_max_bytes: int = 16_384
    header_list_max_bytes: int = 65_536
    header_fields_max: int = 128
    continuations_max: int = 20
    resets_max: int = 1_000
    pings_max: int = 100
    settings_max: int = 50
    empty_data_max: int = 100
    oddities_max: int = 1_000
    window_s: float = 10.0


class FloodGuard:
    """Counts cheap frames in fixed windows."""

    def __init__(self, limits: Http2Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._window_s = limits.window_s
        self._window_end_s = float("-inf")
        self._counts: dict[int, int] = {}
        self._bounds = {
            RST_STREAM: limits.resets_max,
            PING: limits.pings_max,
            SETTINGS: limits.settings_max,
            EMPTY_DATA: limits.empty_data_max,
        }
        self._oddities_max = limits.oddities_max

    def exceeded(self, kind: int) -> bool:
        """Count one frame of this kind; true when the window has had too many of them."""
        now_s = self._clock()
        if now_s >= self._window_end_s:
            self._counts.clear()
            self._window_end_s = now_s + self._window_s
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        return count > self._bounds.get(kind, self._oddities_max)
