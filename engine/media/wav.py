"""WAV around raw PCM, of a known length or of none yet, and how long a WAV is."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 44
UNKNOWN_BYTES: Final = 0xFFFF_FFFF
"""What a size says that is not known yet: readers take what comes until the end."""

RATE_HZ: Final = 24_000
"""Of speech, where nobody says more: OpenAI's and Gemini's models agree."""

_RATE_MAX_HZ: Final = 768_000
_CHANNELS_MAX: Final = 16
_CHUNKS_MAX: Final = 256
_UNCOMPRESSED = frozenset({0x0001, 0x0003, 0xFFFE})
_PCM_TYPE = re.compile(
    r"audio/(?:x-)?(?:l(8|16|24)|pcm)[ \t]*(?:;(.*))?", re.IGNORECASE | re.DOTALL
)
_PARAMETER = re.compile(
    r"[ \t]*(rate|channels)[ \t]*=[ \t]*\"?([0-9]{1,7})\"?[ \t]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Pcm:
    """Raw samples: whole numbers of `bits` bits, the low byte first, the channels interleaved."""

    rate_hz: int = RATE_HZ
    channels: int = 1
    bits: int = 16

    @property
    def bytes_per_s(self) -> int:
        """Of all channels."""
        return self.rate_hz * self.channels * self.bits // 8

    def duration_ms(self, size_bytes: int) -> int:
        """How long so many bytes sound, rounded down."""
        return size_bytes * 1000 // self.bytes_per_s


def pcm_of(mime_type: str) -> Pcm | None:
    """What `audio/L16;codec=pcm;rate=24000` says of its samples; None: it is not raw PCM.

    `audio/L16` is big-endian by RFC 2586; Gemini, who says so, sends the low byte first, as
    everybody's `audio/pcm` is. What is not said is 24 kHz, one channel, 16 bits.
    """
    match = _PCM_TYPE.fullmatch(mime_type.strip())
    if match is None:
        return None
    said = {"rate": RATE_HZ, "channels": 1}
    for parameter in (match[2] or "").split(";"):
        if found := _PARAMETER.fullmatch(parameter):
            said[found[1].lower()] = int(found[2])
    if not (1 <= said["rate"] <= _RATE_MAX_HZ and 1 <= said["channels"] <= _CHANNELS_MAX):
        return None
    return Pcm(said["rate"], said["channels"], int(match[1] or 16))


def wav_header(pcm: Pcm, size_bytes: int | None) -> bytes:
    """The 44 bytes before so many bytes of samples; None where nobody knows how many will come."""
    if size_bytes is None or size_bytes + HEADER_BYTES > UNKNOWN_BYTES:
        riff = data = UNKNOWN_BYTES
    else:
        riff, data = size_bytes + (size_bytes & 1) + HEADER_BYTES - 8, size_bytes
    frame = pcm.channels * pcm.bits // 8
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", riff, b"WAVE"),
        *(b"fmt ", 16, 1, pcm.channels, pcm.rate_hz, pcm.bytes_per_s, frame, pcm.bits),
        *(b"data", data),
    )


def wav_of(pcm: Pcm, samples: bytes) -> bytes:
    """A whole WAV file."""
    return wav_header(pcm, len(samples)) + samples + b"\0" * (len(samples) & 1)


def wav_duration_ms(data: bytes | memoryview) -> int | None:
    """How long the sound of a whole WAV file is, rounded down; None: it is no WAV, or has none.

    Counted are the bytes that are there: a size in a header may be a placeholder, or a lie.
    """
    if bytes(data[:4]) not in (b"RIFF", b"RF64") or bytes(data[8:12]) != b"WAVE":
        return None
    at, bytes_per_s = 12, 0
    for _ in range(_CHUNKS_MAX):
        if at + 8 > len(data):
            return None
        name, size = struct.unpack("<4sI", data[at : at + 8])
        at += 8
        if name == b"fmt " and at + 16 <= len(data):
            tag, channels, rate, stated, _, bits = struct.unpack("<HHIIHH", data[at : at + 16])
            bytes_per_s = rate * channels * bits // 8 if tag in _UNCOMPRESSED else stated
        elif name == b"data":
            present = min(size, len(data) - at)
            return present * 1000 // bytes_per_s if bytes_per_s and present else None
        at += size + (size & 1)
    return None
