"""Amounts of money as people write them."""

from __future__ import annotations

import pytest

from frontends.money import read_money, read_signed_usd, read_usd


@pytest.mark.parametrize(
    ("text", "nanodollars"),
    [
        ("25", 25_000_000_000),
        ("$25.50", 25_500_000_000),
        ("-0.000000001", -1),
        ("$-5", -5_000_000_000),
        (".5", 500_000_000),
        ("0025.", 25_000_000_000),
        ("1.000000001000000000", 1_000_000_001),
        ("10000000", 10**16),
    ],
)
def test_a_plain_decimal(text: str, nanodollars: int) -> None:
    assert read_signed_usd(text) == read_money(text) == nanodollars


@pytest.mark.parametrize(
    "text",
    [
        *("", "$", ".", "-", "--5", "+5", "$$5", "5$", " 5", "5\n", "1,000", "1_000", "1e3", "1E3"),
        *("0x10", "NaN", "sNaN", "-Infinity", "\u0663", "\uff15", "0", "-0", "0.0", "1e-10"),
        *("0.0000000001", "1.0000000000000000000000000000001", "10000000.000000001"),
        *("9" * 5_000, "1" + "0" * 40),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|is more|is finer"):
        read_money(text)


@pytest.mark.parametrize("value", [1.5, True, None, [], {}, b"5"])
def test_what_is_neither_text_nor_whole(value: object) -> None:
    with pytest.raises(ValueError, match="US dollars as a string"):
        read_money(value)


def test_an_amount_to_give_is_positive() -> None:
    with pytest.raises(ValueError, match="not a positive amount"):
        read_usd("-5")
