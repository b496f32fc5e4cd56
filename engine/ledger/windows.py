"""The windows that budgets are of: days and months of UTC, and all time. Pure."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

Period = Literal["day", "month", "total"]
PERIODS: Final[tuple[Period, ...]] = ("day", "month", "total")

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


def day_of(at_ms: int) -> int:
    """Days since 1970, UTC."""
    return at_ms // _DAY_MS


@functools.lru_cache(maxsize=256)
def month_of(day: int) -> int:
    """Months since year 0 of a day."""
    on = _EPOCH + timedelta(day)
    return on.year * 12 + on.month - 1


def window_name(period: Period, day: int) -> str:
    """The window of a day, for people: "2026-01-05", "2026-01", "total"."""
    match period:
        case "day":
            return (_EPOCH + timedelta(day)).isoformat()
        case "month":
            return (_EPOCH + timedelta(day)).isoformat()[:7]
        case "total":
            return "total"


def resets_at_ms(period: Period, day: int) -> int | None:
    """When the window after that of this day begins."""
    match period:
        case "day":
            return (day + 1) * _DAY_MS
        case "month":
            year, month = divmod(month_of(day) + 1, 12)
            return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1_000
        case "total":
            return None
