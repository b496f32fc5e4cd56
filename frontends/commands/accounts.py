"""Accounts and their money."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from types import NoneType

from engine.ledger.receipts import format_time, money_json
from engine.ledger.records import AccountView, Correction
from engine.ledger.transfers import check_positive
from frontends.commands.command import Command, Desk, Json, Parameters, find_account


async def _create_account(desk: Desk, given: Parameters) -> Json:
    amount_nanodollars = given["fund_nanodollars"]
    if amount_nanodollars is not None:
        check_positive(amount_nanodollars)  # or there would be an account without funds
    account = await desk.ledger.create_account(given["name"])
    if amount_nanodollars is not None:
        reference = f"opening-{account.account_id}"
        account = await desk.ledger.fund(account.account_id, amount_nanodollars, reference)
    return account_json(account)


async def _fund_account(desk: Desk, given: Parameters) -> Json:
    account = await find_account(desk, given["account"])
    reference = reference_of(given)
    account = await desk.ledger.fund(account.account_id, given["amount_nanodollars"], reference)
    return {**account_json(account), "reference": reference}


async def _adjust_account(desk: Desk, given: Parameters) -> Json:
    account = await find_account(desk, given["account"])
    reference = reference_of(given)
    done = await desk.ledger.adjust(
        account.account_id, given["amount_nanodollars"], given["reason"], reference
    )
    return correction_json(done)


def reference_of(given: Parameters) -> str:
    """The one that was given, or a new one. An empty one was meant to be one, and is refused."""
    reference: str | None = given["reference"]
    return f"cli-{secrets.token_hex(8)}" if reference is None else reference


async def _show_accounts(desk: Desk, given: Parameters) -> Json:
    if given["account"] is not None:
        return [account_json(await find_account(desk, given["account"]))]
    return [account_json(account) for account in await desk.ledger.accounts()]


COMMANDS: Mapping[str, Command] = {
    "accounts.create": Command(
        _create_account, {"name": (str,), "fund_nanodollars": (int, NoneType)}, adds=True
    ),
    "accounts.fund": Command(
        _fund_account,
        {"account": (str,), "amount_nanodollars": (int,), "reference": (str, NoneType)},
        adds=True,
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
    ),
    "accounts.show": Command(_show_accounts, {"account": (str, NoneType)}),
}


def account_json(account: AccountView) -> Json:
    """An account as it is shown."""
    return {
        "account_id": account.account_id,
        "name": account.name,
        "created_at": format_time(account.created_at_ms),
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
