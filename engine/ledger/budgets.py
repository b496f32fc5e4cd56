"""Budgets in memory: what an account or a key may spend in a day, a month, or altogether.

Pure: integers, no I/O, the time is passed in. Days and months are UTC's. What counts against a
window is what was settled in it, less what was refunded of that, and all that is held now: so a
hard budget is never exceeded, however many requests run side by side. What is settled after
midnight belongs to the new day; its hold counted against that day before.

Accounts without a budget cost one look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from engine.errors import BudgetExceededError
from engine.ledger.receipts import format_time, format_usd
from engine.ledger.transfers import check_amount
from engine.ledger.windows import PERIODS, Period, day_of, month_of, resets_at_ms, window_name

DAYS_KEPT = 64
MONTHS_KEPT = 3
"""A clock that is set back finds what was counted before."""
PERCENTS_MAX = 10
PERCENT_MAX = 1_000

Origin = Literal["operator", "plan"]
"""Who wants a budget: an operator, or the plan that an account is on. The operator counts."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on what an account, or one key of it, spends in a period.

    Attributes:
        change_id: of the row that set it; another limit is another budget.
        hard: requests beyond it are refused and streams are cut; else it only tells.
        soft_percents: of the limit, at which it tells, ascending.
        origin: whose it is.
    """

    change_id: int
    account_id: str
    key_id: str | None
    period: Period
    limit_nanodollars: int
    hard: bool
    soft_percents: tuple[int, ...] = ()
    origin: Origin = "operator"


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A budget and where it stands in the window that is now."""

    budget: Budget
    spent_nanodollars: int
    held_nanodollars: int
    resets_at_ms: int | None
    """When its next window begins; None for one that never does."""


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """A budget that is wanted for a key that is not there yet."""

    period: Period
    limit_nanodollars: int
    hard: bool = True
    soft_percents: tuple[int, ...] = ()

    def checked(self) -> Self:
        """With its percentages in order. Raises ValueError for what no budget can have."""
        percents = check_budget(self.limit_nanodollars, self.soft_percents)
        return replace(self, soft_percents=percents)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget has reached one of its soft percentages, the first time in this window; or, with
    None for a percentage, it has refused something for the first time."""

    budget: Budget
    percent: int | None
    window: str
    spent_nanodollars: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What the database knows of one account or key: by day, of the last days, and in all."""

    days: Mapping[int, int] = field(default_factory=dict)
    months: Mapping[int, int] = field(default_factory=dict)
    total: int = 0


def check_budget(limit_nanodollars: int, soft_percents: Iterable[int]) -> tuple[int, ...]:
    """The percentages in order. Raises ValueError for what no budget can have."""
    percents = tuple(sorted(set(soft_percents)))
    if check_amount(limit_nanodollars) == 0:
        raise ValueError("a budget is more than nothing")
    if len(percents) > PERCENTS_MAX or any(not 1 <= each <= PERCENT_MAX for each in percents):
        raise ValueError(
            f"a budget tells at most at {PERCENTS_MAX} percentages, from 1 to {PERCENT_MAX}"
        )
    return percents


class Count:
    """What one account or key has spent, by window; records up to `after` are the database's."""

    __slots__ = ("after", "days", "months", "total")

    def __init__(self, after: int) -> None:
        self.after = after
        self.days: dict[int, int] = {}
        self.months: dict[int, int] = {}
        self.total = 0

    def add(self, day: int, amount_nanodollars: int) -> None:
        days, months, month = self.days, self.months, month_of(day)
        days[day] = days.get(day, 0) + amount_nanodollars
        months[month] = months.get(month, 0) + amount_nanodollars
        self.total += amount_nanodollars
        if len(days) > DAYS_KEPT:
            del days[min(days)]
        if len(months) > MONTHS_KEPT:
            del months[min(months)]

    def add_all(self, spent: Spent) -> None:
        for day, amount in spent.days.items():
            self.days[day] = self.days.get(day, 0) + amount
        for month, amount in spent.months.items():
            self.months[month] = self.months.get(month, 0) + amount
        self.total += spent.total

    def spent(self, period: Period, day: int) -> int:
        if period == "day":
            return self.days.get(day, 0)
        if period == "month":
            return self.months.get(month_of(day), 0)
        return self.total


