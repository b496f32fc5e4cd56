"""What bytes are: heads of real files, and what only looks like one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media.sniff import image_size, kind_of
from engine.media.wav import Pcm, wav_of


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\0\0\0"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def jpeg(width: int, height: int, *, before: bytes = b"") -> bytes:
    app = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    frame = b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\3" + bytes(9)
    return b"\xff\xd8" + app + before + frame + b"\xff\xda"


def webp(chunk: bytes) -> bytes:
    return b"RIFF\x40\0\0\0WEBP" + chunk


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 \x20\0\0\0\x30\x01\0\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L\x20\0\0\0\x2f" + struct.pack("<I", width - 1 | height - 1 << 14))


def webp_extended(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X\x0a\0\0\0\x10\0\0\0" + size)


def ftyp(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\2\0isom"


def ebml(doc_type: bytes, codec: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84" + doc_type + b"\x18\x53\x80\x67\x86" + codec


MPEG_FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # layer III, 128 kbit/s, 44.1 kHz: 417 bytes
MPEG2_FRAME = b"\xff\xf3\x84\xc4" + bytes(188)  # MPEG 2, 64 kbit/s, 24 kHz: 192 bytes
ADTS_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)  # 16 bytes
ID3 = b"ID3\4\0\0\0\0\1\x00" + bytes(128)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (png(1, 1), "image/png"),
        (jpeg(1, 1), "image/jpeg"),
        (gif(1, 1), "image/gif"),
        (webp_lossy(1, 1), "image/webp"),
        (wav_of(Pcm(), b"\0\0"), "audio/wav"),
        (b"fLaC\0\0\0\x22", "audio/flac"),
        (b"OggS\0\2", "audio/ogg"),
        (MPEG_FRAME * 2, "audio/mpeg"),
        (MPEG2_FRAME * 2, "audio/mpeg"),
        (MPEG_FRAME[:100], "audio/mpeg"),
        (ID3 + MPEG_FRAME * 2, "audio/mpeg"),
        (ID3, "audio/mpeg"),
        (ID3 + ADTS_FRAME * 2, "audio/aac"),
        (ID3 + b"fLaC\0\0\0\x22", "audio/flac"),
        (ADTS_FRAME * 2, "audio/aac"),
        (ftyp(b"M4A "), "audio/mp4"),
        (ftyp(b"isom"), "video/mp4"),
        (ftyp(b"qt  "), "video/quicktime"),
        (ebml(b"webm", b"A_OPUS"), "audio/webm"),
        (ebml(b"matroska", b"A_OPUS"), "video/x-matroska"),
        (b"\0\0\1\xba" + bytes(20), "video/mpeg"),
        (ebml(b"webm", b"A_OPUS V_VP9"), "video/webm"),
    ],
)
def test_kinds(data: bytes, kind: str) -> None:
    assert kind_of(data) == kind
    assert kind_of(memoryview(data)) == kind


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am a text",
        b'{"error": {}}',
        b"<html>",
        b"RIFF\0\0\0\0AVI LIST",
        ftyp(b"avif"),
        ebml(b"divx", b"A_OPUS"),
        b"ID3",
        b"ID3\4\0\0\xff\xff\xff\xff",
        b"\xff\xfb\xf0\x64" + bytes(500),
        b"\xff\xff\xff\xff" * 100,
        MPEG_FRAME + b"what is this?",
        ADTS_FRAME + b"what is this?",
        b"\xff\xfe" + "UTF-16".encode("utf-16-le") * 50,
    ],
)
def test_what_is_none_of_them(data: bytes) -> None:
    assert kind_of(data) is None


@pytest.mark.parametrize(
    "maker", [png, gif, jpeg, webp_lossy, webp_lossless, webp_extended], ids=lambda m: m.__name__
)
def test_sizes(maker: object) -> None:
    assert callable(maker)
    data = maker(1536, 1024)

    assert image_size(data) == (1536, 1024)
    assert image_size(memoryview(data)) == (1536, 1024)
    assert image_size(maker(1, 1)) == (1, 1)
    for end in range(8, 24):
        assert image_size(data[:end]) in (None, (1536, 1024))


@pytest.mark.parametrize(
    "data",
    [
        png(0, 5),
        png(1, 1).replace(b"IHDR", b"tEXt"),
        webp(b"WHAT" + bytes(30)),
        webp(b"VP8L\x20\0\0\0\x30" + bytes(10)),
        jpeg(1, 1).replace(b"\xff\xc2", b"\xff\xc4"),
        b"\xff\xd8\xff\xe0\0\0" + bytes(50),
        b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000,
        b"\xff\xd8" + b"\xff" * 5_000,
        b"not an image",
    ],
)
def test_an_image_without_a_size(data: bytes) -> None:
    assert image_size(data) is None


def test_segments_before_the_frame_of_a_jpeg_are_passed_over() -> None:
    thumbnail = jpeg(160, 120)
    exif = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail

    assert image_size(jpeg(640, 480, before=exif + b"\xff\x01\xff")) == (640, 480)


HEADS = [png(1, 1), gif(1, 1), jpeg(1, 1), webp_lossy(1, 1), MPEG_FRAME, ADTS_FRAME, ID3, b"\xff"]


@given(st.sampled_from(HEADS), st.integers(0, 40), st.binary(max_size=60))
def test_any_bytes_are_some_kind_or_none(head: bytes, at: int, noise: bytes) -> None:
    data = head[:at] + noise

    assert kind_of(data) is None or "/" in str(kind_of(data))
    size = image_size(data)
    assert size is None or min(size) > 0
