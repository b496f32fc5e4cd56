"""What administration asks the database, each question on a connection of its own.

Readers see the last commit and are not held up by a stalled one. Whatever belongs to an account is
asked for with the account's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlite_utils import Database

from engine.errors import InvalidRequestError, UnavailableError
from engine.ledger.readers import open_reader
from engine.ledger.records import KeyRow, ReceiptArchivedError
from engine.ledger.transfers import PROVIDER_PREFIX

_ACCOUNTS = """
SELECT account_id, name, created_at_ms FROM accounts WHERE kind = 'customer'
"""
_KEYS = """
SELECT keys.key_id, account_id, coalesce(terms.name, keys.name) AS name, digest, prefix,
       created_at_ms, key_revocations.at_ms AS revoked_at_ms
FROM keys LEFT JOIN key_revocations USING (key_id)
    LEFT JOIN current_terms AS terms ON terms.key_id = keys.key_id
"""
_BALANCES = """
SELECT account_id, kind, coalesce(amount, 0) AS amount
FROM accounts LEFT JOIN balances USING (account_id)
"""
_ARCHIVED_IN = """
SELECT path FROM holds JOIN hold_records USING (request_id)
    JOIN archives ON hold_records.seq BETWEEN from_seq AND to_seq
WHERE request_id = :request_id AND account_id = :account_id
  AND hold_records.kind IN ('posted', 'voided', 'expired')
"""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A customer's account as it is stored."""

    account_id: str
    name: str
    created_at_ms: int


@contextmanager
def reading(path: Path, *, from_disk: bool = False) -> Iterator[Database]:
    """The database, for the block, on a connection that cannot write; with `from_disk` on one that
    has nothing in memory yet.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    try:
        with open_reader(path, from_disk=from_disk) as db:
            yield db
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"The ledger's database cannot be read now: {error}.") from error


def stored_receipt(path: Path, account_id: str, request_id: str) -> dict[str, Any] | None:
    """The receipt of a settled exchange, if it is this account's.

    Raises:
        ReceiptArchivedError: it has been moved to a file.
    """
    with reading(path) as db:
        sql = "SELECT body FROM receipts WHERE request_id = ? AND account_id = ?"
        for row in db.query(sql, [request_id, account_id]):
            receipt: dict[str, Any] = orjson.loads(row["body"])
            return receipt
        if _archived_in(db, account_id, request_id) is not None:
            raise ReceiptArchivedError(f"The receipt '{request_id}' has been archived.")
    return None


def archive_of(path: Path, account_id: str, request_id: str) -> str | None:
    """The file that has the receipt of this account's request, if one has it."""
    with reading(path) as db:
        return _archived_in(db, account_id, request_id)


def _archived_in(db: Database, account_id: str, request_id: str) -> str | None:
    parameters = {"request_id": request_id, "account_id": account_id}
    return next((row["path"] for row in db.query(_ARCHIVED_IN, parameters)), None)


def stored_accounts(path: Path) -> list[AccountRow]:
    """Every customer's account, oldest first."""
    with reading(path) as db:
        rows = db.query(_ACCOUNTS + " ORDER BY created_at_ms, account_id")
        return [AccountRow(**row) for row in rows]


def list_accounts(path: Path, limit: int, cursor: str | None) -> list[AccountRow]:
    """The customers' accounts behind the one that the cursor names, oldest first; one more than
    the limit, if there are so many.

    Raises:
        InvalidRequestError: the cursor is none.
    """
    with reading(path) as db:
        at_ms = 0
        if cursor is not None:
            sql = "SELECT created_at_ms FROM accounts WHERE account_id = ? AND kind = 'customer'"
            place = db.execute(sql, (cursor,)).fetchone()
            if place is None:
                raise InvalidRequestError("'cursor' is not the cursor of a page.", param="cursor")
            at_ms = place[0]
        rows = db.query(
            _ACCOUNTS + " AND (created_at_ms, account_id) > (?, ?)"
            " ORDER BY created_at_ms, account_id LIMIT ?",
            [at_ms, cursor or "", limit + 1],
        )
        return [AccountRow(**row) for row in rows]


def account_of(path: Path, request_id: str) -> str | None:
    """The account whose request this is."""
    with reading(path) as db:
        sql = "SELECT account_id FROM holds WHERE request_id = ?"
        row = db.execute(sql, (request_id,)).fetchone()
        return None if row is None else str(row[0])


def stored_account(path: Path, account_id: str) -> AccountRow | None:
    """One of `stored_accounts`, by its id or its name."""
    with reading(path) as db:
        # An account may be named like another's id: the id counts.
        rows = db.query(
            _ACCOUNTS + " AND :given IN (account_id, name) ORDER BY account_id = :given DESC",
            {"given": account_id},
        )
        return next((AccountRow(**row) for row in rows), None)


def posted_reconciliations(path: Path, provider: str) -> dict[str, int]:
    """What reconciliations have added to the cost of a provider, by reference; nanodollars."""
    with reading(path) as db:
        sql = (
            "SELECT reference, amount FROM transfers JOIN postings USING (transfer_id)"
            " WHERE kind = 'reconciliation' AND account_id = ?"
        )
        return dict(db.execute(sql, (f"{PROVIDER_PREFIX}{provider}",)).fetchall())


def paid_providers(path: Path) -> list[str]:
    """The providers that were ever paid, by name."""
    with reading(path) as db:
        sql = "SELECT account_id FROM accounts WHERE kind = 'provider' ORDER BY 1"
        return [key.removeprefix(PROVIDER_PREFIX) for (key,) in db.execute(sql).fetchall()]


def stored_keys(path: Path, account_id: str | None) -> list[KeyRow]:
    """The keys of an account, or of all, oldest first; revoked ones too."""
    with reading(path) as db:
        rows = db.query(
            _KEYS + " WHERE :account IS NULL OR account_id = :account"
            " ORDER BY created_at_ms, keys.key_id",
            {"account": account_id},
        )
        return [KeyRow(**row) for row in rows]


def find_key(db: Database, key_id: str) -> KeyRow | None:
    """One key, within a job of the journal."""
    rows = db.query(_KEYS + " WHERE keys.key_id = ?", [key_id])
    return next((KeyRow(**row) for row in rows), None)


def is_customer(db: Database, account_id: str) -> bool:
    """Whether a customer's account has this id, within a job of the journal."""
    return any(
        row["account_id"] == account_id
        for row in db.query(_ACCOUNTS + " AND account_id = ?", [account_id])
    )


def all_balances(db: Database) -> list[tuple[str, str, int]]:
    """Id, kind and stored balance of every account."""
    rows: list[tuple[str, str, int]] = db.execute(_BALANCES).fetchall()
    return rows
