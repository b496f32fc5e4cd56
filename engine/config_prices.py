"""What a configuration can say of prices; `engine.prices` makes rates of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from engine.metering.tiers import ImageQuality


@dataclass(frozen=True, slots=True)
class MorePricesConfig:
    """US dollars, of what few answers have: per million tokens or characters, per thousand searches
    or requests, per second, per image, per clip, per session of code, per gigabyte (2^30 bytes) for
    a day. Tokens without a price here cost what they are among; trained ones are among none."""

    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    cache_write_1h: Decimal | None = None
    cached_audio: Decimal | None = None
    cached_image: Decimal | None = None
    input_audio: Decimal | None = None
    input_image: Decimal | None = None
    input_video: Decimal | None = None
    output_audio: Decimal | None = None
    output_image: Decimal | None = None
    output_video: Decimal | None = None
    web_searches: Decimal | None = None
    requests: Decimal | None = None
    characters: Decimal | None = None
    seconds: Decimal | None = None
    images: Decimal | None = None
    clips: Decimal | None = None
    file_searches: Decimal | None = None
    code_sessions: Decimal | None = None
    trained_tokens: Decimal | None = None
    gigabyte_days: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ImagePriceConfig(MorePricesConfig):
    """What of a price is another for images of a quality, a size, or both, or films of a size; the
    rest is the same."""

    quality: ImageQuality | None = None
    size: str | None = None
    input: Decimal | None = None
    output: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PriceConfig(MorePricesConfig):
    """US dollars per million tokens; a left out cached or reasoning price is the full one.

    `input` and `output` go together, and may be left out where something that is no token has a
    price: tokens then cost nothing.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    by_image: tuple[ImagePriceConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceRowConfig(MorePricesConfig):
    """Prices that go before all others from a day on, at midnight UTC.

    With `provider` they are what it charges for its `model` (and what customers pay, where a model
    has no price of its own), without it what customers pay for the public `model`. A row changes
    what it names; with an `input`, cached input costs the same unless it is named too.
    """

    model: str = field(kw_only=True)
    provider: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    """The first day on which it is not valid any more."""
    service_tier: Literal["priority", "flex", "fast", "batch"] | None = None
    """Left out: the standard one."""
    quality: ImageQuality | None = None
    size: str | None = None
    """Of images (or films) of this quality and size; of what is left out, of all without a row of
    their own."""
    above_input_tokens: int | None = None
    """Of requests with more input than this; left out: of all without a row of their own."""
    input: Decimal | None = None
    output: Decimal | None = None
