"""Sound by a seed, in stretches of 120 ms: PCM, WAV and MP3, 24 kHz, 16 bits, one channel.

A stretch is one token of an answer. Stretches are shared between answers, so that many minutes of
sound cost next to nothing.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from bench.simulate.answer import Piece
from bench.simulate.directives import Directives

RATE_HZ: Final = 24_000
STRETCH_MS: Final = 120
CHARACTER_MS: Final = 60
"""How long a character takes to say."""
TOKENS: Final = 3
"""Of a stretch, where sound is counted in tokens."""
PAGE: Final = b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>\n"
_SAMPLES: Final = RATE_HZ * STRETCH_MS // 1_000
_TONES: Final = 16
_PADDING_BYTES: Final = 1 << 16
_MP3_FRAMES: Final = 5
_MP3_HEAD: Final = b"\xff\xf3\x44\xc0"
"""MPEG-2 layer III, 32 kbit/s, 24 kHz, one channel, no checksum: 96 bytes and 24 ms a frame."""
_MP3_FRAME: Final = 96
_MP3_SIDE: Final = 9
"""Bytes of side information; zeros say that there is nothing but silence."""


def stretches_of(text: str, speed: float, directives: Directives) -> int:
    """How many stretches a text takes."""
    length_ms = directives.media_ms
    if length_ms is None:
        length_ms = round(len(text) * CHARACTER_MS / speed)
    return -(-length_ms // STRETCH_MS)


def pcm(count: int, first: int) -> list[bytes]:
    """Samples without a header; `first` chooses the tone that it begins with."""
    return [_tone((first + place) % _TONES) for place in range(count)]


def wav(count: int, first: int) -> list[bytes]:
    """The same after a header that says how long it is."""
    size = count * _SAMPLES * 2
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + size,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE_HZ,
        RATE_HZ * 2,
        2,
        16,
        b"data",
        size,
    )
    found = pcm(count, first)
    return [head + found[0], *found[1:]] if found else [head]


def mp3(count: int, first: int) -> list[bytes]:
    """Silent frames of a constant bitrate; each has a number where decoders read nothing."""
    return [_frames(first, place) for place in range(count)]


@lru_cache(maxsize=4_096)
def _frames(first: int, stretch: int) -> bytes:
    frames = []
    for place in range(_MP3_FRAMES):
        number = b"%x:%x:%x" % (first, stretch, place)
        frame = _MP3_HEAD + bytes(_MP3_SIDE) + number
        frames.append(frame.ljust(_MP3_FRAME, b"\0"))
    return b"".join(frames)


@lru_cache(maxsize=_TONES)
def _tone(number: int) -> bytes:
    """A saw tooth of its own height."""
    period = 60 + 12 * number
    return array("h", [(place % period) * 100 - 50 * period for place in range(_SAMPLES)]).tobytes()


FORMATS: Final[Mapping[str, tuple[bytes, Callable[[int, int], list[bytes]]]]] = {
    "mp3": (b"audio/mpeg", mp3),
    "wav": (b"audio/wav", wav),
    "pcm": (b"audio/pcm", pcm),
}
"""The content type, and what makes so many stretches."""


def pieces_of(kind: str, count: int, seed: bytes, directives: Directives) -> Sequence[Piece]:
    """The sound as it is to come, whole or as `media` and `answer_bytes` say."""
    units = {"milliseconds": STRETCH_MS, "output_tokens": TOKENS, "output_audio_tokens": TOKENS}
    match directives.media:
        case "html":
            pieces = [Piece(PAGE, units)]
        case "empty":
            pieces = [Piece(b"", units)]
        case wanted:
            data = FORMATS[kind][1](count, seed[0] % _TONES)
            pieces = [Piece(stretch, units) for stretch in data]
            pieces = pieces[: -(-len(pieces) // 2)] if wanted == "half" else pieces
    lacking = directives.answer_bytes - sum(len(piece.data) for piece in pieces)
    while lacking > 0:
        pieces.append(Piece(bytes(min(lacking, _PADDING_BYTES)), {}))
        lacking -= _PADDING_BYTES
    return pieces