class _Scope:
    """An account or a key with budgets: what it holds, and what it has spent.

    `count` is None until the database has said what was spent before; `pending` are the counts
    that began when it was asked.
    """

    __slots__ = ("budgets", "count", "held", "pending", "told")

    def __init__(self, held_nanodollars: int) -> None:
        self.held = held_nanodollars
        self.budgets: dict[Period, Budget] = {}
        self.count: Count | None = None
        self.pending: list[Count] = []
        self.told: dict[tuple[int, int | None], str] = {}
        """Of each budget and percentage the last window it was told of."""

    def counts(self) -> Iterator[Count]:
        if self.count is not None:
            yield self.count
        yield from self.pending

    def forget(self, period: Period) -> None:
        budget = self.budgets.pop(period, None)
        if budget is not None:
            self.told = {k: v for k, v in self.told.items() if k[0] != budget.change_id}

    def left(self, budget: Budget, day: int) -> int:
        assert self.count is not None, "a budget is in force once its spending is known"
        return budget.limit_nanodollars - self.count.spent(budget.period, day) - self.held

    def crossings(self, day: int) -> Iterator[Crossing]:
        for budget in self.budgets.values():
            if not budget.soft_percents:
                continue
            assert self.count is not None
            spent = self.count.spent(budget.period, day)
            for percent in budget.soft_percents:
                if spent * 100 < percent * budget.limit_nanodollars:
                    break
                yield from self.tell(budget, percent, day)

    def tell(self, budget: Budget, percent: int | None, day: int) -> Iterator[Crossing]:
        window = window_name(budget.period, day)
        mark = (budget.change_id, percent)
        if self.told.get(mark) != window:
            assert self.count is not None
            self.told[mark] = window
            yield Crossing(budget, percent, window, self.count.spent(budget.period, day))


