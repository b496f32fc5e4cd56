"""What administration asks the database, each question on a connection of its own.

Readers see the last commit and are not held up by a stalled one. Whatever belongs to an account is
asked for with the account's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from engine.errors import UnavailableError
from engine.ledger.records import KeyRow

_KEYS = """
SELECT keys.key_id, keys.account_id, keys.name, digest, prefix, created_at_ms, at_ms
FROM keys LEFT JOIN key_revocations USING (key_id)
"""


@contextmanager
def reading(path: Path, busy_timeout_s: float = 5.0) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, for the block.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        with closing(connection):
            yield connection
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"The ledger's database cannot be read now: {error}.") from error


def stored_receipt(path: Path, account_id: str, request_id: str) -> dict[str, Any] | None:
    """The receipt of a settled exchange, if it is this account's."""
    with reading(path) as connection:
        row = connection.execute(
            "SELECT body FROM receipts WHERE request_id = ? AND account_id = ?",
            (request_id, account_id),
        ).fetchone()
    return None if row is None else orjson.loads(row[0])


def stored_accounts(path: Path) -> list[tuple[str, str, int]]:
    """Id, name and creation of every customer's account, oldest first."""
    with reading(path) as connection:
        return connection.execute(
            "SELECT account_id, name, created_at_ms FROM accounts WHERE kind = 'customer'"
            " ORDER BY created_at_ms, account_id"
        ).fetchall()


def stored_account(path: Path, account_id: str) -> tuple[str, str, int] | None:
    """One of `stored_accounts`, by its id or its name."""
    with reading(path) as connection:
        row: tuple[str, str, int] | None = connection.execute(
            "SELECT account_id, name, created_at_ms FROM accounts"
            " WHERE kind = 'customer' AND ? IN (account_id, name)",
            (account_id,),
        ).fetchone()
    return row


def stored_keys(path: Path, account_id: str | None) -> list[KeyRow]:
    """The keys of an account, or of all, oldest first; revoked ones too."""
    with reading(path) as connection:
        rows = connection.execute(
            _KEYS + " WHERE ?1 IS NULL OR account_id = ?1 ORDER BY created_at_ms, keys.key_id",
            (account_id,),
        ).fetchall()
    return [KeyRow(*row) for row in rows]


def find_key(connection: sqlite3.Connection, key_id: str) -> KeyRow | None:
    """One key, within a job of the journal."""
    row = connection.execute(_KEYS + " WHERE keys.key_id = ?", (key_id,)).fetchone()
    return None if row is None else KeyRow(*row)


def all_balances(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """Id, kind and stored balance of every account."""
    return connection.execute(
        "SELECT account_id, kind, coalesce(amount, 0) FROM accounts LEFT JOIN balances"
        " USING (account_id)"
    ).fetchall()
