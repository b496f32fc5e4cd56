"""The words by which one request's rates differ from another's: how it is served, or what image or
film it asks for.

Chats have a service tier (`priority`). Images have quality and size, one word of both with a space
between (`high 1024x1024`); either may be left out, and `auto` is whatever the provider chooses.
Films have a size, in pixels or lines (`1280x720`, `720p`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

ImageQuality = Literal["low", "medium", "high", "standard", "hd"]
"""Of OpenAI's models of images; others have a price by size alone."""

AUTO: Final = "auto"
_QUALITIES: Final = frozenset(get_args(ImageQuality))
_SIZE: Final = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}|[1-9][0-9]?K|[1-9][0-9]{2,3}p|[24]k")
_PIXELS: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def tier_word(quality: str | None, size: str | None) -> str | None:
    """The word of an image's quality and size; None: neither is said.

    >>> tier_word("high", "1024x1024"), tier_word(None, "2K")
    ('high 1024x1024', '2K')
    """
    return " ".join(part for part in (quality, size) if part) or None


def is_size(text: str) -> bool:
    """Whether this is the size of an image or a film, in pixels, lines or Gemini's words."""
    return _SIZE.fullmatch(text) is not None


def from_precise(tier: str) -> tuple[str, ...]:
    """The words that stand for a tier, the one that says most first.

    >>> from_precise("high 1024x1024"), from_precise("1280x720")
    (('high 1024x1024', 'high', '1024x1024'), ('1280x720', '720p'))
    """
    quality, space, size = tier.partition(" ")
    if space:
        return (tier, quality, size)
    if (pixels := _PIXELS.fullmatch(tier)) is not None:
        return (tier, f"{min(int(pixels[1]), int(pixels[2]))}p")
    return (tier,)


def may_be(asked: str, tier: str) -> bool:
    """Whether an image that is asked for so may come out as one of that tier: what is `auto`, or
    not said, the provider chooses."""
    if not is_of_images(tier):
        return False
    quality, size = _parts(asked)
    of_quality, of_size = _parts(tier)
    return (quality in (None, AUTO) or of_quality in (None, quality)) and (
        size in (None, AUTO) or of_size in (None, size)
    )


def all_words(tiers: Iterable[str]) -> Iterator[str]:
    """These, and all of images that a quality of one and a size of another make together."""
    found = dict.fromkeys(tiers)
    parts = [_parts(tier) for tier in found if is_of_images(tier)]
    for quality in dict.fromkeys(quality for quality, _ in parts if quality):
        for size in dict.fromkeys(size for _, size in parts if size):
            found[f"{quality} {size}"] = None
    return iter(found)


def is_of_images(tier: str) -> bool:
    """Whether it says a quality or a size of images: a service tier does not."""
    quality, size = _parts(tier)
    return size is not None or quality in _QUALITIES


def _parts(tier: str) -> tuple[str | None, str | None]:
    """Quality and size; what is not said is None."""
    quality, space, size = tier.partition(" ")
    if space:
        return quality, size
    return (None, tier) if is_size(tier) else (tier, None)
