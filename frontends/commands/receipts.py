"""Receipts."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.errors import NotFoundError
from engine.ledger.records import ReceiptArchivedError
from frontends.commands.accounts import correction_json, reference_of
from frontends.commands.command import Command, Desk, Json, Parameters, account_id_given
from frontends.receipt_queries import FIELDS, page_json, receipt_query


async def _show_receipt(desk: Desk, given: Parameters) -> Json:
    """By request id; without an account, whichever account it is of."""
    ledger, request_id, account_id = desk.ledger, given["request_id"], given["account"]
    if account_id is None and desk.running is not None:
        account_id = desk.running.account_of(request_id)
    if account_id is None:
        account_id = await ledger.account_of(request_id)
    receipt, archived = None, False
    if account_id is not None:
        try:
            receipt = await ledger.read_receipt(account_id, request_id)
        except ReceiptArchivedError:
            archived = True
        if archived:
            path = await ledger.archive_of(account_id, request_id)
            raise NotFoundError(f"The receipt '{request_id}' is in the archive {path}.")
    if receipt is None:
        raise NotFoundError(f"There is no receipt '{request_id[:100]}'.")
    return receipt


async def _list_receipts(desk: Desk, given: Parameters) -> Json:
    """Of one account, by its id or its name."""
    query = receipt_query({name: given[name] for name in FIELDS})
    return page_json(await desk.ledger.list_receipts(given["account"], query))


async def _refund(desk: Desk, given: Parameters) -> Json:
    done = await desk.ledger.refund(
        given["request_id"], given["amount_nanodollars"], given["reason"], reference_of(given)
    )
    return correction_json(done)


COMMANDS: Mapping[str, Command] = {
    "receipts.show": Command(
        _show_receipt,
        {"request_id": (str,), "account": (str, NoneType)},
        resolve=account_id_given,
    ),
    "receipts.list": Command(
        _list_receipts,
        {"account": (str,)} | dict.fromkeys(FIELDS, (str, NoneType)),
        resolve=account_id_given,
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
        subject="request_id",
    ),
}
