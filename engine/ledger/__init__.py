"""Double-entry money: holds, transfers, receipts, and the journal that makes them durable.

Owns the books (what every account has and holds), the SQLite database, its schema and recovery,
and receipts. It decides no price, knows no provider protocol and reads no HTTP: amounts, usage and
outcomes arrive as plain values. Funds move in synchronous calls without a checkpoint; durability
is a separate, awaited barrier (`Ledger.wait_durable`).
"""

from __future__ import annotations
