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

LATE_RESET = -2
"""Nor this: a client's RST_STREAM on a stream that has its whole answer. Many send one when they
have read what they wanted."""


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
        resets_max: streams a client resets before it has the whole answer, or makes us reset by a
            protocol error.
        pings_max, settings_max: each costs us an answer.
        empty_data_max: no flow control holds these back.
        oddities_max: PRIORITY, extension frames, resets of answered streams, each.
        window_updates_max: of a client's, those beyond four for each frame of an answer that it
            was sent.
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
    window_updates_max: int = 1_000
    window_s: float = 10.0


_UPDATES_PER_FRAME = 4
"""WINDOW_UPDATE frames that a frame of ours may be answered with: two are usual, the stream's and
the connection's; some clients also open the stream's window at its start."""


class FloodGuard:
    """Counts cheap frames in fixed windows."""

    def __init__(self, limits: Http2Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._window_s = limits.window_s
        self._window_end_s = float("-inf")
        self._counts: dict[int, int] = {}
        self._sent_frames = 0
        self._sent_before = 0
        self._window_updates_max = limits.window_updates_max
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
            self._sent_before, self._sent_frames = self._sent_frames, 0
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        if kind == WINDOW_UPDATE:
            earned = _UPDATES_PER_FRAME * (self._sent_before + self._sent_frames)
            return count > self._window_updates_max + earned
        return count > self._bounds.get(kind, self._oddities_max)

    def sent(self, frames: int) -> None:
        """Frames of answers, HEADERS and DATA, have gone to the peer."""
        self._sent_frames += frames