class Budgets:
    """All budgets in force, by account and by key. A key of None is the account as a whole."""

    def __init__(self) -> None:
        self._scopes: dict[str, dict[str | None, _Scope]] = {}

    # ---- the hot path -------------------------------------------------------------------------

    def room(self, account_id: str, key_id: str | None, at_ms: int) -> int | None:
        """What the hard budgets leave for another hold, below zero where one was lowered; None
        where there is none."""
        lefts = [left for left, _ in self._lefts(account_id, key_id, at_ms)]
        return min(lefts, default=None)

    def refusal(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, at_ms: int
    ) -> BudgetExceededError | None:
        """Why this much more cannot be held, if a hard budget has less left."""
        if account_id not in self._scopes:
            return None
        for left, budget in self._lefts(account_id, key_id, at_ms):
            if left < amount_nanodollars:
                return _exceeded(budget, left, at_ms)
        return None

    def refused(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, at_ms: int
    ) -> list[Crossing]:
        """The budgets that leave less than this much, where that was not told in their window."""
        day = day_of(at_ms)
        return [
            crossing
            for scope in self._of(account_id, key_id)
            for budget in scope.budgets.values()
            if budget.hard and scope.left(budget, day) < amount_nanodollars
            for crossing in scope.tell(budget, None, day)
        ]

    def reserve(self, account_id: str, key_id: str | None, amount_nanodollars: int) -> None:
        """Count a hold, or what it grows by; a negative amount when it ends."""
        for scope in self._of(account_id, key_id):
            scope.held += amount_nanodollars
            assert scope.held >= 0, "released more than was held"

    def spend(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, at_ms: int
    ) -> list[Crossing]:
        """Count what was settled; which percentages that has reached."""
        crossings: list[Crossing] = []
        for scope in self._of(account_id, key_id):
            day = day_of(at_ms)
            for count in scope.counts():
                count.add(day, amount_nanodollars)
            crossings += scope.crossings(day)
        return crossings

    def _of(self, account_id: str, key_id: str | None) -> Iterable[_Scope]:
        scopes = self._scopes.get(account_id)
        if scopes is None:
            return ()
        both = (scopes.get(None), scopes.get(key_id) if key_id is not None else None)
        return [scope for scope in both if scope is not None]

    def _lefts(
        self, account_id: str, key_id: str | None, at_ms: int
    ) -> Iterator[tuple[int, Budget]]:
        for scope in self._of(account_id, key_id):
            for budget in scope.budgets.values():
                if budget.hard:
                    yield scope.left(budget, day_of(at_ms)), budget

    # ---- what happens seldom ------------------------------------------------------------------

    def unspend(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, at_ms: int, seq: int
    ) -> None:
        """Take back what `spend` counted, for the record `seq` that the database has refused."""
        for scope in self._of(account_id, key_id):
            scope.told.clear()
            for count in scope.counts():
                if seq > count.after:
                    count.add(day_of(at_ms), -amount_nanodollars)

    def refund(
        self, account_id: str, key_id: str | None, amount_nanodollars: int, day: int
    ) -> None:
        """Count a refund, which lowers the day of its charge. Told in the order of the journal:
        what is still being asked of the database has it already."""
        for scope in self._of(account_id, key_id):
            if scope.count is not None:
                scope.count.add(day, -amount_nanodollars)

    def begin(
        self, account_id: str, key_id: str | None, held_nanodollars: int, after: int
    ) -> Count:
        """Count from now on, i.e. from the record `after`, while the database is asked.

        `held_nanodollars` is what its open holds come to. Returns what `set` or `give_up` ends.
        """
        scopes = self._scopes.setdefault(account_id, {})
        scope = scopes.get(key_id)
        if scope is None:
            scope = scopes[key_id] = _Scope(held_nanodollars)
        count = Count(after)
        scope.pending.append(count)
        return count

    def set(self, budget: Budget, spent: Spent, count: Count) -> None:
        """Enforce a budget. `spent` is what the database knew up to the record of `begin`."""
        scope = self._scopes[budget.account_id][budget.key_id]
        scope.pending.remove(count)
        if scope.count is None:
            count.add_all(spent)
            scope.count = count
        if scope.budgets.get(budget.period) != budget:
            scope.forget(budget.period)
            scope.budgets[budget.period] = budget

    def give_up(self, account_id: str, key_id: str | None, count: Count) -> None:
        """The database could not be asked."""
        self._scopes[account_id][key_id].pending.remove(count)
        self._drop_idle(account_id, key_id)

    def load(
        self, budget: Budget, spent: Spent, told: Mapping[int | None, str], after: int
    ) -> None:
        """Enforce a budget from the start on, when nothing is held. `told`: by percentage the
        window it was told of."""
        self.set(budget, spent, self.begin(budget.account_id, budget.key_id, 0, after))
        scope = self._scopes[budget.account_id][budget.key_id]
        scope.told |= {(budget.change_id, percent): window for percent, window in told.items()}

    def reached(self, account_id: str, key_id: str | None, at_ms: int) -> list[Crossing]:
        """The percentages that are reached already, and were not told in their window."""
        return [
            crossing
            for scope in self._of(account_id, key_id)
            for crossing in scope.crossings(day_of(at_ms))
        ]

    def remove(self, account_id: str, key_id: str | None, period: Period) -> None:
        """Enforce it no more."""
        scope = self._scopes.get(account_id, {}).get(key_id)
        if scope is not None:
            scope.forget(period)
            self._drop_idle(account_id, key_id)

    def _drop_idle(self, account_id: str, key_id: str | None) -> None:
        scopes = self._scopes[account_id]
        if not scopes[key_id].budgets and not scopes[key_id].pending:
            del scopes[key_id]
            if not scopes:
                del self._scopes[account_id]

    def views(self, account_id: str | None, at_ms: int) -> list[BudgetView]:
        """The budgets of an account, or of all, and where they stand; the account's own first."""
        return [
            BudgetView(
                budget,
                scope.count.spent(budget.period, day_of(at_ms)),
                scope.held,
                resets_at_ms(budget.period, day_of(at_ms)),
            )
            for owner, scopes in sorted(self._scopes.items())
            if account_id in (None, owner)
            for _, scope in sorted(scopes.items(), key=lambda item: item[0] or "")
            if scope.count is not None
            for budget in sorted(
                scope.budgets.values(), key=lambda each: PERIODS.index(each.period)
            )
        ]


def _exceeded(budget: Budget, left_nanodollars: int, at_ms: int) -> BudgetExceededError:
    whose = "this account" if budget.key_id is None else "this key"
    resets = resets_at_ms(budget.period, day_of(at_ms))
    if resets is None:
        limit, then = "in all", "Whoever manages it can raise it."
    else:
        limit, then = (
            f"a {budget.period}",
            f"The next {budget.period} begins {format_time(resets)}.",
        )
    return BudgetExceededError(
        f"The budget of {whose} is ${format_usd(budget.limit_nanodollars)} {limit}, of which "
        f"${format_usd(max(0, left_nanodollars))} is left: not enough for this request. {then}"
    )
