"""What an account has used, as it is asked for by named texts and shown as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from engine.errors import InvalidRequestError
from engine.ledger.ledger import Ledger
from engine.ledger.receipts import money_json
from engine.ledger.records import UsageRow
from engine.ledger.usage_days import DAYS_MAX, DIMENSIONS, Dimension
from engine.ledger.windows import day_of

FIELDS: Final = ("by", "from", "to")
"""What usage can be asked for by."""
_DAYS_DEFAULT: Final = 30
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """The days `[first_day, end_day)` since 1970, told apart by `by`."""

    first_day: int
    end_day: int
    by: tuple[Dimension, ...]


def usage_query(given: Mapping[str, str | None], now_ms: int) -> UsageQuery:
    """The values of `FIELDS`; what is None or left out: the last 30 days, by day.

    Raises:
        InvalidRequestError: a value is none of its field; `param` names it.
    """
    by = _read_by(given.get("by"))
    end_day = _read_day("to", given.get("to"))
    if end_day is None:
        end_day = day_of(now_ms) + 1
    first_day = _read_day("from", given.get("from"))
    if first_day is None:
        first_day = end_day - _DAYS_DEFAULT
    if not 0 < end_day - first_day <= DAYS_MAX:
        raise InvalidRequestError(
            f"'from' comes before 'to', by at most {DAYS_MAX} days.", param="from"
        )
    return UsageQuery(first_day, end_day, by)


async def read_usage(ledger: Ledger, account_id: str, query: UsageQuery) -> dict[str, Any]:
    """The sums, as they are shown. Raises as `usage_by`."""
    found = await ledger.usage(account_id, query.first_day, query.end_day, query.by)
    complete_from = found.complete_from_day
    return {
        "object": "list",
        "data": [_row_json(row, query.by) for row in found.rows],
        "from": _day(query.first_day),
        "to": _day(query.end_day),
        "complete_from": _day(complete_from) if complete_from else None,
    }


def _read_by(text: str | None) -> tuple[Dimension, ...]:
    """What usage is told apart by, in their own order."""
    if text is None:
        return ("day",)
    asked = set(text.split(","))
    if not asked <= set(DIMENSIONS):
        raise InvalidRequestError(f"'by' is one or more of {','.join(DIMENSIONS)}.", param="by")
    return tuple(each for each in DIMENSIONS if each in asked)


def _read_day(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        day = (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        day = -1
    if day < 0:
        raise InvalidRequestError(f"'{name}' is a day such as 2026-05-01.", param=name)
    return day


def _day(day: int) -> str:
    return (_EPOCH + timedelta(day)).isoformat()


def _row_json(row: UsageRow, by: tuple[Dimension, ...]) -> dict[str, Any]:
    apart = {
        "day": ("day", None if row.day is None else _day(row.day)),
        "key": ("key_id", row.key_id),
        "model": ("model", row.model),
    }
    return {
        **dict(apart[each] for each in by),
        "requests": row.requests,
        "input_tokens": row.input_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "output_tokens": row.output_tokens,
        "units": dict(row.units),
        "charged": money_json(row.charged_nanodollars),
        "refunded": money_json(row.refunded_nanodollars),
    }
