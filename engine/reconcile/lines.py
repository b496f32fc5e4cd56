"""A provider's report as lines, whatever file it came in. Money is integer nanodollars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException

_NANODOLLARS_PER_USD = 1_000_000_000
_AMOUNT_MAX = Decimal(10_000_000)
"""US dollars of one line: what the ledger takes in one transfer."""
_TOKENS_MAX = 10**15
"""Of one line. A count such as 1e999999999 would fill the memory."""


class ReportError(Exception):
    """The file is no report that can be read; the message is written for the operator."""


@dataclass(frozen=True, slots=True)
class ReportLine:
    """What a provider says of a day, a model or a request; None: it does not say."""

    day: date | None
    model: str | None = None
    request_id: str | None = None
    """The provider's own."""
    amount_nanodollars: int | None = None
    input_tokens: int | None = None
    """With the cached ones."""
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All lines of a file, and the days that it is about, also those without a line."""

    lines: tuple[ReportLine, ...]
    days: frozenset[date]

    @property
    def has_amounts(self) -> bool:
        return any(line.amount_nanodollars is not None for line in self.lines)

    @property
    def has_tokens(self) -> bool:
        return any(
            line.input_tokens is not None or line.output_tokens is not None for line in self.lines
        )


def nanodollars(value: object, *, per_usd: int = 1) -> int:
    """An amount, rounded to a nanodollar. `per_usd`: 100 for cents.

    Raises:
        ReportError: it is no amount, or absurd.
    """
    if isinstance(value, float):
        raise ReportError(f"{value} was read as a float; amounts are read as decimals")
    try:
        amount = Decimal(str(value).strip().removeprefix("$")) / per_usd
    except DecimalException:
        raise ReportError(f"{value!r} is not an amount") from None
    if not amount.is_finite() or abs(amount) > _AMOUNT_MAX:
        raise ReportError(f"{value!r} is not an amount that a line can have")
    return int((amount * _NANODOLLARS_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def tokens(value: object) -> int:
    """A count of tokens. Raises ReportError."""
    try:
        count = Decimal(str(value).strip())
    except DecimalException:
        raise ReportError(f"{value!r} is not a count") from None
    if not count.is_finite() or not 0 <= count <= _TOKENS_MAX or count != count.to_integral_value():
        raise ReportError(f"{value!r} is not a count")
    return int(count)


def check_currency(value: object) -> None:
    """Raises ReportError for anything but US dollars."""
    if value is not None and str(value).strip().lower() not in ("usd", ""):
        raise ReportError(f"amounts in {value!r} cannot be compared: costs are in US dollars")
