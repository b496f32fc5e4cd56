"""Pictures of any size by a seed: PNG of two colours in stripes, JPEG of grey, WebP of one colour.

All are valid, and compress so well that one of 1024 by 1024 has some hundred bytes.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Final

from bench.simulate.directives import Directives
from bench.simulate.sounds import PAGE

STRIPE: Final = 16
"""Rows of one colour."""
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAGICS: Final = (_SIGNATURE, b"\xff\xd8\xff", b"RIFF")
"""How PNG, JPEG and WebP begin."""


def png(width: int, height: int, seed: bytes) -> bytes:
    """The first six bytes of the seed are its colours."""
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", seed[:6]), (b"IDAT", _stripes(width, height)))
    return b"".join([_SIGNATURE, *(_chunk(*chunk) for chunk in chunks), _chunk(b"IEND", b"")])


@lru_cache(maxsize=64)
def _stripes(width: int, height: int) -> bytes:
    row = (width + 7) // 8
    colours = (bytes(1 + row), b"\0" + b"\xff" * row)
    return zlib.compress(b"".join(colours[y // STRIPE % 2] for y in range(height)))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg(width: int, height: int, seed: bytes) -> bytes:
    """One component; each block is two bits, no change and nothing more. The seed is a comment."""
    blocks = -(-width // 8) * -(-height // 8)
    table = bytes([1] + [0] * 15 + [0])
    segments = (
        (b"\xe0", b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        (b"\xfe", seed.hex().encode()),
        (b"\xdb", b"\0" + b"\x10" * 64),
        (b"\xc0", struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        (b"\xc4", b"\x00" + table),
        (b"\xc4", b"\x10" + table),
        (b"\xda", b"\1\1\0\0\x3f\0"),
    )
    written = [b"\xff" + mark + struct.pack(">H", len(data) + 2) + data for mark, data in segments]
    return b"".join([b"\xff\xd8", *written, bytes(-(-blocks // 4)), b"\xff\xd9"])


def webp(width: int, height: int, seed: bytes) -> bytes:
    """Lossless (RFC 9649): each channel has one symbol only, and so its pixels take no bits."""
    bits, at = 0, 0

    def put(value: int, size: int) -> None:
        nonlocal bits, at
        bits |= value << at
        at += size

    put(width - 1, 14)
    put(height - 1, 14)
    put(0, 1 + 3)  # no transparency; the version
    put(0, 3)  # no transform, no cache of colours, one group of codes
    red, green, blue = seed[:3]
    for symbol in (green, red, blue, 0xFF):
        put(0b101, 3)  # a simple code of one symbol, which has eight bits
        put(symbol, 8)
    put(0b0001, 4)  # the same of distances, whose symbol has one bit
    data = b"\x2f" + bits.to_bytes(-(-at // 8), "little")
    data += bytes(len(data) % 2)
    chunk = b"WEBPVP8L" + struct.pack("<I", 1 + -(-at // 8)) + data
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


FORMATS: Final = {"png": png, "jpeg": jpeg}


def spoiled(data: bytes, directives: Directives) -> bytes:
    """A picture as it is to come, whole or as `media` and `answer_bytes` say."""
    match directives.media:
        case "half":
            data = data[: len(data) // 2]
        case "html":
            data = PAGE
        case "empty":
            data = b""
        case _:
            pass
    return data.ljust(directives.answer_bytes, b"\0")
