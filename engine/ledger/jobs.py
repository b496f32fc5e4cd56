"""What operators do to accounts and keys: each a transaction that the journal's thread runs."""

from __future__ import annotations

import secrets
import sqlite3

from engine.errors import NotFoundError
from engine.ledger.queries import find_key
from engine.ledger.records import ConflictError, KeyRow
from engine.ledger.sqlite import Store, now_ms
from engine.ledger.transfers import Transfer

_FUNDING = """
SELECT account_id, amount FROM transfers JOIN postings USING (transfer_id)
WHERE kind = 'funding' AND reference = ? AND amount > 0
"""


def create_account(store: Store, name: str) -> tuple[str, str, int]:
    """A new customer's account: id, name, creation.

    Raises:
        ConflictError: an account of that name exists.
    """
    row = (f"acct_{secrets.token_hex(12)}", name, now_ms())

    def insert(connection: sqlite3.Connection) -> None:
        taken = connection.execute(
            "SELECT 1 FROM accounts WHERE kind = 'customer' AND name = ?", (name,)
        ).fetchone()
        if taken is not None:
            raise ConflictError(f"There is an account named {name!r} already.")
        account_id, _, created_at_ms = row
        connection.execute(
            "INSERT INTO accounts VALUES (?, 'customer', ?, ?)", (account_id, name, created_at_ms)
        )
        connection.execute("INSERT INTO balances VALUES (?, 0)", (account_id,))

    store.run(insert)
    return row


def fund(store: Store, account_id: str, transfer: Transfer) -> bool:
    """Make a funding durable. False when its reference was funded before, with the same amount.

    Raises:
        ConflictError: the reference was used for another account or amount.
        NotFoundError: no such account.
    """
    amount = {p.account_id: p.amount_nanodollars for p in transfer.postings}[account_id]

    def insert(connection: sqlite3.Connection) -> bool:
        known = connection.execute(
            "SELECT 1 FROM accounts WHERE account_id = ? AND kind = 'customer'", (account_id,)
        ).fetchone()
        if known is None:
            raise NotFoundError("There is no such account.")
        before = connection.execute(_FUNDING, (transfer.reference,)).fetchone()
        if before is None:
            store.insert_transfer(transfer)
            return True
        if before != (account_id, amount):
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
    key = KeyRow(f"key_{secrets.token_hex(12)}", account_id, name, digest, prefix, now_ms())

    def insert(connection: sqlite3.Connection) -> None:
        known = connection.execute(
            "SELECT 1 FROM accounts WHERE account_id = ? AND kind = 'customer'", (account_id,)
        ).fetchone()
        if known is None:
            raise NotFoundError("There is no such account.")
        try:
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)",
                (key.key_id, account_id, name, digest, prefix, key.created_at_ms),
            )
        except sqlite3.IntegrityError as error:
            raise ConflictError("There is such a key already.") from error

    store.run(insert)
    return key


def revoke_key(store: Store, key_id: str) -> KeyRow:
    """Revoke a key, once: a second time changes nothing.

    Raises:
        NotFoundError: no such key.
    """

    def insert(connection: sqlite3.Connection) -> KeyRow:
        connection.execute(
            "INSERT INTO key_revocations SELECT key_id, ? FROM keys WHERE key_id = ?"
            " ON CONFLICT (key_id) DO NOTHING",
            (now_ms(), key_id),
        )
        key = find_key(connection, key_id)
        if key is None:
            raise NotFoundError("There is no such key.")
        return key

    return store.run(insert)
