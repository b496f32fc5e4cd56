"""The forms of a transcript: JSON, subtitles, segments with their times and speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

SEGMENT_WORDS: Final = 10
_SPEAKERS: Final = ("A", "B")


@dataclass(frozen=True, slots=True)
class Cue:
    """A stretch of a transcript; times in seconds."""

    place: int
    start_s: float
    end_s: float
    text: str


def cues_of(words: list[str], length_ms: int, size: int = SEGMENT_WORDS) -> list[Cue]:
    """The words, so many at a time, spread evenly over the sound."""
    each_s = length_ms / 1_000 / max(1, len(words))
    return [
        Cue(
            place,
            round(start * each_s, 3),
            round(min(start + size, len(words)) * each_s, 3),
            "".join(words[start : start + size]),
        )
        for place, start in enumerate(range(0, len(words), size))
    ]


def _clock(seconds: float, point: str) -> str:
    millis = round(seconds * 1_000)
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1_000:02}{point}{rest % 1_000:03}"


def srt(cues: Iterable[Cue]) -> str:
    """SubRip subtitles."""
    blocks = [
        f"{cue.place + 1}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n"
        f"{cue.text.strip()}\n\n"
        for cue in cues
    ]
    return "".join(blocks) + "\n"


def vtt(cues: Iterable[Cue]) -> str:
    """WebVTT subtitles."""
    blocks = [
        f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{cue.text.strip()}\n\n"
        for cue in cues
    ]
    return "WEBVTT\n\n" + "".join(blocks)


SUBTITLES: Final[Mapping[str, Callable[[Iterable[Cue]], str]]] = {"srt": srt, "vtt": vtt}


def segment(cue: Cue) -> dict[str, Any]:
    """One segment of `verbose_json`; what is not its time or text is made up."""
    return {
        "id": cue.place,
        "seek": 0,
        "start": cue.start_s,
        "end": cue.end_s,
        "text": cue.text,
        "tokens": [50_364, 50_414],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.25,
        "no_speech_prob": 0.01,
    }


def spoken(cue: Cue) -> dict[str, Any]:
    """One segment of `diarized_json`: two speakers take turns."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{cue.place}",
        "speaker": _SPEAKERS[cue.place % len(_SPEAKERS)],
        "start": cue.start_s,
        "end": cue.end_s,
        "text": cue.text,
    }
