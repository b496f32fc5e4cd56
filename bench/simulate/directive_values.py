"""How the values of `#sim` directives are read, and what a row of their table is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

TAG_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Directive:
    """One row: the name, how its value is read, and what it does."""

    name: str
    parse: Callable[[str], Any]
    values: str
    help: str


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds, both included."""

    def parse(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(text)
        return number

    return parse


def decimal(low: float, high: float) -> Callable[[str], float]:
    """A number within bounds, both included."""

    def parse(text: str) -> float:
        number = float(text)
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(text)
        return number

    return parse


def choice(*choices: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return parse


def optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Of what may be `none`."""
    return lambda text: None if text == "none" else parse(text)


def flag(text: str) -> bool:
    """0 or 1."""
    return {"1": True, "0": False, "true": True, "false": False}[text]


def names(text: str) -> tuple[str, ...]:
    """Words with commas between them."""
    found = tuple(text.split(","))
    if not all(found):
        raise ValueError(text)
    return found


def word(text: str) -> str:
    """Any word that is not too long."""
    if not 0 < len(text) <= TAG_MAX:
        raise ValueError(text)
    return text
