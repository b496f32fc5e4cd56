"""Receipts."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.errors import NotFoundError
from frontends.commands.command import Command, Desk, Json, Parameters, find_account


async def _show_receipt(desk: Desk, given: Parameters) -> Json:
    """By request id; without an account, whichever account it is of."""
    request_id = given["request_id"]
    if given["account"] is not None:
        accounts = [await find_account(desk, given["account"])]
    else:
        accounts = await desk.ledger.accounts()
    for account in accounts:
        receipt = await desk.ledger.read_receipt(account.account_id, request_id)
        if receipt is not None:
            return receipt
    raise NotFoundError(f"There is no receipt '{request_id}'.")


COMMANDS: Mapping[str, Command] = {
    "receipts.show": Command(_show_receipt, {"request_id": (str,), "account": (str, NoneType)}),
}
