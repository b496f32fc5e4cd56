"""How long recordings sound: by what is in them, whatever their headers say."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys

import pytest

from engine.errors import InvalidRequestError
from engine.media import duration
from engine.media.duration import NOT_AUDIO, sound_ms
from engine.media.wav import Pcm, wav_header, wav_of
from tests.engine.media.recordings import ENCODINGS, recording


@pytest.mark.parametrize("ending", ENCODINGS)
def test_every_container(ending: str) -> None:
    data = recording(ending, 3)

    # An encoder fills its last frame, and some begin with one of delay.
    assert 3_000 <= sound_ms(data) <= 3_110
    assert sound_ms(memoryview(data)) == sound_ms(data)


def test_the_sound_of_a_film() -> None:
    assert 3_000 <= sound_ms(recording("mp4", 3, picture=True)) <= 3_050


def test_less_than_a_millisecond_is_one() -> None:
    assert sound_ms(wav_of(Pcm(24_000), bytes(2))) == 1


@pytest.mark.parametrize("ending", ["mp3", "mpga", "wav", "flac", "ogg", "webm", "aac"])
def test_of_a_recording_that_breaks_off_what_is_there_counts(ending: str) -> None:
    data = recording(ending, 10)

    assert 3_000 < sound_ms(data[: len(data) // 2]) < 7_000


def lie(data: bytes, box: bytes, at: int, value: int) -> bytes:
    """The file with a number in a box of MP4 replaced, counted from behind the box's name."""
    start = data.index(box) + len(box) + at
    return data[:start] + struct.pack(">I", value) + data[start + 4 :]


M4A = recording("m4a", 10)
FLAC = recording("flac", 10)
WEBM = recording("webm", 10)


@pytest.mark.parametrize(
    "data",
    [
        lie(M4A, b"mvhd", 16, 1),
        lie(lie(M4A, b"mdhd", 16, 1), b"tkhd", 20, 1),
        lie(M4A, b"stts", 12, 1),
        lie(M4A, b"mdhd", 12, 44_100_000),
        wav_header(Pcm(16_000), 16)[:40] + b"\xff\xff\xff\xff" + bytes(320_000),
        bytes(wav_of(Pcm(16_000), bytes(320_000))).replace(struct.pack("<I", 32_000), b"\xff" * 4),
        FLAC[:21] + bytes([FLAC[21] & 0xF0]) + b"\0\0\0\1" + FLAC[26:],
    ],
    ids=[
        "movie",
        "track",
        "short samples",
        "scale",
        "size",
        "bytes a second",
        "flac",
    ],
)
def test_headers_are_not_believed(data: bytes) -> None:
    assert 9_900 <= sound_ms(data) <= 10_110


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"ID3\4\0\0\0\0\0\0" + b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n" * 100,
        b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(1_000),
        b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + bytes(1_000),
        b"fLaC" + bytes(1_000),
        b"OggS" + bytes(1_000),
        wav_of(Pcm(), b""),
        M4A[:100],
    ],
)
def test_what_is_no_recording(data: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not audio") as caught:
        sound_ms(data)

    assert caught.value.message == NOT_AUDIO
    assert caught.value.param == "file"


def test_too_many_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "PACKETS_MAX", 50)

    with pytest.raises(InvalidRequestError, match="too many parts"):
        sound_ms(M4A)


def test_too_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "SECONDS_MAX", -1.0)

    with pytest.raises(InvalidRequestError, match="takes too long"):
        sound_ms(M4A, param="audio")


@pytest.mark.parametrize("ending", ENCODINGS)
def test_damage_is_measured_or_refused(ending: str) -> None:
    data = recording(ending, 1)
    noise = random.Random(ending)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(noise.randint(1, 8)):
            damaged[noise.randrange(4, min(len(data), 2_000))] = noise.randrange(256)
        with contextlib.suppress(InvalidRequestError):
            assert sound_ms(bytes(damaged)) > 0


def test_it_costs_nothing_where_nothing_is_measured() -> None:
    program = "import sys, engine.media.duration, engine.media.forms; print('av' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout == b"False\n"
