"""WAV headers, as Python's own reader of WAV files understands them."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media.sniff import kind_of
from engine.media.wav import HEADER_BYTES, Pcm, pcm_of, wav_duration_ms, wav_header, wav_of


@pytest.mark.parametrize(
    ("mime_type", "pcm"),
    [
        ("audio/L16;codec=pcm;rate=24000", Pcm(24_000, 1, 16)),
        ("audio/l16; rate=16000; channels=2", Pcm(16_000, 2, 16)),
        ('audio/pcm;rate="8000"', Pcm(8_000, 1, 16)),
        ("audio/pcm", Pcm(24_000, 1, 16)),
        ("audio/L24;rate=48000", Pcm(48_000, 1, 24)),
        ("audio/L16;rate=0", None),
        ("audio/L16;channels=99", None),
        ("audio/L12", None),
        ("audio/wav", None),
        ("audio/pcmu", None),
        ("", None),
    ],
)
def test_parameters_are_read_from_the_type(mime_type: str, pcm: Pcm | None) -> None:
    assert pcm_of(mime_type) == pcm


pcms = st.builds(Pcm, st.sampled_from([8_000, 24_000, 44_100]), st.integers(1, 2), st.just(16))


@given(pcms, st.integers(0, 3_000))
def test_a_whole_file(pcm: Pcm, frames: int) -> None:
    samples = bytes(i % 251 for i in range(frames * pcm.channels * 2))

    data = wav_of(pcm, samples)

    with wave.open(io.BytesIO(data)) as file:
        assert file.getframerate() == pcm.rate_hz
        assert file.getnchannels() == pcm.channels
        assert file.readframes(frames + 1) == samples
    assert kind_of(data) == "audio/wav"
    assert wav_duration_ms(data) == (frames * 1000 // pcm.rate_hz if frames else None)
    assert pcm.duration_ms(len(samples)) == frames * 1000 // pcm.rate_hz


def test_samples_of_an_odd_size_are_padded() -> None:
    data = wav_of(Pcm(8_000, 1, 8), b"abc")

    assert data[HEADER_BYTES:] == b"abc\0"
    assert struct.unpack("<I", data[4:8]) == (len(data) - 8,)


@pytest.mark.parametrize("size", [None, 5_000_000_000])
def test_a_file_whose_end_nobody_knows(size: int | None) -> None:
    head = wav_header(Pcm(), size)

    assert len(head) == HEADER_BYTES
    assert wav_duration_ms(head + bytes(48_000)) == 1_000


@pytest.mark.parametrize(
    ("data", "duration_ms"),
    [
        (wav_header(Pcm(), 480_000) + bytes(48_000), 1_000),
        (wav_header(Pcm(), 24_000) + bytes(48_000), 500),
        (wav_header(Pcm(), 0), None),
        (b"RIFF", None),
        (b"ID3" + bytes(60), None),
        (wav_header(Pcm(), 0)[:12] + b"LIST\xff\xff\xff\xff" + bytes(60), None),
        (wav_header(Pcm(), 0)[:12] + (b"LIST" + bytes(4)) * 10_000, None),
        (wav_header(Pcm(), 0)[:12] + b"data\x08\0\0\0" + bytes(8), None),
    ],
    ids=["cut", "more", "silent", "short", "mp3", "past the end", "chunks", "no format"],
)
def test_a_size_is_not_believed(data: bytes, duration_ms: int | None) -> None:
    assert wav_duration_ms(data) == duration_ms


def test_a_rate_of_bytes_is_not_believed() -> None:
    """Who says ten times the bytes a second would pay a tenth."""
    head = bytearray(wav_header(Pcm(), 48_000))
    head[28:32] = struct.pack("<I", 480_000)

    assert wav_duration_ms(bytes(head) + bytes(48_000)) == 1_000


def test_a_chunk_before_the_samples_is_passed_over() -> None:
    data = wav_of(Pcm(), bytes(48_000))

    assert wav_duration_ms(data[:12] + b"LIST\x03\0\0\0abc\0" + data[12:]) == 1_000
