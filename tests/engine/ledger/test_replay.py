"""Balances from nothing but the postings."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.ledger import CostLine, LedgerLockedError, audit_database, open_ledger
from engine.ledger.replay import repair, replay
from tests.engine.ledger.samples import (
    USD,
    completed,
    funded_ledger,
    opening,
    raw_database,
    settings_for,
)


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ledger.settle(
            hold,
            posted_nanodollars=700,
            overrun_nanodollars=3,
            costs=[CostLine("sim", 100)],
            receipt=completed(begun),
        )
    return path


async def test_a_replay_is_the_stored_balances(database: Path) -> None:
    rows = {row.name: row for row in replay(database)}
    assert all(row.ok for row in rows.values())
    assert rows["demo"].replayed_nanodollars == USD - 700
    assert rows["demo"].postings == 2
    assert rows["provider:sim"].replayed_nanodollars == 100
    assert rows["house:revenue"].replayed_nanodollars == 703
    assert rows["house:adjustment"].postings == 0
    assert sum(row.replayed_nanodollars for row in rows.values()) == 0


async def test_balances_are_repaired_only_without_an_owner(database: Path) -> None:
    with raw_database(database) as connection:
        connection.execute("UPDATE balances SET amount = 7 WHERE account_id LIKE 'acct%'")
        connection.execute("DELETE FROM balances WHERE account_id = 'provider:sim'")
    different = {row.name: row.stored_nanodollars for row in replay(database) if not row.ok}
    assert different == {"demo": 7, "provider:sim": None}
    async with open_ledger(settings_for(database)):
        with pytest.raises(LedgerLockedError):
            repair(database)
    assert {row.name for row in repair(database) if not row.ok} == {"demo", "provider:sim"}
    assert all(row.ok for row in replay(database))
    assert [finding for finding in audit_database(database) if not finding.ok] == []
