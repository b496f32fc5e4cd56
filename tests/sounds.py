"""Sound for tests: whole files that every reader takes, of a length that is known."""

from __future__ import annotations

from functools import cache

from engine.media.wav import Pcm, wav_of

_SLOW = Pcm(rate_hz=8_000, bits=8)


@cache
def wav(length_ms: int) -> bytes:
    """A quiet tone of 8 kHz and 8 bits: 8 bytes a millisecond."""
    period = bytes(range(118, 138)) + bytes(range(138, 118, -1))
    count = length_ms * _SLOW.bytes_per_s // 1_000
    return wav_of(_SLOW, (period * (count // len(period) + 1))[:count])
