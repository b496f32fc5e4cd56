"""Accounts and their money."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from types import NoneType

from engine.ledger.receipts import format_time, money_json
from engine.ledger.records import AccountView, Correction
from engine.ledger.transfers import check_positive
from frontends.commands.command import (
    Command,
    Desk,
    Json,
    Parameters,
    account_id_given,
    page_json,
    page_size,
)
from frontends.commands.plans import find_plan
from frontends.usage_queries import FIELDS, read_usage, usage_query


async def _create_account(desk: Desk, given: Parameters) -> Json:
    amount_nanodollars, plan = given["fund_nanodollars"], given["plan"]
    if amount_nanodollars is not None:
        check_positive(amount_nanodollars)  # or there would be an account without funds
    if plan is None and desk.running is not None:
        plan = desk.running.config.limits.default_plan
    account = await desk.ledger.create_account(
        given["name"], plan=plan, monthly_budget_nanodollars=await _monthly_budget(desk, plan)
    )
    if amount_nanodollars is not None:
        reference = f"opening-{account.account_id}"
        account = await desk.ledger.fund(account.account_id, amount_nanodollars, reference)
    return account_json(account)


async def _set_account(desk: Desk, given: Parameters) -> Json:
    plan = given["plan"]
    budget_nanodollars = await _monthly_budget(desk, plan)
    account = await desk.ledger.set_account_plan(
        given["account"], plan, monthly_budget_nanodollars=budget_nanodollars
    )
    return account_json(account)


async def _monthly_budget(desk: Desk, plan: str | None) -> int | None:
    """What a plan allows in a month. Raises NotFoundError: there is no such plan."""
    return None if plan is None else (await find_plan(desk, plan)).monthly_budget_nanodollars


async def _fund_account(desk: Desk, given: Parameters) -> Json:
    reference = reference_of(given)
    account = await desk.ledger.fund(given["account"], given["amount_nanodollars"], reference)
    return {**account_json(account), "reference": reference}


async def _adjust_account(desk: Desk, given: Parameters) -> Json:
    done = await desk.ledger.adjust(
        given["account"], given["amount_nanodollars"], given["reason"], reference_of(given)
    )
    return correction_json(done)


def reference_of(given: Parameters) -> str:
    """The one that was given, or a new one. An empty one was meant to be one, and is refused."""
    reference: str | None = given["reference"]
    return f"order-{secrets.token_hex(8)}" if reference is None else reference


async def _show_account(desk: Desk, given: Parameters) -> Json:
    return account_json(await desk.ledger.account(given["account"]))


async def _show_usage(desk: Desk, given: Parameters) -> Json:
    query = usage_query({name: given[name] for name in FIELDS}, desk.ledger.clock())
    return await read_usage(desk.ledger, given["account"], query)


async def _list_accounts(desk: Desk, given: Parameters) -> Json:
    page = await desk.ledger.list_accounts(limit=page_size(given), cursor=given["cursor"])
    return page_json([account_json(account) for account in page.accounts], page.cursor)


COMMANDS: Mapping[str, Command] = {
    "accounts.create": Command(
        _create_account,
        {"name": (str,), "fund_nanodollars": (int, NoneType), "plan": (str, NoneType)},
        adds=True,
    ),
    "accounts.set": Command(
        _set_account,
        {"account": (str,), "plan": (str, NoneType)},
        adds=True,
        explicit=("plan",),
        subject="account",
        resolve=account_id_given,
    ),
    "accounts.fund": Command(
        _fund_account,
        {"account": (str,), "amount_nanodollars": (int,), "reference": (str, NoneType)},
        adds=True,
        subject="account",
        resolve=account_id_given,
    ),
    "accounts.adjust": Command(
        _adjust_account,
        {
            "account": (str,),
            "amount_nanodollars": (int,),
            "reason": (str,),
            "reference": (str, NoneType),
        },
        adds=True,
        subject="account",
        resolve=account_id_given,
    ),
    "accounts.show": Command(_show_account, {"account": (str,)}, resolve=account_id_given),
    "accounts.usage": Command(
        _show_usage,
        {"account": (str,)} | dict.fromkeys(FIELDS, (str, NoneType)),
        resolve=account_id_given,
    ),
    "accounts.list": Command(_list_accounts, {"limit": (int, NoneType), "cursor": (str, NoneType)}),
}


def account_json(account: AccountView) -> Json:
    """An account as it is shown."""
    return {
        "account_id": account.account_id,
        "name": account.name,
        "created_at": format_time(account.created_at_ms),
        "plan": account.plan,
        "off": account.off,
        "balance": money_json(account.balance_nanodollars),
        "held": money_json(account.held_nanodollars),
        "available": money_json(account.available_nanodollars),
    }


def correction_json(done: Correction) -> Json:
    """What a refund or an adjustment did; `changed` is false when it had been done before."""
    return {
        **account_json(done.account),
        "amount": money_json(done.amount_nanodollars),
        "reference": done.reference,
        "changed": done.added,
    }
