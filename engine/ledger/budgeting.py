"""The part of the ledger that sets and shows budgets, and says what they leave."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from engine.errors import BudgetExceededError
from engine.ledger.agency import Agency
from engine.ledger.books import Books
from engine.ledger.budget_jobs import InForce, Wanted, load_budgets, remove_budget, set_budget
from engine.ledger.budgets import Budget, BudgetView, Count, Origin, check_budget
from engine.ledger.entries import Ended
from engine.ledger.journal import Journal
from engine.ledger.records import Hold, LedgerSettings
from engine.ledger.running import OpenHold
from engine.ledger.sqlite import Store
from engine.ledger.windows import Period


class Budgeting(Agency):
    """Budgets of accounts and keys. Amounts are integer nanodollars throughout."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store.epoch)
        self._open: dict[str, OpenHold] = {}
        budgets = books.budgets
        owners = set()
        for budget, spent, told in load_budgets(store):
            budgets.load(budget, spent, told, journal.last_ticket)
            owners.add((budget.account_id, budget.key_id))
        for account_id, key_id in owners:  # recovery may have reached a percentage
            self._tell(budgets.reached(account_id, key_id, self.clock()))

    def spendable_nanodollars(self, account_id: str, key_id: str | None) -> int:
        """What a new hold for this key may take: what is available, within the hard budgets.
        Raises NotFoundError."""
        return self._books.spendable_nanodollars(account_id, key_id, self.clock())

    def budget_refusal(
        self, account_id: str, key_id: str | None, amount_nanodollars: int
    ) -> BudgetExceededError | None:
        """Why this much more cannot be held now, if a hard budget leaves less. The operator is
        told, once a period."""
        at_ms, budgets = self.clock(), self._books.budgets
        refusal = budgets.refusal(account_id, key_id, amount_nanodollars, at_ms)
        if refusal is not None:
            self._tell(budgets.refused(account_id, key_id, amount_nanodollars, at_ms))
        return refusal

    async def set_budget(
        self,
        account_id: str,
        key_id: str | None,
        period: Period,
        limit_nanodollars: int,
        *,
        hard: bool = True,
        soft_percents: Iterable[int] = (),
        origin: Origin = "operator",
    ) -> BudgetView:
        """Limit what an account, or one key of it, spends in a period; replaces what was set.

        What was spent in the period before counts. A request that runs goes on within what it
        holds. What operators set is in force before what a plan does; returns what is in force.

        Raises:
            NotFoundError: no such account, or no such key of it.
            ValueError: the amount or a percentage is absurd.
            UnavailableError: the database cannot be written now.
        """
        percents = check_budget(limit_nanodollars, soft_percents)
        wanted = Wanted(account_id, key_id, period, limit_nanodollars, hard, percents, origin)
        count = self._begin_count(account_id, key_id)
        await self._journal.run(
            lambda store: set_budget(store, wanted),
            lambda found: self._enforce(found, count),
            lambda: self._books.budgets.give_up(account_id, key_id, count),
        )
        return next(
            view
            for view in self._views(account_id)
            if (view.budget.key_id, view.budget.period) == (key_id, period)
        )

    async def remove_budget(self, account_id: str, key_id: str | None, period: Period) -> Budget:
        """Take back what operators have set; returns what it was. A plan's budget is in force
        then, if the account's plan has one.

        Raises:
            NotFoundError: there is no such budget.
            UnavailableError: the database cannot be written now.
        """
        wanted = Wanted(account_id, key_id, period, None)
        count = self._begin_count(account_id, key_id)
        before, _ = await self._journal.run(
            lambda store: remove_budget(store, wanted),
            lambda found: self._enforce(found[1], count),
            lambda: self._books.budgets.give_up(account_id, key_id, count),
        )
        return before

    def _begin_count(self, account_id: str, key_id: str | None) -> Count:
        """From here on memory counts: the job that follows sees exactly what was taken in before.
        `_enforce` ends it, or `Budgets.give_up`."""
        held_nanodollars = self._held(account_id, key_id)
        return self._books.budgets.begin(
            account_id, key_id, held_nanodollars, self._journal.last_ticket
        )

    def _enforce(self, found: InForce, count: Count) -> None:
        """Let a budget be in force from now on, or none."""
        budgets = self._books.budgets
        if found.budget is not None:
            budgets.set(found.budget, found.spent, count)
            self._tell(budgets.reached(found.account_id, found.key_id, self.clock()))
        else:
            budgets.remove(found.account_id, found.key_id, found.period)
            budgets.give_up(found.account_id, found.key_id, count)

    async def budgets(self, account_id: str | None = None) -> list[BudgetView]:
        """The budgets of an account, or of all, and where they stand now."""
        await trio.lowlevel.checkpoint()
        return self._views(account_id)

    def _end_reserve(self, hold: Hold, ended: Ended) -> Ended:
        """Give the hold's reserve back; the end, with the notices that follow from it."""
        crossings = self._books.end(
            hold.account_id,
            hold.key_id,
            hold.amount_nanodollars,
            ended.amount_nanodollars,
            ended.at_ms,
        )
        return self._with_notices(ended, crossings)

    def _views(self, account_id: str | None) -> list[BudgetView]:
        return self._books.budgets.views(account_id, self.clock())

    def _held(self, account_id: str, key_id: str | None) -> int:
        return sum(
            opened.hold.amount_nanodollars
            for opened in self._open.values()
            if opened.hold.account_id == account_id and key_id in (None, opened.hold.key_id)
        )
