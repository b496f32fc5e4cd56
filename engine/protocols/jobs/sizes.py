"""A film's size in pixels, and as a ratio with a resolution: some providers take the one, some the
other."""

from __future__ import annotations

import re
from dataclasses import replace
from math import gcd
from typing import Final

from engine.job import JobOptions

_size = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})").fullmatch
_ratio = re.compile(r"([1-9][0-9]?):([1-9][0-9]?)").fullmatch
_lines = re.compile(r"([1-9][0-9]{2,3})p").fullmatch
_NAMED: Final = {"4k": 2_160, "2k": 1_440}


def pixels(size: str | None) -> tuple[int, int] | None:
    """Width and height. None: it says neither.

    >>> pixels("1280x720"), pixels("auto")
    ((1280, 720), None)
    """
    found = _size(size or "")
    return None if found is None else (int(found[1]), int(found[2]))


def is_ratio(text: str) -> bool:
    """Whether it is a ratio such as `16:9`."""
    return _ratio(text) is not None


def is_resolution(text: str) -> bool:
    """Whether it is a resolution such as `720p` or `4k`."""
    return _lines(text) is not None or text.lower() in _NAMED


def as_size(options: JobOptions) -> JobOptions:
    """With a ratio and a resolution as one size. Unchanged, where they are not both there.

    >>> as_size(JobOptions("video", aspect_ratio="9:16", resolution="720p")).size
    '720x1280'
    """
    ratio, lines = _ratio(options.aspect_ratio or ""), _lines_of(options.resolution)
    if options.size is not None or ratio is None or lines is None:
        return options
    wide, high = int(ratio[1]), int(ratio[2])
    long = lines * max(wide, high) // min(wide, high)
    long += long % 2
    size = f"{long}x{lines}" if wide >= high else f"{lines}x{long}"
    return replace(options, size=size, aspect_ratio=None, resolution=None)


def as_ratio(options: JobOptions) -> JobOptions:
    """With a size as a ratio and a resolution. Unchanged, where it says neither.

    >>> found = as_ratio(JobOptions("video", size="1280x720"))
    >>> found.size, found.aspect_ratio, found.resolution
    (None, '16:9', '720p')
    """
    found = pixels(options.size)
    if found is None or options.aspect_ratio or options.resolution:
        return options
    wide, high = found
    shared = gcd(wide, high)
    short = min(wide, high)
    return replace(
        options,
        size=None,
        aspect_ratio=f"{wide // shared}:{high // shared}",
        resolution="4k" if short == _NAMED["4k"] else f"{short}p",
    )


def tier_of(options: JobOptions) -> str | None:
    """What a second of it is priced by: its size, or else its resolution.

    >>> tier_of(JobOptions("video", resolution="1080p"))
    '1080p'
    """
    return options.size or (options.resolution and options.resolution.lower()) or None


def _lines_of(resolution: str | None) -> int | None:
    found = _lines(resolution or "")
    return int(found[1]) if found else _NAMED.get((resolution or "").lower())
