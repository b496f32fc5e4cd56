"""What a request consumes that is no chat: known by what is asked, before it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.usage import MoreUnit


@dataclass(frozen=True, slots=True)
class Demand:
    """Of one request to one kind of provider.

    Attributes:
        input_tokens, output_tokens: at most, of the whole answer; the hold covers them.
        expected_input_tokens: what of the input is likely.
        pieces: at most, of units that are no tokens: what the hold covers, and above which a
            report is a fault.
        flat: what is consumed whatever the provider says: it counts where the provider reports
            nothing of that unit.
        lowerable: its output can be asked to be shorter, where funds do not cover all of it.
        tier: what a piece is priced by (`high 1024x1024` of an image), where rates tell apart.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    expected_input_tokens: int = 0
    pieces: Mapping[MoreUnit, int] = field(default_factory=dict, hash=False)
    flat: Mapping[MoreUnit, int] = field(default_factory=dict, hash=False)
    tier: str | None = None
    lowerable: bool = False
