"""What a batch asks for, once its input file has been read: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.usage import MoreUnit


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """Of one input file. Found by the gateway, and never read from a request.

    Attributes:
        model: that all its requests name, by its public name.
        held: what its provider calls the file that was made of it; None: nobody has been sent it.
        lines: how many requests there are.
        input_tokens, output_tokens, pieces: what all of them together can come to at most.
    """

    model: str
    held: str | None = None
    lines: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    pieces: Mapping[MoreUnit, int] = field(default_factory=dict)
