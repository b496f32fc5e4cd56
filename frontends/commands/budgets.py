"""Budgets of accounts and keys."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.ledger.budgets import Budget, BudgetView
from engine.ledger.receipts import format_time, money_json
from frontends.commands.command import (
    BadCommandError,
    Command,
    Desk,
    Json,
    Parameters,
    account_id_given,
)
from frontends.commands.terms import SOFT_PERCENTS, read_period


async def _set_budget(desk: Desk, given: Parameters) -> Json:
    percents = SOFT_PERCENTS if given["soft_percents"] is None else given["soft_percents"]
    if not all(type(percent) is int for percent in percents):
        raise BadCommandError("'soft_percents' are whole numbers.")
    view = await desk.ledger.set_budget(
        given["account"],
        given["key_id"],
        read_period(given["period"]),
        given["limit_nanodollars"],
        hard=given["hard"] is not False,
        soft_percents=percents,
    )
    return view_json(view)


async def _remove_budget(desk: Desk, given: Parameters) -> Json:
    removed = await desk.ledger.remove_budget(
        given["account"], given["key_id"], read_period(given["period"])
    )
    return _budget_json(removed)


async def _show_budgets(desk: Desk, given: Parameters) -> Json:
    return [view_json(view) for view in await desk.ledger.budgets(given["account"])]


def _budget_json(budget: Budget) -> Json:
    return {
        "account_id": budget.account_id,
        "key_id": budget.key_id,
        "period": budget.period,
        "limit": money_json(budget.limit_nanodollars),
        "hard": budget.hard,
        "soft_percents": list(budget.soft_percents),
    }


def view_json(view: BudgetView) -> Json:
    """A budget and where it stands."""
    resets_at_ms = view.resets_at_ms
    return {
        **_budget_json(view.budget),
        "spent": money_json(view.spent_nanodollars),
        "held": money_json(view.held_nanodollars),
        "resets_at": None if resets_at_ms is None else format_time(resets_at_ms),
    }


COMMANDS: Mapping[str, Command] = {
    "budgets.set": Command(
        _set_budget,
        {
            "account": (str,),
            "key_id": (str, NoneType),
            "period": (str,),
            "limit_nanodollars": (int,),
            "hard": (bool, NoneType),
            "soft_percents": (list, NoneType),
        },
        adds=True,
        subject="account",
        resolve=account_id_given,
    ),
    "budgets.remove": Command(
        _remove_budget,
        {"account": (str,), "key_id": (str, NoneType), "period": (str,)},
        adds=True,
        subject="account",
        resolve=account_id_given,
    ),
    "budgets.show": Command(_show_budgets, {"account": (str, NoneType)}, resolve=account_id_given),
}
