"""Budgets of accounts and keys."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.ledger.budgets import Budget, BudgetView
from engine.ledger.receipts import format_time, money_json
from engine.ledger.windows import PERIODS, Period
from frontends.commands.command import (
    BadCommandError,
    Command,
    Desk,
    Json,
    Parameters,
    find_account,
)


async def _set_budget(desk: Desk, given: Parameters) -> Json:
    account = await find_account(desk, given["account"])
    percents = given["soft_percents"]
    if not all(type(percent) is int for percent in percents):
        raise BadCommandError("'soft_percents' are whole numbers.")
    view = await desk.ledger.set_budget(
        account.account_id,
        given["key_id"],
        _period(given["period"]),
        given["limit_nanodollars"],
        hard=given["hard"],
        soft_percents=percents,
    )
    return _view_json(view)


async def _remove_budget(desk: Desk, given: Parameters) -> Json:
    account = await find_account(desk, given["account"])
    removed = await desk.ledger.remove_budget(
        account.account_id, given["key_id"], _period(given["period"])
    )
    return _budget_json(removed)


async def _show_budgets(desk: Desk, given: Parameters) -> Json:
    account_id = None
    if given["account"] is not None:
        account_id = (await find_account(desk, given["account"])).account_id
    return [_view_json(view) for view in await desk.ledger.budgets(account_id)]


def _period(text: str) -> Period:
    for period in PERIODS:
        if text == period:
            return period
    raise BadCommandError(f"A budget is of a {', a '.join(PERIODS[:2])} or in {PERIODS[2]}.")


def _budget_json(budget: Budget) -> Json:
    return {
        "account_id": budget.account_id,
        "key_id": budget.key_id,
        "period": budget.period,
        "limit": money_json(budget.limit_nanodollars),
        "hard": budget.hard,
        "soft_percents": list(budget.soft_percents),
    }


def _view_json(view: BudgetView) -> Json:
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
            "hard": (bool,),
            "soft_percents": (list,),
        },
        adds=True,
    ),
    "budgets.remove": Command(
        _remove_budget, {"account": (str,), "key_id": (str, NoneType), "period": (str,)}, adds=True
    ),
    "budgets.show": Command(_show_budgets, {"account": (str, NoneType)}),
}
