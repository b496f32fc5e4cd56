"""Budgets in the database: set and removed by jobs of the journal's thread, read at the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.budgets import Budget, Spent
from engine.ledger.notice_jobs import told_of_budget
from engine.ledger.notices import budget_subject
from engine.ledger.queries import find_key, is_customer
from engine.ledger.sqlite import Store
from engine.ledger.windows import Period, day_of, month_of, window_name

_BUDGETS = """
SELECT change_id, account_id, key_id, period, limit_nanodollars, hard, soft_percents FROM budgets
"""
_ONE = _BUDGETS + " WHERE account_id = :account AND key_id IS :key AND period = :period"
_TOTAL = """
SELECT coalesce(sum(amount), 0) FROM spending
WHERE account_id = :account AND (:key IS NULL OR key_id = :key)
"""
_BY_DAY = """
SELECT day, sum(amount) FROM spending
WHERE account_id = :account AND (:key IS NULL OR key_id = :key) AND day >= :first GROUP BY day
"""
SPEND = """
INSERT INTO spending VALUES (?, ?, ?, ?)
ON CONFLICT (account_id, key_id, day) DO UPDATE SET amount = amount + excluded.amount
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A budget that an operator asks for."""

    account_id: str
    key_id: str | None
    period: Period
    limit_nanodollars: int
    hard: bool
    soft_percents: tuple[int, ...]


def set_budget(store: Store, wanted: Wanted) -> tuple[Budget, Spent]:
    """Put a budget in the place of the one of its period, and tell what was spent until now.

    The same again changes nothing.

    Raises:
        NotFoundError: no such account, or no such key of it.
    """

    def insert(db: Database) -> tuple[Budget, Spent]:
        _check_owner(db, wanted.account_id, wanted.key_id)
        spent = _spent(db, wanted.account_id, wanted.key_id, day_of(store.clock()))
        before = _find(db, wanted.account_id, wanted.key_id, wanted.period)
        if before is not None and (
            (before.limit_nanodollars, before.hard, before.soft_percents)
            == (wanted.limit_nanodollars, wanted.hard, wanted.soft_percents)
        ):
            return before, spent
        row = {
            "account_id": wanted.account_id,
            "key_id": wanted.key_id,
            "period": wanted.period,
            "limit_nanodollars": wanted.limit_nanodollars,
            "hard": int(wanted.hard),
            "soft_percents": orjson.dumps(wanted.soft_percents).decode(),
            "at_ms": store.clock(),
        }
        db.table("budget_changes").insert(row)
        found = _find(db, wanted.account_id, wanted.key_id, wanted.period)
        assert found is not None, "it was just set"
        return found, spent

    return store.run(insert)


def remove_budget(store: Store, account_id: str, key_id: str | None, period: Period) -> Budget:
    """End a budget; returns what it was. Raises NotFoundError."""

    def insert(db: Database) -> Budget:
        before = _find(db, account_id, key_id, period)
        if before is None:
            raise NotFoundError("There is no such budget.")
        db.table("budget_changes").insert(
            {
                "account_id": account_id,
                "key_id": key_id,
                "period": period,
                "limit_nanodollars": None,
                "hard": 0,
                "soft_percents": "[]",
                "at_ms": store.clock(),
            }
        )
        return before

    return store.run(insert)


def load_budgets(store: Store) -> list[tuple[Budget, Spent, dict[int | None, str]]]:
    """The budgets in force, each with what was spent by its account or key, and the percentages
    that were told in the window that is now."""
    db, today = store.db, day_of(store.clock())
    budgets = [_budget(row) for row in db.query(_BUDGETS)]
    return [
        (each, _spent(db, each.account_id, each.key_id, today), _told(db, each, today))
        for each in budgets
    ]


def _told(db: Database, budget: Budget, today: int) -> dict[int | None, str]:
    window = window_name(budget.period, today)
    told = set(told_of_budget(db, budget.change_id, window))
    return {
        percent: window
        for percent in (None, *budget.soft_percents)
        if budget_subject(budget.change_id, window, percent) in told
    }


def _check_owner(db: Database, account_id: str, key_id: str | None) -> None:
    if not is_customer(db, account_id):
        raise NotFoundError("There is no such account.")
    if key_id is not None:
        key = find_key(db, key_id)
        if key is None or key.account_id != account_id:
            raise NotFoundError(f"The account has no key '{key_id}'.")


def _find(db: Database, account_id: str, key_id: str | None, period: Period) -> Budget | None:
    rows = db.query(_ONE, {"account": account_id, "key": key_id, "period": period})
    return next((_budget(row) for row in rows), None)


def _budget(row: dict[str, Any]) -> Budget:
    percents = tuple(orjson.loads(row["soft_percents"]))
    return Budget(**(row | {"hard": bool(row["hard"]), "soft_percents": percents}))


def _spent(db: Database, account_id: str, key_id: str | None, today: int) -> Spent:
    """The days of this month and the last one, and the sum of all."""
    owner = {"account": account_id, "key": key_id}
    ((total,),) = db.execute(_TOTAL, owner).fetchall()
    first = next(day for day in range(today, today - 64, -1) if month_of(day) < month_of(today) - 1)
    days: dict[int, int] = dict(db.execute(_BY_DAY, owner | {"first": first + 1}).fetchall())
    months: dict[int, int] = {}
    for day, amount in days.items():
        months[month_of(day)] = months.get(month_of(day), 0) + amount
    return Spent(days, months, total)
