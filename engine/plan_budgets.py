"""The budgets of accounts follow what their plans allow them in a month."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Final

import trio

from engine.admission.plans import Plan
from engine.errors import UnavailableError
from engine.ledger.ledger import Ledger

logger = logging.getLogger(__name__)

_AGAIN_S: Final = 60.0
"""What the ledger refuses is tried again after so long."""


class PlanBudgets:
    """Of one gateway. `plans` gives the plans of the moment.

    The ledger keeps budgets, so what a plan allows now and what was in force when the last process
    ended may differ: all of them are looked at after the start, later those that have changed.
    """

    def __init__(self, ledger: Ledger, plans: Callable[[], Mapping[str, Plan]]) -> None:
        self._ledger = ledger
        self._plans = plans
        self._spread: dict[str, int | None] = {}
        self._lock = trio.Lock()
        self._due = trio.Event()

    def look(self) -> None:
        """Have `run` look: plans may have changed."""
        self._due.set()

    async def run(self) -> None:
        """Follow the plans for as long as it runs."""
        while True:
            self._due = trio.Event()
            again_s = math.inf
            try:
                await self.spread()
            except UnavailableError as error:
                logger.warning("the budgets of plans wait: %s", error.message)
                again_s = _AGAIN_S
            except Exception:  # a corrupt page must not end the gateway
                logger.exception("the budgets of plans stay as they were")
                again_s = _AGAIN_S
            with trio.move_on_after(again_s):
                await self._due.wait()

    async def spread(self) -> None:
        """Give the accounts of each plan the budget of the month that it allows, where that may be
        another than they have. Raises UnavailableError: the database cannot be written now."""
        async with self._lock:
            # An account may be about to come to a plan with what that allowed until now.
            await self._ledger.catch_up()
            for name in tuple(self._ledger.plans_in_use):
                plan = self._plans().get(name)
                if plan is None:
                    continue
                budget = plan.monthly_budget_nanodollars
                if name not in self._spread or self._spread[name] != budget:
                    await self._ledger.set_plan_budgets(name, budget)
                    self._spread[name] = budget
