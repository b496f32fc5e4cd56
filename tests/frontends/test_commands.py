"""Commands with parameters that nobody sane would give: refused, with nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ClientError
from engine.ledger import CostLine, Ledger
from frontends.commands import execute
from frontends.commands.command import LedgerDesk
from tests.engine.ledger.samples import USD, completed, funded_ledger, opening, replay

HUGE = 10**16 + 1
LINE = {"amount_nanodollars": 5, "reason": "a fee", "reference": "t-1"}
WHY = {"reason": "why", "reference": "t-1"}


@asynccontextmanager
async def desk(path: Path) -> AsyncIterator[tuple[LedgerDesk, str]]:
    """A ledger with the account 'demo' and one charged request."""
    async with funded_ledger(path) as (ledger, account_id):
        await charge(ledger, account_id)
        yield LedgerDesk(ledger), account_id


async def charge(ledger: Ledger, account_id: str) -> None:
    begun = opening("req_1", account_id)
    hold = ledger.hold(account_id, "req_1", 700, begun)
    ticket = ledger.settle(
        hold,
        posted_nanodollars=700,
        overrun_nanodollars=0,
        costs=[CostLine("openai", 100)],
        receipt=completed(begun),
    )
    await ledger.wait_durable(ticket)


def reconciled(**changes: Any) -> tuple[str, dict[str, Any]]:
    return "ledger.reconcile", {"provider": "openai", "lines": [LINE | changes]}


ABSURD: list[tuple[str, dict[str, Any]]] = [
    *(("accounts.create", {"name": "new", "fund_nanodollars": n}) for n in (-5, 0, HUGE)),
    *(
        ("accounts.fund", {"account": "demo", "amount_nanodollars": n, "reference": "t"})
        for n in (-5, 0, HUGE)
    ),
    *(
        ("accounts.fund", {"account": "demo", "amount_nanodollars": 5, "reference": text})
        for text in ("", " ", "\ud800", "x" * 1_001)
    ),
    *(
        ("accounts.adjust", {"account": "demo", "amount_nanodollars": n, **WHY})
        for n in (-HUGE, 0, HUGE)
    ),
    ("accounts.adjust", {"account": "demo", "amount_nanodollars": 5, **WHY, "reference": ""}),
    *(
        ("receipts.refund", {"request_id": "req_1", "amount_nanodollars": n, **WHY})
        for n in (-5, 0, 701, HUGE)
    ),
    ("receipts.refund", {"request_id": "req_1", **WHY, "reference": ""}),
    *(reconciled(amount_nanodollars=n) for n in (2.0, 1.5, True, "5", None, 0, HUGE, -HUGE)),
    reconciled(reason=5),
    reconciled(reference=None),
    reconciled(more=1),
    ("ledger.reconcile", {"provider": "openai", "lines": ["line"]}),
]


async def test_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with desk(path) as (owner, _):
        before = owner.ledger.balances()
        for command, parameters in ABSURD:
            with pytest.raises(ClientError) as refused:
                await execute(owner, command, parameters)
            assert refused.value.message
            assert owner.ledger.balances() == before == replay(path), (command, parameters)
        assert [account.name for account in await owner.ledger.accounts()] == ["demo"]


async def test_an_id_is_not_taken_for_another_accounts_name(tmp_path: Path) -> None:
    """Who may name accounts would get what is meant for another."""
    async with desk(tmp_path / "ledger.db") as (owner, _):
        for number in range(8):  # whichever of the ids comes first
            other = await execute(owner, "accounts.create", {"name": f"other-{number}"})
            await execute(owner, "accounts.create", {"name": other["account_id"]})
            fund = {
                "account": other["account_id"],
                "amount_nanodollars": USD,
                "reference": f"{number}",
            }
            funded = await execute(owner, "accounts.fund", fund)
            assert funded["account_id"] == other["account_id"]
