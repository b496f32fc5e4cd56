"""Pictures: `imageConfig` in both directions, and what one comes to.

Source: Gemini's page of image generation (sizes in pixels by aspect ratio; 1,120 to 2,520 tokens a
picture, by model and size).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from engine.conversation import Conversation, ImageOptions, Media, Text, Unexpressed
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.metering.tiers import tier_word
from engine.protocols.codec import InexpressibleError
from engine.protocols.gemini.spelling import get_dict, get_text, key_of, members
from engine.protocols.openai_images.sizes import pixels

_PIXELS: Final[Mapping[str, tuple[int, int]]] = {
    "1:1": (1_024, 1_024),
    "2:3": (832, 1_248),
    "3:2": (1_248, 832),
    "3:4": (864, 1_184),
    "4:3": (1_184, 864),
    "4:5": (896, 1_152),
    "5:4": (1_152, 896),
    "9:16": (768, 1_344),
    "16:9": (1_344, 768),
    "21:9": (1_536, 672),
}
_SCALES: Final[Mapping[str, int]] = {"1K": 1, "2K": 2, "4K": 4}
_USUAL: Final = "1K"
_TOKENS: Final = 2_520
_TOKENS_BESIDE: Final = 4_096
"""Of words and thoughts that come with a picture."""
_TOKENS_SEEN: Final = 2_048
_FRAMING_TOKENS: Final = 64


def read_image_config(
    config: dict[str, Any], holder: str, unexpressed: list[Unexpressed]
) -> ImageOptions | None:
    """What the `imageConfig` says in a client's `generationConfig`, which it spells as `holder`.
    Raises InvalidRequestError: no such shape or size."""
    image = get_dict(config, "imageConfig")
    at = f"{holder}.{key_of(config, 'imageConfig')}"
    for name, spelled, _ in members(image):
        if name not in ("aspectRatio", "imageSize"):
            unexpressed.append(Unexpressed(f"{at}.{spelled}", harmless=False))
    ratio, scale = get_text(image, "aspectRatio"), get_text(image, "imageSize")
    for said, known, name in (
        (ratio, _PIXELS, "aspectRatio"),
        (scale, _SCALES, "imageSize"),
    ):
        if said and said not in known:
            raise InvalidRequestError(
                f"'{name}' must be one of {', '.join(known)}.", param=f"{at}.{name}"
            )
    if ratio:
        width, height = _PIXELS[ratio]
        times = _SCALES[scale or _USUAL]
        return ImageOptions(size=f"{width * times}x{height * times}")
    return ImageOptions(size=scale) if scale else None


def image_config(options: ImageOptions, dropped: list[str]) -> dict[str, str]:
    """The nearest `imageConfig`. Raises InexpressibleError: there is nothing like it."""
    if options.background == "transparent":
        raise InexpressibleError("image.background", "This model draws no transparent background.")
    if options.quality not in (None, "auto"):
        dropped.append("image.quality")
    if options.format not in (None, "png"):
        dropped.append("image.format")
    if options.compression is not None:
        dropped.append("image.compression")
    config: dict[str, str] = {}
    if (asked := pixels(options.size)) is not None:
        config["aspectRatio"] = min(_PIXELS, key=lambda ratio: _distance(asked, _PIXELS[ratio]))
    scale = _scale(options.size)
    return config if scale in (None, _USUAL) else config | {"imageSize": scale or _USUAL}


def _scale(size: str | None) -> str | None:
    """Gemini's word for a size, the nearest one; None where it is left to the model."""
    if size in _SCALES:
        return size
    if (asked := pixels(size)) is None:
        return None
    times = math.log2(math.sqrt(asked[0] * asked[1]) / 1_024)
    return min(_SCALES, key=lambda scale: abs(times - math.log2(_SCALES[scale])))


def _distance(one: tuple[int, int], other: tuple[int, int]) -> float:
    return abs(math.log(one[0] / one[1]) - math.log(other[0] / other[1]))


def drawn(conversation: Conversation) -> Demand:
    """What a picture consumes at most. Raises InexpressibleError: more than one is asked for."""
    assert conversation.image is not None, "it asks for a picture"
    if conversation.choices > 1:
        raise InexpressibleError("choices", "This model draws one picture at a time; ask for one.")
    parts = [part for turn in conversation.turns for part in turn.parts]
    words = sum(
        len(part.text.encode("utf-8", "surrogatepass")) for part in parts if isinstance(part, Text)
    )
    seen = _TOKENS_SEEN * sum(isinstance(part, Media) for part in parts)
    return Demand(
        input_tokens=words + seen + _FRAMING_TOKENS,
        output_tokens=_TOKENS + _TOKENS_BESIDE,
        expected_input_tokens=words // 4 + seen,
        pieces={"images": 1},
        tier=tier_word(None, _scale(conversation.image.size) or _USUAL),
    )
