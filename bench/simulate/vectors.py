"""Vectors by the text: of length one, the same for the same text, and cheap."""

from __future__ import annotations

from array import array
from base64 import b64encode
from functools import lru_cache
from hashlib import shake_128
from math import hypot
from typing import Final

REMEMBERED: Final = 512
"""Vectors kept, so that a load of equal texts costs next to nothing; 12 KB each at most."""


@lru_cache(maxsize=REMEMBERED)
def vector(model: str, text: str, full: int, dimensions: int, *, unit: bool = True) -> array[float]:
    """The first `dimensions` of the vector of a text; 32-bit floats.

    `unit`: a shortened vector has length one again, as OpenAI's; Gemini's stay as they are.
    """
    # Of an extendable digest, so that a shorter vector is the beginning of the full one.
    numbers = array("h", shake_128(f"{model}\n{text}".encode()).digest(2 * full))
    shown = numbers[:dimensions]
    norm = hypot(*(shown if unit else numbers)) or 1.0
    return array("f", [number / norm for number in shown])


def packed(values: array[float]) -> str:
    """In base64: little-endian floats, which is what every machine here has."""
    return b64encode(values.tobytes()).decode()
