"""What some bytes are, by the bytes: what a client or a provider says of its media may be wrong.

Only kinds that the gateway carries are known here. A kind that rests on a few bits, as MPEG audio
without a tag does, is verified by the frame after the first, where that is there.
"""

from __future__ import annotations

import struct
from typing import Final

PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
WEBP: Final = "image/webp"
GIF: Final = "image/gif"
MP3: Final = "audio/mpeg"
WAV: Final = "audio/wav"
FLAC: Final = "audio/flac"
OGG: Final = "audio/ogg"
AAC: Final = "audio/aac"
MP4_AUDIO: Final = "audio/mp4"
MPEG: Final = "video/mpeg"
MP4: Final = "video/mp4"
QUICKTIME: Final = "video/quicktime"
WEBM_AUDIO: Final = "audio/webm"
WEBM: Final = "video/webm"
MATROSKA: Final = "video/x-matroska"

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"\x00\x00\x01\xba", MPEG),
)
_RIFF: Final = {b"WEBP": WEBP, b"WAVE": WAV}
# Brands of ISO 14496-12 files that hold sound only, or something else than MP4.
_BRANDS: Final[dict[bytes, str | None]] = {
    b"M4A ": MP4_AUDIO,
    b"M4B ": MP4_AUDIO,
    b"M4P ": MP4_AUDIO,
    b"F4A ": MP4_AUDIO,
    b"F4B ": MP4_AUDIO,
    b"qt  ": QUICKTIME,
    b"avif": None,
    b"avis": None,
    b"heic": None,
    b"heix": None,
    b"mif1": None,
    b"msf1": None,
}
_EBML_SCAN_BYTES: Final = 64 * 1024
_JPEG_SEGMENTS_MAX: Final = 1_024

# ISO 11172-3 and 13818-3: kbit/s by version (1; 2 and 2.5) and layer (I, II, III), Hz by version.
_BITRATES: Final = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}


def kind_of(data: bytes | memoryview) -> str | None:
    """The media type, from the table of this module; None: it is nothing known here.

    The first 64 KiB are enough, or as much as there is.
    """
    head = bytes(data[:16])
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] in (b"RIFF", b"RF64") and len(head) >= 12:
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp" and len(head) >= 12:
        return _BRANDS.get(head[8:12], MP4)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _ebml_kind(bytes(data[:_EBML_SCAN_BYTES]))
    if head[:3] == b"ID3":
        return _tagged_kind(data)
    return _frame_kind(data)


def image_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, WebP or GIF; None where they cannot be read."""
    try:
        match kind_of(data):
            case "image/png":
                size = struct.unpack(">II", data[16:24]) if data[12:16] == b"IHDR" else None
            case "image/gif":
                size = struct.unpack("<HH", data[6:10])
            case "image/webp":
                size = _webp_size(bytes(data[:30]))
            case "image/jpeg":
                size = _jpeg_size(data)
            case _:
                size = None
    except (struct.error, IndexError):  # it ends too early
        return None
    return (size[0], size[1]) if size is not None and size[0] and size[1] else None


def _ebml_kind(head: bytes) -> str | None:
    """WebM with a track of pictures is a film."""
    if b"matroska" in head[:64]:
        return MATROSKA
    if b"webm" not in head[:64]:
        return None
    return WEBM if any(name in head for name in (b"V_VP8", b"V_VP9", b"V_AV1")) else WEBM_AUDIO


def _tagged_kind(data: bytes | memoryview) -> str | None:
    """What an ID3v2 tag stands before: MP3, unless what follows says otherwise."""
    head = bytes(data[:10])
    if len(head) < 10 or 0xFF in head[3:5] or any(byte & 0x80 for byte in head[6:10]):
        return None
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    after = data[10 + size :]
    if bytes(after[:4]) == b"fLaC":
        return FLAC
    return _frame_kind(after) or MP3


def _frame_kind(data: bytes | memoryview) -> str | None:
    """MPEG audio or ADTS: a frame's header, and the next one's where the frame ends within."""
    for size_of, kind in ((_mpeg_frame_bytes, MP3), (_adts_frame_bytes, AAC)):
        size = size_of(bytes(data[:7]))
        if size is None:
            continue
        following = bytes(data[size : size + 7])
        if len(following) < 7 or size_of(following) is not None:
            return kind
    return None


def _mpeg_frame_bytes(head: bytes) -> int | None:
    """Size of a frame of MPEG audio by its header; None: it is no header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, frequency = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return None
    bits_per_s = 1000 * _BITRATES[1 if version == 3 else 2, layer][rate]
    hz, padding = _RATES_HZ[version][frequency], head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits_per_s // hz + padding) * 4
    samples = 1152 if layer == 2 or version == 3 else 576
    return samples // 8 * bits_per_s // hz + padding


def _adts_frame_bytes(head: bytes) -> int | None:
    """Size of a frame of AAC by its ADTS header (ISO 13818-7, 6.2); None: it is no header."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= 7 else None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """RFC 9649: the first chunk is a still picture with or without loss, or says what follows."""
    match head[12:16]:
        case b"VP8X":
            width, high, height, higher = struct.unpack("<HBHB", head[24:30])
            return 1 + (width | high << 16), 1 + (height | higher << 16)
        case b"VP8L" if head[20] == 0x2F:
            (bits,) = struct.unpack("<I", head[21:25])
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """From the frame header (SOF0 to SOF15, but for DHT, JPG and DAC), segment after segment."""
    at = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF:
            return None
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            at += 2
            continue
        size, _bits, height, width = struct.unpack(">HBHH", data[at + 2 : at + 9])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return width, height
        if size < 2:
            return None
        at += 2 + size
    return None
