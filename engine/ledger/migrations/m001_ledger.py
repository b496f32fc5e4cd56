"""The ledger as it began."""

from __future__ import annotations

from sqlite_utils import Database

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    account_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('customer', 'house', 'provider')),
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key_revocations (
    key_id TEXT PRIMARY KEY REFERENCES keys (key_id),
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    seq INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    epoch INTEGER NOT NULL,
    opening TEXT NOT NULL
) STRICT;

CREATE TABLE hold_records (
    seq INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL REFERENCES holds (request_id),
    kind TEXT NOT NULL CHECK (kind IN ('held', 'extended', 'posted', 'voided', 'expired')),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX hold_records_by_request ON hold_records (request_id);
CREATE UNIQUE INDEX hold_ends_once ON hold_records (request_id)
    WHERE kind IN ('posted', 'voided', 'expired');

CREATE VIEW hold_totals AS
    SELECT request_id,
        sum(CASE WHEN kind IN ('held', 'extended') THEN amount ELSE 0 END) AS amount,
        sum(kind = 'held') AS openings,
        sum(kind IN ('posted', 'voided', 'expired')) AS ends,
        sum(CASE WHEN kind = 'posted' THEN amount ELSE 0 END) AS posted
    FROM hold_records GROUP BY request_id;

CREATE TABLE transfers (
    transfer_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('funding', 'charge', 'overrun', 'cost')),
    request_id TEXT REFERENCES holds (request_id),
    reason TEXT,
    reference TEXT,
    at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_charge_a_request ON transfers (request_id) WHERE kind = 'charge';
CREATE UNIQUE INDEX one_overrun_a_request ON transfers (request_id) WHERE kind = 'overrun';
CREATE UNIQUE INDEX funding_reference ON transfers (reference) WHERE kind = 'funding';

CREATE TABLE postings (
    transfer_id INTEGER NOT NULL REFERENCES transfers (transfer_id),
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    amount INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (transfer_id, account_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE balances (
    account_id TEXT PRIMARY KEY REFERENCES accounts (account_id),
    amount INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    request_id TEXT NOT NULL REFERENCES holds (request_id),
    number INTEGER NOT NULL CHECK (number >= 1),
    provider TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (request_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    entries TEXT NOT NULL
) STRICT;

CREATE TABLE receipts (
    seq INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE REFERENCES holds (request_id),
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE rejected (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    record TEXT NOT NULL,
    error TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
"""

_HOUSE_ACCOUNTS = ("house:revenue", "house:overrun", "house:cost", "house:funding")

_APPEND_ONLY = (
    "accounts",
    "keys",
    "key_revocations",
    "holds",
    "hold_records",
    "transfers",
    "postings",
    "attempts",
    "receipts",
    "rejected",
)


_META_NAMES = ("epoch", "sequence", "open_from")
"""`epoch` counts the openings of the database. `sequence` is the last ticket made durable. No hold
older than the record `open_from` is open."""


def apply(db: Database) -> None:
    """Make the tables, what guards them, and the house's accounts."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)
    for table in _APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    db.table("meta").insert_all({"name": name, "value": 0} for name in _META_NAMES)
    db.table("accounts").insert_all(
        {"account_id": account, "kind": "house", "name": account, "created_at_ms": 0}
        for account in _HOUSE_ACCOUNTS
    )
    db.table("balances").insert_all(
        {"account_id": account, "amount": 0} for account in _HOUSE_ACCOUNTS
    )
