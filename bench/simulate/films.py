"""Films of any length and size by a seed: MP4 with a picture a second, which are all the same one.

The picture is a PNG of `pictures` and stands in the file once, so that a film has some hundred
bytes; each second is a chunk of its own that points to it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from bench.simulate.pictures import png

_SCALE: Final = 1_000
"""Of time: milliseconds."""
_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_PNG: Final = 0x6D
"""ISO/IEC 14496-1 as registered: what of a visual stream is PNG."""


@lru_cache(maxsize=64)
def mp4(width: int, height: int, seconds: int, seed: bytes) -> bytes:
    """One track of video. The seed colours it, as it does a picture."""
    picture = png(width, height, seed)
    kinds = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2mp41")
    # Where the picture lies depends on how long what comes before it is, and not on the number.
    before = len(kinds) + len(_movie(width, height, seconds, len(picture), 0)) + 8
    movie = _movie(width, height, seconds, len(picture), before)
    return kinds + movie + _box(b"mdat", picture)


def _box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + name + data


def _full(name: bytes, flags: int, *parts: bytes) -> bytes:
    return _box(name, struct.pack(">I", flags), *parts)


def _movie(width: int, height: int, seconds: int, size: int, offset: int) -> bytes:
    length = seconds * _SCALE
    head = _full(
        b"mvhd",
        0,
        struct.pack(">4IIHHII", 0, 0, _SCALE, length, 0x10000, 0x0100, 0, 0, 0),
        _MATRIX,
        bytes(24),
        struct.pack(">I", 2),
    )
    track = _full(
        b"tkhd",
        3,
        struct.pack(">5I8x4H", 0, 0, 1, 0, length, 0, 0, 0, 0),
        _MATRIX,
        struct.pack(">II", width << 16, height << 16),
    )
    times = _full(b"mdhd", 0, struct.pack(">4IHH", 0, 0, _SCALE, length, 0x55C4, 0))
    handler = _full(b"hdlr", 0, struct.pack(">I4s12x", 0, b"vide"), b"Video\0")
    source = _box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1)))
    samples = _samples(width, height, seconds, size, offset)
    information = _box(b"minf", _full(b"vmhd", 1, bytes(8)), source, samples)
    return _box(b"moov", head, _box(b"trak", track, _box(b"mdia", times, handler, information)))


def _samples(width: int, height: int, seconds: int, size: int, offset: int) -> bytes:
    entry = _box(
        b"mp4v",
        struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 72 << 16, 72 << 16, 0, 1, b"", 24, -1),
        _full(b"esds", 0, _descriptor()),
    )
    return _box(
        b"stbl",
        _full(b"stsd", 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, struct.pack(">III", 1, seconds, _SCALE)),
        _full(b"stsc", 0, struct.pack(">IIII", 1, 1, 1, 1)),
        _full(b"stsz", 0, struct.pack(">II", size, seconds)),
        _full(b"stco", 0, struct.pack(">I", seconds), struct.pack(">I", offset) * seconds),
    )


def _descriptor() -> bytes:
    """An elementary stream of pictures, without a buffer or a rate."""
    decoder = bytes([4, 13, _PNG, 0x11]) + bytes(11)
    sync = bytes([6, 1, 2])
    return bytes([3, 3 + len(decoder) + len(sync), 0, 1, 0]) + decoder + sync
