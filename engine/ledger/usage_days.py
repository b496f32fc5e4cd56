"""What accounts have used by day: rows that every settlement adds to, and the sums of them. Units
that few answers have (images, milliseconds of sound, …) have rows of their own.

Days are those of the settlement, UTC, as budgets count them; a refund lowers the day of its charge.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from engine.errors import InvalidRequestError
from engine.ledger.queries import reading
from engine.ledger.records import UsageRow, UsageView

Dimension = Literal["day", "key", "model"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("day", "key", "model")
DAYS_MAX: Final = 366
ROWS_MAX: Final = 10_000

TOKENS: Final = ("input_tokens", "cached_input_tokens", "output_tokens")
"""The units of a receipt's usage that are columns; all others are in `usage_units`."""
FIGURES: Final = ("requests", *TOKENS, "charged", "refunded")
"""The columns that are summed."""

ADD_FIGURES: Final = ", ".join(f"{name} = {name} + excluded.{name}" for name in FIGURES)
"""For a row that is there already."""

REFUND: Final = f"""
INSERT INTO usage_days VALUES (:account_id, :day, :key_id, coalesce(
    (SELECT model FROM receipts WHERE request_id = :request_id), ''
), 0, 0, 0, 0, 0, :amount)
ON CONFLICT (account_id, day, key_id, model) DO UPDATE SET {ADD_FIGURES}
"""  # noqa: S608 - constants

_COLUMNS: Final[dict[Dimension, str]] = {"day": "day", "key": "key_id", "model": "model"}
_SUMS: Final = ", ".join(f"sum({name})" for name in FIGURES)
_FROM: Final = "SELECT value FROM meta WHERE name = 'usage_from'"


def usage_by(
    path: Path, account_id: str, from_day: int, to_day: int, by: tuple[Dimension, ...]
) -> UsageView:
    """What an account has used in the days `[from_day, to_day)`, sorted.

    Raises:
        InvalidRequestError: more than `DAYS_MAX` days, or more than `ROWS_MAX` rows.
        UnavailableError: the database cannot be read now.
    """
    if to_day - from_day > DAYS_MAX:
        raise InvalidRequestError(f"At most {DAYS_MAX} days are shown at once.", param="from")
    groups = [_COLUMNS[each] for each in DIMENSIONS if each in by]
    shown = [column if column in groups else "NULL" for column in _COLUMNS.values()]
    grouped = f"GROUP BY {', '.join(groups)} ORDER BY {', '.join(groups)}" if groups else ""
    of_days = "WHERE account_id = ? AND day >= ? AND day < ?"
    sql = (
        f"SELECT {', '.join(shown)}, {_SUMS} FROM usage_days"  # noqa: S608 - constants
        f" {of_days} {grouped} LIMIT {ROWS_MAX + 1}"
    )
    of_units = (
        f"SELECT {', '.join(shown)}, unit, sum(amount) FROM usage_units"  # noqa: S608 - constants
        f" {of_days} GROUP BY {', '.join((*groups, 'unit'))} ORDER BY unit"
    )
    which = (account_id, from_day, to_day)
    units: dict[tuple[object, ...], dict[str, int]] = {}
    with reading(path) as db:
        db.execute("BEGIN")  # both are of one moment
        rows = db.execute(sql, which).fetchall()
        if len(rows) <= ROWS_MAX:
            for *group, unit, amount in db.execute(of_units, which):
                units.setdefault(tuple(group), {})[unit] = amount
        ((complete_from_day,),) = db.execute(_FROM).fetchall()
    if len(rows) > ROWS_MAX:
        raise InvalidRequestError(
            f"That has more than {ROWS_MAX} rows: ask for fewer days, or tell less apart.",
            param="by",
        )
    found = tuple(
        replace(UsageRow(*row), units=units.get(tuple(row[: len(_COLUMNS)]), {}))
        for row in rows
        if row[3] is not None
    )
    return UsageView(found, complete_from_day)
