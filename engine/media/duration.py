"""How long a recording sounds, by its packets, whatever container OpenAI takes it comes in.

FFmpeg takes the containers apart; nothing is decoded. What the headers of a container say of its
length is not believed. FFmpeg is told which format to read, so that no list of other files can be
smuggled in, and it opens no file or address besides.

Bytes that somebody chose are read by a large library in C here: this belongs into the parsing
helper, which has no secrets and bounded memory. It is imported where a recording is measured only.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NoReturn

from engine.errors import InvalidRequestError
from engine.media.sniff import kind_of

if TYPE_CHECKING:
    from av import Packet

PACKETS_MAX: Final = 1_000_000
"""Of all tracks: five hours of frames of 20 ms, more than 25 MB of speech hold."""

SECONDS_MAX: Final = 10.0
"""To measure one; a million packets take five."""

NOT_AUDIO: Final = (
    "The file is not audio: it has to be a recording as flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav "
    "or webm."
)

_FORMATS: Final = {
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "audio/mp4": "mov",
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "audio/webm": "matroska",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "video/mpeg": "mpeg",
}
# FFmpeg tries a decoder where a header leaves something open: of sound only, never of pictures.
_DECODERS: Final = (
    "aac,mp1float,mp1,mp2float,mp2,mp3float,mp3,flac,opus,vorbis,alac,ac3,adpcm_ms,adpcm_ima_wav,"
    "pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_alaw,pcm_mulaw"
)
_FIXED_FRAMES: Final = frozenset({"aac", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float"})
_OPUS: Final = frozenset({"opus", "libopus"})
_SKIP_MAX_S: Final = 1
_HONEST: Final = Fraction(9, 10)
# RFC 6716, table 2: samples of 48 kHz in a frame, by the configuration.
_OPUS_HZ: Final = 48_000
_OPUS_SAMPLES: Final = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


@dataclass(slots=True)
class _Sound:
    """What has been read of one track so far: ticks as the container says, samples as the frames
    themselves say (none where the codec's frames do not)."""

    ticks: int = 0
    samples: int = 0
    first: int | None = None
    end: int = 0
    gapless: bool = True
    """Every packet has said how long it is."""

    def add(self, packet: Packet[Any], samples: int) -> None:
        """One packet more."""
        self.samples += samples
        self.ticks += packet.duration or 0
        self.gapless = self.gapless and bool(packet.duration)
        if packet.pts is not None:
            self.first = packet.pts if self.first is None else self.first
            self.end = max(self.end, packet.pts + (packet.duration or 0))

    def seconds(self, tick: Fraction, rate_hz: int) -> Fraction:
        """What a decoder would make of it.

        A codec's delay, which decoders skip, stands before the moment 0. The frames are believed
        where the container says less than nine tenths of what they hold, or more.
        """
        first = self.first or 0
        ticks = self.ticks if self.gapless else self.end - min(first, self.end)
        skipped = min(Fraction(_SKIP_MAX_S), -min(first, 0) * tick)
        stated = ticks * tick - skipped
        if not self.samples or not rate_hz:
            return stated
        held = Fraction(self.samples, rate_hz)
        return min(stated, held) if stated >= held * _HONEST - skipped else held


class _OutOfTimeError(Exception):
    pass


class _Reader(io.RawIOBase):
    """A file of bytes that are not copied, which cannot be read forever."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._view = memoryview(data)
        self._at = 0
        self._until = time.monotonic() + SECONDS_MAX

    def check(self) -> None:
        if time.monotonic() > self._until:
            raise _OutOfTimeError

    def read(self, size: int = -1) -> bytes:
        self.check()
        end = len(self._view) if size < 0 else self._at + size
        data = bytes(self._view[self._at : end])
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def sound_ms(data: bytes | memoryview, *, param: str = "file") -> int:
    """Milliseconds of sound in a recording, rounded down, at least one; of its first track.

    Of a recording that breaks off, or breaks, the part before counts.

    Raises:
        InvalidRequestError: it is no recording, it has no sound, or it takes too long to measure;
            `param` is the field at fault.
    """
    name = _FORMATS.get(kind_of(data) or "")
    if name is None:
        raise InvalidRequestError(NOT_AUDIO, param=param)
    try:
        seconds = _measured(_Reader(data), name)
    except _OutOfTimeError as error:
        raise InvalidRequestError(
            "The recording takes too long to measure: it has too many parts.", param=param
        ) from error
    if seconds <= 0:
        raise InvalidRequestError(NOT_AUDIO, param=param)
    return max(1, int(seconds * 1000))


def _measured(reader: _Reader, name: str) -> Fraction:
    """In seconds; none where there is no sound."""
    import av

    options = {"codec_whitelist": _DECODERS, "enable_drefs": "0", "use_absolute_path": "0"}
    sound, tick, rate_hz = _Sound(), Fraction(0), 0
    try:
        with av.open(
            reader,
            "r",
            format=name,
            container_options=options,
            metadata_errors="replace",
            io_open=_open_nothing,
        ) as container:
            track = next(iter(container.streams.audio), None)
            if track is None:
                return Fraction(0)
            tick = track.time_base or tick
            codec, frame_size = "", 0
            if (context := track.codec_context) is not None:  # else FFmpeg does not know it
                codec, frame_size = context.name, context.frame_size
                rate_hz = _OPUS_HZ if codec in _OPUS else context.sample_rate
            for count, packet in enumerate(container.demux()):
                if count >= PACKETS_MAX:
                    raise _OutOfTimeError
                if count % 1024 == 0:
                    reader.check()
                if packet.stream_index == track.index and packet.size:
                    sound.add(packet, _samples_of(packet, codec, frame_size))
    except av.FFmpegError:
        pass  # it breaks off, or was none: what has been read until here counts
    return sound.seconds(tick, rate_hz)


def _samples_of(packet: Packet[Any], codec: str, frame_size: int) -> int:
    """How much sound a packet holds by its codec; none where only the container knows."""
    if codec in _FIXED_FRAMES:
        return frame_size
    if codec not in _OPUS:
        return 0
    view = memoryview(packet)
    match view[0] & 3:
        case 0:
            frames = 1
        case 3:
            frames = view[1] & 63 if len(view) > 1 else 0
        case _:
            frames = 2
    return frames * _OPUS_SAMPLES[view[0] >> 3]


def _open_nothing(url: str, flags: int, options: object) -> NoReturn:
    raise PermissionError("a recording is one file")
