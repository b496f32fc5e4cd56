"""What operators do to accounts and keys: each a transaction that the journal's thread runs."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import asdict, replace

from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.queries import AccountRow, find_key, is_customer
from engine.ledger.records import ConflictError, KeyRow
from engine.ledger.sqlite import Store
from engine.ledger.transfers import Transfer

_FUNDING = """
SELECT account_id, amount FROM transfers JOIN postings USING (transfer_id)
WHERE kind = 'funding' AND reference = ? AND amount > 0
"""


def create_account(store: Store, name: str) -> AccountRow:
    """A new customer's account.

    Raises:
        ConflictError: an account of that name exists.
    """
    account = AccountRow(f"acct_{secrets.token_hex(12)}", name, store.clock())

    def insert(db: Database) -> None:
        if db.table("accounts").count_where("kind = 'customer' AND name = ?", [name]):
            raise ConflictError(f"There is an account named {name!r} already.")
        db.table("accounts").insert({**asdict(account), "kind": "customer"})
        db.table("balances").insert({"account_id": account.account_id, "amount": 0})

    store.run(insert)
    return account


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


def create_key(store: Store, account_id: str, name: str, digest: str, prefix: str) -> KeyRow:
    """A new key; of its secret only the digest is known here.

    Raises:
        NotFoundError: no such account.
        ConflictError: the digest is known already.
    """
    key = KeyRow(f"key_{secrets.token_hex(12)}", account_id, name, digest, prefix, store.clock())

    def insert(db: Database) -> None:
        if not is_customer(db, account_id):
            raise NotFoundError("There is no such account.")
        row = asdict(key)
        del row["revoked_at_ms"]
        try:
            db.table("keys").insert(row)
        except sqlite3.IntegrityError as error:
            raise ConflictError("There is such a key already.") from error

    store.run(insert)
    return key


def revoke_key(store: Store, key_id: str) -> KeyRow:
    """Revoke a key, once: a second time changes nothing.

    Raises:
        NotFoundError: no such key.
    """

    def insert(db: Database) -> KeyRow:
        key = find_key(db, key_id)
        if key is None:
            raise NotFoundError("There is no such key.")
        if key.revoked_at_ms is not None:
            return key
        at_ms = store.clock()
        db.table("key_revocations").insert({"key_id": key_id, "at_ms": at_ms})
        return replace(key, revoked_at_ms=at_ms)

    return store.run(insert)
