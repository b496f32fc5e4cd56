"""What a fine-tuning job asks for, once its files have been looked up: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TuningFacts:
    """Of one request. Found by the gateway, and never read from a request.

    Attributes:
        training_bytes: of the file that is trained on.
        held: what the provider calls the files, by what is written; nothing: it has not been sent
            them.
    """

    training_bytes: int
    held: Mapping[str, str] = field(default_factory=dict)
