"""How long uploaded sound is, by its own headers, and whether it is any sound at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_BYTES_PER_S: Final = 16_000
"""Of the containers that are not read here: 128 kbit/s."""
_MPEG1_KBITS: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBITS: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SEARCHED: Final = 65_536
"""How far a frame may begin from the start."""


def sound_ms(data: memoryview) -> int | None:
    """Milliseconds; None where it is none of the formats that the API takes."""
    head = bytes(data[:16])
    match head[:4], head[4:8], head[8:12]:
        case b"RIFF", _, b"WAVE":
            return _wav(data)
        case b"fLaC", _, _:
            return _flac(data)
        case (b"OggS" | b"\x1aE\xdf\xa3", _, _) | (_, b"ftyp", _):
            return len(data) * 1_000 // _BYTES_PER_S
    if head[:3] == b"ID3":
        size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
        return _mp3(data[10 + size :])
    return _mp3(data) if head[:1] == b"\xff" else None


def _wav(data: memoryview) -> int | None:
    """By the bytes that are there, whatever the header says of them."""
    rate, at = 0, 12
    while at + 8 <= len(data):
        name, size = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(data[at + 16 : at + 20], "little")
        if name == b"data":
            there = min(size, len(data) - at - 8)
            return there * 1_000 // rate if rate else None
        at += 8 + size + size % 2
    return None


def _flac(data: memoryview) -> int | None:
    """STREAMINFO comes first: 20 bits of rate, 36 of samples."""
    if len(data) < 26:
        return None
    bits = int.from_bytes(data[18:26], "big")
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    return samples * 1_000 // rate if rate else None


def _mp3(data: memoryview) -> int | None:
    """By the bitrate of the first frame."""
    head = bytes(data[:_SEARCHED])
    for at in range(max(0, len(head) - 3)):
        if head[at] == 0xFF and head[at + 1] & 0xE6 == 0xE2:
            kbits = _bitrate(head[at : at + 4])
            return (len(data) - at) * 8 // kbits if kbits else None
    return None


def _bitrate(frame: Sequence[int]) -> int:
    table = _MPEG1_KBITS if frame[1] & 0x18 == 0x18 else _MPEG2_KBITS
    place = frame[2] >> 4
    return table[place] if place < len(table) else 0
