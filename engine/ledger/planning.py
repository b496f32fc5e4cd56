"""The part of the ledger that keeps accounts and the plans they are on, and prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from engine.ledger import jobs, plan_jobs
from engine.ledger.budget_jobs import InForce
from engine.ledger.budgets import Spent
from engine.ledger.changes import AccountSet, PlanSet, PriceScope, PriceSet
from engine.ledger.issuing import Issuing
from engine.ledger.records import AccountView
from engine.ledger.sqlite import Store
from engine.ledger.terms import check_json, check_name
from engine.ledger.transfers import check_positive

_SLICE_ACCOUNTS = 50
"""Accounts whose budgets change in one transaction: what is settled meanwhile waits for it."""


class Planning(Issuing):
    """Plans by name. What is in their bodies, and in rates, is for whoever reads them."""

    async def create_account(
        self,
        name: str,
        *,
        plan: str | None = None,
        monthly_budget_nanodollars: int | None = None,
    ) -> AccountView:
        """A new account without funds; on a plan with what the plan allows it in a month.

        Raises:
            ConflictError: an account of that name exists, or the plan is being removed.
            ValueError: the name of the account or the plan is none, or the budget is absurd.
            UnavailableError: the database cannot be written now.
        """
        checked, budget = check_name(name), _checked_budget(monthly_budget_nanodollars)
        named = None if plan is None else check_name(plan)
        arrive = self._following.coming(named)

        def apply(made: jobs.MadeAccount) -> None:
            arrive()
            account_id = made.account.account_id
            self._books.add_customer(account_id)
            if made.month.budget is not None:
                last_ticket = self._journal.last_ticket
                self._books.budgets.load(made.month.budget, Spent(), {}, last_ticket)
            if named is not None:
                self._announce([AccountSet(account_id, named, off=False)])

        made = await self._journal.run(
            lambda store: jobs.create_account(store, checked, named, budget), apply, arrive
        )
        return self._view(made.account)

    async def set_account_plan(
        self,
        account_id: str,
        plan: str | None,
        *,
        monthly_budget_nanodollars: int | None = None,
    ) -> AccountView:
        """Put an account on a plan, or on none, with what the plan allows it in a month. A budget
        of the month that operators have set is in force before the plan's.

        Raises:
            ConflictError: the plan is being removed.
            NotFoundError: no such account.
            ValueError: the plan's name is none, or the budget is absurd.
            UnavailableError: the database cannot be written now.
        """
        named = None if plan is None else check_name(plan)
        budget = _checked_budget(monthly_budget_nanodollars)
        self._books.allowance(account_id)  # raises NotFoundError
        arrive = self._following.coming(named)
        count = self._begin_count(account_id, None)

        def apply(month: InForce) -> None:
            arrive()
            self._enforce(month, count)
            off = self._following.is_off("account", account_id)
            self._announce([AccountSet(account_id, named, off)])

        def undo() -> None:
            arrive()
            self._books.budgets.give_up(account_id, None, count)

        await self._journal.run(
            lambda store: plan_jobs.assign_plan(store, account_id, named, budget), apply, undo
        )
        return await self.account(account_id)

    async def set_plan_budgets(self, plan: str, monthly_budget_nanodollars: int | None) -> int:
        """Let a plan allow its accounts this much in a month, or anything; for how many that is
        another budget than they have had.

        They follow one slice after the other, so that others get between; asking again continues
        what was broken off.

        Raises:
            ValueError: the budget is absurd.
            UnavailableError: the database cannot be written, or read, now.
        """
        budget = _checked_budget(monthly_budget_nanodollars)
        account_ids = await trio.to_thread.run_sync(
            plan_jobs.with_another_budget, self._settings.path, plan, budget
        )
        for start in range(0, len(account_ids), _SLICE_ACCOUNTS):
            await self._set_plan_budget(account_ids[start : start + _SLICE_ACCOUNTS], plan, budget)
        return len(account_ids)

    async def _set_plan_budget(
        self, account_ids: Sequence[str], plan: str, budget: int | None
    ) -> None:
        counts = {each: self._begin_count(each, None) for each in account_ids}

        def apply(months: Sequence[InForce]) -> None:
            for month in months:
                self._enforce(month, counts[month.account_id])

        def undo() -> None:
            for account_id, count in counts.items():
                self._books.budgets.give_up(account_id, None, count)

        def work(store: Store) -> list[InForce]:
            return plan_jobs.set_plan_budgets(store, account_ids, plan, budget)

        await self._journal.run(work, apply, undo)

    async def catch_up(self) -> None:
        """Wait until what was ordered before is done, by whomever. Raises UnavailableError."""
        await self._journal.run(lambda store: None)

    @property
    def plans_in_use(self) -> Mapping[str, int]:
        """How many accounts are on each plan that has any, or are about to come to it."""
        return self._following.plans_in_use()

    async def plans(self) -> list[PlanSet]:
        """The plans that operators have made. Raises UnavailableError."""
        return await trio.to_thread.run_sync(plan_jobs.stored_plans, self._settings.path)

    async def prices(self) -> list[PriceSet]:
        """The prices that operators have set. Raises UnavailableError."""
        return await trio.to_thread.run_sync(plan_jobs.stored_prices, self._settings.path)

    async def set_plan(self, name: str, body: Mapping[str, Any]) -> None:
        """Make a plan, or change it. Its accounts' budgets follow by `set_plan_budgets`.

        Raises:
            ValueError: the name is none, or the body no JSON.
            UnavailableError: the database cannot be written now.
        """
        named, text = check_name(name), check_json(body)
        await self._journal.run(
            lambda store: plan_jobs.set_plan(store, named, text),
            lambda _: self._announce([PlanSet(named, body)]),
        )

    async def remove_plan(self, name: str) -> None:
        """Remove a plan that operators have made.

        Raises:
            ConflictError: accounts are on it.
            NotFoundError: there is no such plan.
            UnavailableError: the database cannot be written now.
        """
        end = self._following.removing(name)

        def apply(_: None) -> None:
            end()
            self._announce([PlanSet(name, None)])

        await self._journal.run(lambda store: plan_jobs.remove_plan(store, name), apply, end)

    async def set_price(
        self, scope: PriceScope, owner: str, model: str, rates: Mapping[str, Any]
    ) -> None:
        """Set the price of a model for an account, for a plan, or, with an owner of "", for all.

        Raises:
            NotFoundError: no such account.
            ValueError: the model is no name, the rates are no JSON, or the owner is none.
            UnavailableError: the database cannot be written now.
        """
        named, text = check_name(model), check_json(rates)
        if (scope == "all") != (owner == ""):
            raise ValueError("a price is an account's or a plan's, or it is for all")
        await self._journal.run(
            lambda store: plan_jobs.set_price(store, scope, owner, named, text),
            lambda _: self._announce([PriceSet(scope, owner, named, rates)]),
        )

    async def remove_price(self, scope: PriceScope, owner: str, model: str) -> None:
        """Remove a price. Raises NotFoundError: there is none; UnavailableError."""
        await self._journal.run(
            lambda store: plan_jobs.remove_price(store, scope, owner, model),
            lambda _: self._announce([PriceSet(scope, owner, model, None)]),
        )


def _checked_budget(amount_nanodollars: int | None) -> int | None:
    return None if amount_nanodollars is None else check_positive(amount_nanodollars)
