"""What pictures come to in tokens, at most: how much is held for them.

Sources: OpenAI's guide of image generation ("Cost and latency": a table by quality and size of the
first models, 100 tokens a partial image), and the calculator on its page of prices, whose formula
is that of the models with sizes of one's own choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PARTIAL_TOKENS: Final = 100
"""Of output, for each unfinished picture of a stream."""
INPUT_IMAGE_TOKENS: Final = 8_192
"""A picture to be drawn over: tiles and, at high fidelity, 6,240 more."""

_OLDER: Final[Mapping[str, int]] = {"low": 408, "medium": 1_584}
_OLDER_MAX: Final = 6_240
_STEPS: Final[Mapping[str, int]] = {"low": 16, "medium": 48, "high": 96}
_STEPS_MAX: Final = 192
"""Of qualities above `high`, whose figures are not public: four times the tokens."""
_HIGH: Final = frozenset({"", "auto", "high", "standard", "hd"})
_STANDARD: Final = ((1_024, 1_024), (1_536, 1_024))
_PIXELS_MAX: Final = 3_840 * 2_160
_size = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})").fullmatch


def pixels(size: str | None) -> tuple[int, int] | None:
    """Width and height; None where it is left to the model.

    >>> pixels("1536x1024"), pixels("auto")
    ((1536, 1024), None)
    """
    found = _size(size or "")
    return None if found is None else (int(found[1]), int(found[2]))


def output_tokens(quality: str | None, size: str | None) -> int:
    """Of one picture, at most.

    >>> output_tokens("high", "1024x1024"), output_tokens("low", "1024x1024")
    (7024, 408)
    """
    steps = _STEPS["high"] if (quality or "") in _HIGH else _STEPS.get(quality or "", _STEPS_MAX)
    older = _OLDER.get(quality or "", _OLDER_MAX)
    asked = pixels(size)
    return max(older, *(_formula(steps, *each) for each in ([asked] if asked else _STANDARD)))


def _formula(steps: int, width: int, height: int) -> int:
    long, short = max(width, height), min(width, height)
    of_short = (2 * steps * short + long) // (2 * long)
    area = min(width * height, _PIXELS_MAX)
    return -(-steps * of_short * (2_000_000 + area) // 4_000_000)
