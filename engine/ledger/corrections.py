"""Refunds, adjustments, reconciliations: new transfers that correct old ones, with a reason.

Jobs of the journal's thread, each a transaction. Idempotent by reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine.errors import InsufficientFundsError, NotFoundError
from engine.ledger.budget_jobs import SPEND
from engine.ledger.queries import is_customer
from engine.ledger.receipts import format_usd
from engine.ledger.records import ConflictError
from engine.ledger.sqlite import Store
from engine.ledger.transfers import Transfer, TransferKind, changes
from engine.ledger.transfers import refund as refund_transfer
from engine.ledger.usage_days import REFUND
from engine.ledger.windows import day_of

_EARLIER = """
SELECT transfers.request_id, reason, postings.account_id, amount
FROM transfers JOIN postings USING (transfer_id) JOIN accounts USING (account_id)
WHERE transfers.kind = ? AND reference = ? AND accounts.kind = 'customer'
"""
_PAID = """
SELECT account_id, key_id, ends, posted,
       (SELECT at_ms FROM transfers
        WHERE transfers.request_id = holds.request_id AND kind = 'charge') AS charged_at_ms,
       (SELECT coalesce(sum(amount), 0) FROM transfers JOIN postings USING (transfer_id)
        WHERE transfers.request_id = holds.request_id AND transfers.kind = 'refund'
          AND postings.account_id = holds.account_id) AS refunded
FROM holds JOIN hold_totals USING (request_id) WHERE request_id = ?
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """A transfer of one customer's account, and whether it is new."""

    account_id: str
    transfer: Transfer
    added: bool
    spender: tuple[str | None, int] | None = None
    """Of a refund: the key that was charged, and the day."""


def refund(
    store: Store, request_id: str, amount_nanodollars: int | None, reason: str, reference: str
) -> Moved:
    """Give back part of a charge, or all that is left of it. Raises as `Administration.refund`."""

    def insert(db: Database) -> Moved:
        row = next(iter(db.query(_PAID, [request_id])), None)
        if row is None:
            raise NotFoundError(f"There is no request '{request_id}' to refund.")
        earlier = _earlier(db, "refund", reference)
        if earlier is not None:
            amount, of_request = earlier["amount"], earlier["request_id"]
            if of_request != request_id or amount_nanodollars not in (None, amount):
                raise _reference_taken(reference)
        elif not row["ends"]:
            raise ConflictError(f"The request '{request_id}' has not ended yet.")
        else:
            amount = _refundable(request_id, row["posted"], row["refunded"], amount_nanodollars)
        transfer = refund_transfer(row["account_id"], request_id, amount, reason, reference)
        account_id, key_id, day = row["account_id"], row["key_id"], day_of(row["charged_at_ms"])
        if earlier is None:
            store.insert_transfer(transfer)
            db.execute(SPEND, (account_id, key_id or "", day, -amount))
            use = {"account_id": account_id, "key_id": key_id or "", "day": day}
            db.execute(REFUND, use | {"request_id": request_id, "amount": amount})
        return Moved(account_id, transfer, earlier is None, (key_id, day))

    return store.run(insert)


def _refundable(request_id: str, posted: int, refunded: int, wanted: int | None) -> int:
    """What is refunded: what is wanted, or all that is left. Raises ConflictError."""
    left = posted - refunded
    if left == 0 or (wanted or 0) > left:
        raise ConflictError(
            f"Of the ${format_usd(posted)} that '{request_id}' was charged,"
            f" ${format_usd(left)} is left to refund."
        )
    return left if wanted is None else wanted


def adjust(
    store: Store, account_id: str, amount_nanodollars: int, transfer: Transfer, *, covered: bool
) -> Moved:
    """Correct a balance. Raises as `Administration.adjust`.

    `covered` says that what is taken was available; if not, only an earlier adjustment of the same
    reference is an answer.
    """
    reference = transfer.reference or ""

    def insert(db: Database) -> Moved:
        if not is_customer(db, account_id):
            raise NotFoundError("There is no such account.")
        earlier = _earlier(db, "adjustment", reference)
        if earlier is not None:
            if (earlier["account_id"], earlier["amount"]) != (account_id, amount_nanodollars):
                raise _reference_taken(reference)
        elif not covered:
            raise InsufficientFundsError(
                f"The account has less than ${format_usd(-amount_nanodollars)} available."
            )
        else:
            store.insert_transfer(transfer)
        return Moved(account_id, transfer, earlier is None)

    return store.run(insert)


def reconcile(store: Store, transfers: Sequence[Transfer]) -> list[Transfer]:
    """Post what a provider charges more or less; those whose reference is new.

    Raises:
        NotFoundError: nothing was ever paid to this provider.
    """

    def insert(db: Database) -> list[Transfer]:
        added = []
        for transfer in transfers:
            for account_id in changes([transfer]):
                if not db.table("accounts").count_where("account_id = ?", [account_id]):
                    raise NotFoundError(f"There is no account '{account_id}'.")
            where = "kind = 'reconciliation' AND reference = ?"
            if not db.table("transfers").count_where(where, [transfer.reference]):
                store.insert_transfer(transfer)
                added.append(transfer)
        return added

    return store.run(insert)


def _earlier(db: Database, kind: TransferKind, reference: str) -> dict[str, Any] | None:
    return next(iter(db.query(_EARLIER, [kind, reference])), None)


def _reference_taken(reference: str) -> ConflictError:
    return ConflictError(f"The reference '{reference}' was used for something else.")
