"""Receipts."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.errors import NotFoundError
from engine.ledger.records import ReceiptArchivedError
from frontends.commands.accounts import correction_json, reference_of
from frontends.commands.command import Command, Desk, Json, Parameters, find_account
from frontends.receipt_queries import FIELDS, page_json, receipt_query


async def _show_receipt(desk: Desk, given: Parameters) -> Json:
    """By request id; without an account, whichever account it is of."""
    request_id = given["request_id"]
    if given["account"] is not None:
        accounts = [await find_account(desk, given["account"])]
    else:
        accounts = await desk.ledger.accounts()
    for account in accounts:
        receipt, archived = None, False
        try:
            receipt = await desk.ledger.read_receipt(account.account_id, request_id)
        except ReceiptArchivedError:
            archived = True
        if archived:
            path = await desk.ledger.archive_of(account.account_id, request_id)
            raise NotFoundError(f"The receipt '{request_id}' is in the archive {path}.")
        if receipt is not None:
            return receipt
    raise NotFoundError(f"There is no receipt '{request_id}'.")


async def _list_receipts(desk: Desk, given: Parameters) -> Json:
    """Of one account, by its id or its name."""
    account = await find_account(desk, given["account"])
    query = receipt_query({name: given[name] for name in FIELDS})
    return page_json(await desk.ledger.list_receipts(account.account_id, query))


async def _refund(desk: Desk, given: Parameters) -> Json:
    done = await desk.ledger.refund(
        given["request_id"], given["amount_nanodollars"], given["reason"], reference_of(given)
    )
    return correction_json(done)


COMMANDS: Mapping[str, Command] = {
    "receipts.show": Command(_show_receipt, {"request_id": (str,), "account": (str, NoneType)}),
    "receipts.list": Command(
        _list_receipts, {"account": (str,)} | dict.fromkeys(FIELDS, (str, NoneType))
    ),
    "receipts.refund": Command(
        _refund,
        {
            "request_id": (str,),
            "amount_nanodollars": (int, NoneType),
            "reason": (str,),
            "reference": (str, NoneType),
        },
        adds=True,
    ),
}
