"""Double-entry money: holds, transfers, receipts, and the journal that makes them durable.

Owns the books (what every account has and holds), the SQLite database, its schema and recovery,
and receipts. It decides no price, knows no provider protocol and reads no HTTP: amounts, usage and
outcomes arrive as plain values. Funds move in synchronous calls without a checkpoint; durability
is a separate, awaited barrier (`Ledger.wait_durable`).
"""

from __future__ import annotations

from engine.ledger.audit import audit_database
from engine.ledger.ledger import Ledger, open_ledger
from engine.ledger.receipts import Attempt, Receipt, ReceiptError, Timings
from engine.ledger.records import (
    AccountView,
    AttemptRow,
    ConflictError,
    Correction,
    CostLine,
    Finding,
    Hold,
    KeyRow,
    LedgerError,
    LedgerLockedError,
    LedgerSettings,
    LedgerStatistics,
    ProgressEntry,
    ReconciliationLine,
    Ticket,
)

__all__ = [
    "AccountView",
    "Attempt",
    "AttemptRow",
    "ConflictError",
    "Correction",
    "CostLine",
    "Finding",
    "Hold",
    "KeyRow",
    "Ledger",
    "LedgerError",
    "LedgerLockedError",
    "LedgerSettings",
    "LedgerStatistics",
    "ProgressEntry",
    "Receipt",
    "ReceiptError",
    "ReconciliationLine",
    "Ticket",
    "Timings",
    "audit_database",
    "open_ledger",
]
