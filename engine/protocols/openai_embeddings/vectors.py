"""Vectors as OpenAI's clients take them: numbers, or little-endian 32-bit floats in base64."""

from __future__ import annotations

import math
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

from engine.errors import UpstreamError

_FLOAT_BYTES: Final = 4
_NUMBERS: Final = frozenset({int, float})


def pack(values: Sequence[float]) -> str:
    """In base64.

    >>> pack([1.0, -2.0])
    'AACAPwAAAMA='
    """
    try:
        numbers = array("f", values)
    except OverflowError:
        raise broken("a number of a vector is too large") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers).decode()


def unpack(text: str) -> Sequence[float]:
    """The numbers of a base64 text. Raises ValueError.

    >>> list(unpack("AACAPwAAAMA="))
    [1.0, -2.0]
    """
    data = b64decode(text, validate=True)
    numbers = array("f")
    if len(data) % _FLOAT_BYTES:
        raise ValueError("half a number")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number that is none")
    return numbers


def values_of(given: Any) -> Sequence[float]:
    """A vector out of a provider's JSON, in either form. Raises ValueError."""
    if isinstance(given, str):
        return unpack(given)
    if not isinstance(given, list) or not given or not _NUMBERS.issuperset(map(type, given)):
        raise ValueError("no vector")
    return given


def broken(problem: str) -> UpstreamError:
    """A provider's answer is not what was asked for."""
    return UpstreamError(f"The provider's answer is broken: {problem}.")


def of_length_one(values: Sequence[float]) -> Sequence[float]:
    """The same direction; nothing stays nothing.

    >>> of_length_one([3.0, 4.0])
    [0.6, 0.8]
    """
    length = math.hypot(*values)
    return [value / length for value in values] if length else values


def in_order(vectors: Sequence[tuple[int, Sequence[float]]]) -> list[Sequence[float]]:
    """By index. Raises UpstreamError where one is missing, or there twice."""
    ordered = sorted(vectors, key=lambda pair: pair[0])
    if [index for index, _ in ordered] != list(range(len(ordered))) or not ordered:
        raise broken("a vector is missing, or there twice")
    return [values for _, values in ordered]
