"""The part of the ledger that sets and shows budgets, and says what they leave."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from engine.errors import BudgetExceededError
from engine.ledger.books import Books
from engine.ledger.budget_jobs import Wanted, load_budgets, remove_budget, set_budget
from engine.ledger.budgets import Budget, BudgetView, Spent, check_budget
from engine.ledger.entries import Ended
from engine.ledger.journal import Journal
from engine.ledger.noticing import Noticing
from engine.ledger.records import Hold, LedgerSettings
from engine.ledger.running import OpenHold
from engine.ledger.sqlite import Store
from engine.ledger.transfers import check_amount
from engine.ledger.windows import Period


class Budgeting(Noticing):
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
    ) -> BudgetView:
        """Limit what an account, or one key of it, spends in a period; replaces what was set.

        What was spent in the period before counts. A request that runs goes on within what it
        holds.

        Raises:
            NotFoundError: no such account, or no such key of it.
            ValueError: the amount or a percentage is absurd.
            UnavailableError: the database cannot be written now.
        """
        percents = check_budget(check_amount(limit_nanodollars), soft_percents)
        wanted = Wanted(account_id, key_id, period, limit_nanodollars, hard, percents)
        budgets = self._books.budgets
        # From here on memory counts; the job sees exactly what was taken in before.
        count = budgets.begin(
            account_id, key_id, self._held(account_id, key_id), self._journal.last_ticket
        )

        def apply(found: tuple[Budget, Spent]) -> None:
            budgets.set(*found, count)
            self._tell(budgets.reached(account_id, key_id, self.clock()))

        await self._journal.run(
            lambda store: set_budget(store, wanted),
            apply,
            lambda: budgets.give_up(account_id, key_id, count),
        )
        return next(
            view
            for view in self._views(account_id)
            if (view.budget.key_id, view.budget.period) == (key_id, period)
        )

    async def remove_budget(self, account_id: str, key_id: str | None, period: Period) -> Budget:
        """Limit nothing any more; returns what it was.

        Raises:
            NotFoundError: there is no such budget.
            UnavailableError: the database cannot be written now.
        """
        return await self._journal.run(
            lambda store: remove_budget(store, account_id, key_id, period),
            lambda _: self._books.budgets.remove(account_id, key_id, period),
        )

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
