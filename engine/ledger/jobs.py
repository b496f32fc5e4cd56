"""What operators do to accounts: each a transaction that the journal's thread runs."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass

from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.budget_jobs import InForce
from engine.ledger.plan_jobs import put_account_plan
from engine.ledger.queries import AccountRow, is_customer
from engine.ledger.records import ConflictError
from engine.ledger.sqlite import Store
from engine.ledger.transfers import Transfer

_FUNDING = """
SELECT account_id, amount FROM transfers JOIN postings USING (transfer_id)
WHERE kind = 'funding' AND reference = ? AND amount > 0
"""


@dataclass(frozen=True, slots=True)
class MadeAccount:
    """A new account, and what limits it in a month."""

    account: AccountRow
    month: InForce


def create_account(
    store: Store, name: str, plan: str | None, monthly_budget_nanodollars: int | None
) -> MadeAccount:
    """A new customer's account, on a plan with what that allows in a month.

    Raises:
        ConflictError: an account of that name exists.
    """
    account = AccountRow(f"acct_{secrets.token_hex(12)}", name, store.clock())

    def insert(db: Database) -> MadeAccount:
        if db.table("accounts").count_where("kind = 'customer' AND name = ?", [name]):
            raise ConflictError(f"There is an account named {name!r} already.")
        db.table("accounts").insert({**asdict(account), "kind": "customer"})
        db.table("balances").insert({"account_id": account.account_id, "amount": 0})
        store.concerns(account.account_id)
        month = put_account_plan(store, account.account_id, plan, monthly_budget_nanodollars)
        return MadeAccount(account, month)

    return store.run(insert)


def fund(store: Store, account_id: str, transfer: Transfer) -> bool:
    """Make a funding durable. False when its reference was funded before, with the same amount.

    Raises:
        ConflictError: the reference was used for another account or amount.
        NotFoundError: no such account.
    """
    amount = {p.account_id: p.amount_nanodollars for p in transfer.postings}[account_id]
    funded = {"account_id": account_id, "amount": amount}

    def insert(db: Database) -> bool:
        if not is_customer(db, account_id):
            raise NotFoundError("There is no such account.")
        before = list(db.query(_FUNDING, [transfer.reference]))
        if not before:
            store.insert_transfer(transfer)
            return True
        if before != [funded]:
            raise ConflictError(
                f"The reference {transfer.reference!r} was used for another account or amount."
            )
        return False

    return store.run(insert)
