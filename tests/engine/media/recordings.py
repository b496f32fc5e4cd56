"""Recordings of every container, made on the spot: noise, by FFmpeg's own encoders."""

from __future__ import annotations

import io
import random
from typing import Final

import av

ENCODINGS: Final = {
    "mp3": ("mp3", "libmp3lame", 24_000),
    "mpga": ("mp2", "mp2", 44_100),
    "mpeg": ("mpeg", "mp2", 44_100),
    "m4a": ("ipod", "aac", 44_100),
    "mp4": ("mp4", "aac", 48_000),
    "wav": ("wav", "pcm_s16le", 16_000),
    "flac": ("flac", "flac", 16_000),
    "ogg": ("ogg", "libopus", 48_000),
    "webm": ("webm", "libopus", 48_000),
    "aac": ("adts", "aac", 44_100),
}
"""By file name ending: container, codec, Hz."""


def recording(ending: str, seconds: int, *, picture: bool = False) -> bytes:
    """A whole file; with a track of pictures before the sound, if wanted."""
    container, codec, rate = ENCODINGS[ending]
    file, noise = io.BytesIO(), random.Random(0)
    with av.open(file, "w", format=container) as output:
        film = output.add_stream("mpeg4", rate=5) if picture else None
        if film is not None:
            film.width, film.height, film.pix_fmt = 32, 32, "yuv420p"
        track = output.add_stream(codec, rate=rate)
        assert isinstance(track, av.AudioStream)
        track.codec_context.layout = "mono"
        resampler = av.AudioResampler(track.codec_context.format, "mono", rate)
        if film is not None:
            for at in range(seconds * 5):
                still = av.VideoFrame(32, 32, "yuv420p")
                still.pts = at
                output.mux(film.encode(still))
            output.mux(film.encode(None))
        for second in range(seconds):
            frame = av.AudioFrame("s16", "mono", rate)
            frame.planes[0].update(noise.randbytes(frame.planes[0].buffer_size))
            frame.sample_rate, frame.pts = rate, second * rate
            for resampled in resampler.resample(frame):
                output.mux(track.encode(resampled))
        output.mux(track.encode(None))
    return file.getvalue()
