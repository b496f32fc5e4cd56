"""Budgets in the database: set and removed by jobs of the journal's thread, read at the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.budgets import Budget, Origin, Spent
from engine.ledger.notice_jobs import told_of_budget
from engine.ledger.notices import budget_subject
from engine.ledger.queries import find_key, is_customer
from engine.ledger.sqlite import Store
from engine.ledger.windows import Period, day_of, month_of, window_name

_COLUMNS = """
change_id, account_id, key_id, period, limit_nanodollars, hard, soft_percents, origin
"""
_OWNER = "account_id = :account AND key_id IS :key AND period = :period"
_BUDGETS = f"SELECT {_COLUMNS} FROM budgets"  # noqa: S608 - constants
_IN_FORCE = f"{_BUDGETS} WHERE {_OWNER}"
_WANTED = f"SELECT {_COLUMNS} FROM wanted_budgets WHERE {_OWNER} AND origin = :origin"  # noqa: S608 - constants
_OF_KEY = f"{_BUDGETS} WHERE account_id = ? AND key_id = ?"
_SPENT = """
SELECT owners.account_id, owners.key_id, CASE WHEN day >= :first THEN day END, sum(amount)
FROM owners CROSS JOIN spending
WHERE spending.account_id = owners.account_id
    AND (owners.key_id IS NULL OR spending.key_id = owners.key_id)
GROUP BY 1, 2, 3
"""
_SPENT_BY_ONE = f"WITH owners AS (SELECT :account AS account_id, :key AS key_id) {_SPENT}"
_SPENT_BY_ALL = f"WITH owners AS (SELECT DISTINCT account_id, key_id FROM budgets) {_SPENT}"  # noqa: S608 - a constant
_PUT = """
INSERT INTO budget_changes
    (account_id, key_id, period, limit_nanodollars, hard, soft_percents, at_ms, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
SPEND = """
INSERT INTO spending VALUES (?, ?, ?, ?)
ON CONFLICT (account_id, key_id, day) DO UPDATE SET amount = amount + excluded.amount
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A budget that somebody asks for; without a limit it is to end."""

    account_id: str
    key_id: str | None
    period: Period
    limit_nanodollars: int | None
    hard: bool = True
    soft_percents: tuple[int, ...] = ()
    origin: Origin = "operator"


@dataclass(frozen=True, slots=True)
class InForce:
    """What limits an account or a key in a period from now on, and what it has spent until now."""

    account_id: str
    key_id: str | None
    period: Period
    budget: Budget | None
    spent: Spent


def set_budget(store: Store, wanted: Wanted) -> InForce:
    """Put a budget in the place of the one of its period and origin. The same again changes
    nothing.

    Raises:
        NotFoundError: no such account, or no such key of it.
    """

    def insert(db: Database) -> InForce:
        _check_owner(db, wanted.account_id, wanted.key_id)
        put_budget(db, wanted, store.clock())
        return in_force(store, wanted)

    return store.run(insert)


def remove_budget(store: Store, wanted: Wanted) -> tuple[Budget, InForce]:
    """End a budget; returns what it was, and what is in force then. Raises NotFoundError."""

    def insert(db: Database) -> tuple[Budget, InForce]:
        before = _find(db, _WANTED, wanted)
        if before is None:
            raise NotFoundError("There is no such budget.")
        put_budget(db, wanted, store.clock())
        return before, in_force(store, wanted)

    return store.run(insert)


def put_budget(db: Database, wanted: Wanted, at_ms: int) -> None:
    """Write down what is wanted, if it is not what was wanted before; within a job."""
    before = _find(db, _WANTED, wanted)
    if before is None:
        if wanted.limit_nanodollars is None:
            return
    elif (before.limit_nanodollars, before.hard, before.soft_percents) == (
        wanted.limit_nanodollars,
        wanted.hard,
        wanted.soft_percents,
    ):
        return
    row = (
        wanted.account_id,
        wanted.key_id,
        wanted.period,
        wanted.limit_nanodollars,
        int(wanted.hard),
        orjson.dumps(wanted.soft_percents).decode(),
        at_ms,
        wanted.origin,
    )
    db.execute(_PUT, row)


def in_force(store: Store, wanted: Wanted) -> InForce:
    """What is in force where something was wanted; within a job."""
    return InForce(
        wanted.account_id,
        wanted.key_id,
        wanted.period,
        _find(store.db, _IN_FORCE, wanted),
        _spent(store.db, wanted.account_id, wanted.key_id, day_of(store.clock())),
    )


def copy_budgets(store: Store, account_id: str, old_key: str, new_key: str) -> list[Budget]:
    """Give a key the budgets of another, nothing spent; within a job."""
    rows = list(store.db.query(_OF_KEY, [account_id, old_key]))
    return put_key_budgets(
        store,
        [
            Wanted(
                account_id,
                new_key,
                before.period,
                before.limit_nanodollars,
                before.hard,
                before.soft_percents,
            )
            for before in map(_budget, rows)
        ],
    )


def put_key_budgets(store: Store, wanted: list[Wanted]) -> list[Budget]:
    """The budgets of a key that has none; within a job."""
    for each in wanted:
        put_budget(store.db, each, store.clock())
    found = (_find(store.db, _IN_FORCE, each) for each in wanted)
    return [budget for budget in found if budget is not None]


def load_budgets(store: Store) -> list[tuple[Budget, Spent, dict[int | None, str]]]:
    """The budgets in force, each with what was spent by its account or key, and the percentages
    that were told in the window that is now."""
    db, today = store.db, day_of(store.clock())
    budgets = [_budget(row) for row in db.query(_BUDGETS)]
    spent = _read_spent(db, _SPENT_BY_ALL, {}, today)
    return [
        (each, spent.get((each.account_id, each.key_id), Spent()), _told(db, each, today))
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


def _find(db: Database, sql: str, of: Wanted) -> Budget | None:
    owner = {"account": of.account_id, "key": of.key_id, "period": of.period, "origin": of.origin}
    return next((_budget(row) for row in db.query(sql, owner)), None)


def _budget(row: dict[str, Any]) -> Budget:
    percents = tuple(orjson.loads(row["soft_percents"]))
    return Budget(**(row | {"hard": bool(row["hard"]), "soft_percents": percents}))


def _spent(db: Database, account_id: str, key_id: str | None, today: int) -> Spent:
    owner = {"account": account_id, "key": key_id}
    return _read_spent(db, _SPENT_BY_ONE, owner, today).get((account_id, key_id), Spent())


def _read_spent(
    db: Database, sql: str, owner: dict[str, str | None], today: int
) -> dict[tuple[str, str | None], Spent]:
    """By account and key: the days of this month and the last one, and the sum of all."""
    days: dict[tuple[str, str | None], dict[int | None, int]] = {}
    first = _first_of_last_month(today)
    for account_id, key_id, day, amount in db.execute(sql, owner | {"first": first}).fetchall():
        days.setdefault((account_id, key_id), {})[day] = amount
    return {spender: _summed(by_day) for spender, by_day in days.items()}


def _first_of_last_month(today: int) -> int:
    last_month = month_of(today) - 1
    return next(day + 1 for day in range(today, today - 64, -1) if month_of(day) < last_month)


def _summed(by_day: dict[int | None, int]) -> Spent:
    total = sum(by_day.values())
    days = {day: amount for day, amount in by_day.items() if day is not None}
    months: dict[int, int] = {}
    for day, amount in days.items():
        months[month_of(day)] = months.get(month_of(day), 0) + amount
    return Spent(days, months, total)
