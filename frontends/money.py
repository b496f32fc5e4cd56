"""Amounts as people write them: US dollars, exactly."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

NANODOLLARS_PER_USD: Final = 1_000_000_000
USD_MAX: Final = 10_000_000
"""What the ledger takes in one transfer."""
_AMOUNT: Final = re.compile(r"\$?-?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_MAX_CHARS: Final = 27
"""Decimals are exact up to 28 digits, and then rounded."""


def read_usd(text: str) -> int:
    """A positive amount of US dollars, an exact decimal, in nanodollars.

    >>> read_usd("25.50"), read_usd("$0.000000001")
    (25500000000, 1)

    Raises:
        ValueError: as `read_signed_usd`, or it is not positive.
    """
    nanodollars = read_signed_usd(text)
    if nanodollars <= 0:
        raise ValueError(f"'{text[:40]}' is not a positive amount")
    return nanodollars


def read_signed_usd(text: str) -> int:
    """US dollars as an exact decimal with at most nine places, in nanodollars; not zero.

    Raises:
        ValueError: it is none; the message says why.
    """
    shown = text[:40]
    if len(text) > _MAX_CHARS or not _AMOUNT.fullmatch(text):
        raise ValueError(f"'{shown}' is not an amount of US dollars, such as 25 or 0.50")
    nanodollars = Decimal(text.removeprefix("$")) * NANODOLLARS_PER_USD
    if nanodollars == 0:
        raise ValueError(f"'{shown}' is not an amount that moves money")
    if abs(nanodollars) > USD_MAX * NANODOLLARS_PER_USD:
        raise ValueError(f"'{shown}' is more than {USD_MAX:,} US dollars at once")
    if nanodollars != nanodollars.to_integral_value():
        raise ValueError(f"'{shown}' is finer than a nanodollar (nine places)")
    return int(nanodollars)


def read_money(value: object) -> int:
    """Dollars as a string, or nanodollars as an integer; never a float, whose cents are not exact.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        return read_signed_usd(value)
    if type(value) is int:
        return value
    raise ValueError('an amount is US dollars as a string ("25.50"), or nanodollars as an integer')
