"""Commands with parameters that nobody sane would give: refused, with nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ClientError
from engine.ledger import CostLine, Ledger
from frontends.cli_admin import OF_A_SERVER
from frontends.commands import COMMANDS, Actor, execute
from frontends.commands.command import LedgerDesk
from frontends.commands.terms import KeyBudget, read_key_budget
from tests.engine.ledger.samples import USD, completed, funded_ledger, opening, replay

HUGE = 10**16 + 1
SOMEBODY = Actor("cli:uid=7")
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
                await execute(owner, command, parameters, by=SOMEBODY)
            assert refused.value.message
            assert owner.ledger.balances() == before == replay(path), (command, parameters)
        assert [account.name for account in await owner.ledger.accounts()] == ["demo"]


async def test_an_id_is_not_taken_for_another_accounts_name(tmp_path: Path) -> None:
    """Who may name accounts would get what is meant for another."""
    async with desk(tmp_path / "ledger.db") as (owner, _):
        for number in range(8):  # whichever of the ids comes first
            other = await execute(
                owner, "accounts.create", {"name": f"other-{number}"}, by=SOMEBODY
            )
            await execute(owner, "accounts.create", {"name": other["account_id"]}, by=SOMEBODY)
            fund = {
                "account": other["account_id"],
                "amount_nanodollars": USD,
                "reference": f"{number}",
            }
            funded = await execute(owner, "accounts.fund", fund, by=SOMEBODY)
            assert funded["account_id"] == other["account_id"]


LEDGERS: list[tuple[str, dict[str, Any]]] = [
    ("accounts.create", {"name": "new", "fund_nanodollars": 5}),
    ("accounts.set", {"account": "demo", "plan": None}),
    ("accounts.fund", {"account": "demo", "amount_nanodollars": 5}),
    ("accounts.adjust", {"account": "demo", "amount_nanodollars": 5, **WHY}),
    ("keys.create", {"account": "demo", "name": "one", "budget": {"usd": "1", "period": "day"}}),
    ("keys.set", {"key_id": "KEY", "changes": {"preset": "per-60"}}),
    ("keys.rotate", {"key_id": "KEY"}),
    ("keys.revoke", {"key_id": "KEY"}),
    ("budgets.set", {"account": "demo", "period": "day", "limit_nanodollars": 5}),
    ("budgets.remove", {"account": "demo", "period": "day"}),
    ("switches.off", {"kind": "account", "subject": "demo", "reason": "abuse"}),
    ("switches.on", {"kind": "account", "subject": "demo"}),
    ("receipts.refund", {"request_id": "req_1", **WHY, "reference": "t-2"}),
    reconciled(),
    ("ledger.archive", {"folder": "FOLDER", "before_ms": 1}),
]
"""An order of each kind that a ledger alone carries out, in an order in which they can be."""

NOT_ALONE = {
    "exchanges.end",
    "plans.remove",
    "plans.set",
    "prices.remove",
    "prices.set",
    "serving.reload",
}
"""What needs a running server, or what only a running server makes."""


async def test_each_order_that_is_carried_out_is_one_row(tmp_path: Path) -> None:
    assert {name for name, _ in LEDGERS} | NOT_ALONE == {
        name for name, command in COMMANDS.items() if command.adds
    }
    async with desk(tmp_path / "ledger.db") as (owner, account_id):
        key = await execute(
            owner, "keys.create", {"account": "demo", "name": "first"}, by=Actor("somebody")
        )
        words = {"KEY": key["key_id"], "FOLDER": str(tmp_path / "old")}
        for name, parameters in LEDGERS:
            given = {field: words.get(str(value), value) for field, value in parameters.items()}
            await execute(owner, name, given, by=SOMEBODY)
        page = await owner.ledger.read_log(actor=SOMEBODY.name, limit=200)
        rows = list(reversed(page.rows))
        assert [row.action for row in rows] == [name for name, _ in LEDGERS]
        assert all(row.actor == SOMEBODY.name and row.peer is None for row in rows)
        of_account = await owner.ledger.read_log(subject=account_id, limit=200)
        assert {row.action for row in of_account.rows} == {
            "accounts.adjust",
            "accounts.fund",
            "accounts.set",
            "budgets.remove",
            "budgets.set",
            "switches.off",
            "switches.on",
        }
        assert key["secret"] not in str(page)


@pytest.mark.parametrize("usd", [5, "5", "5.00"])
def test_a_budget_in_usd_is_in_dollars(usd: object) -> None:
    budget = read_key_budget({"usd": usd, "period": "month"})
    assert budget == KeyBudget("month", 5 * USD)


async def test_what_is_refused_or_only_read_is_no_row(tmp_path: Path) -> None:
    async with desk(tmp_path / "ledger.db") as (owner, _):
        for command, parameters in ABSURD[:12]:
            with pytest.raises(ClientError):
                await execute(owner, command, parameters, by=SOMEBODY)
        for command in ("accounts.list", "keys.list", "switches.list", "log.list", "plans.list"):
            await execute(owner, command, {}, by=SOMEBODY)
        assert (await owner.ledger.read_log()).rows == ()


@pytest.mark.parametrize("name", sorted(OF_A_SERVER))
async def test_what_a_ledger_alone_cannot_do_is_said(tmp_path: Path, name: str) -> None:
    words: dict[type, Any] = {str: "sim", dict: {}}
    given = {
        field: words[kinds[0]]
        for field, kinds in COMMANDS[name].parameters.items()
        if kinds[0] in words and len(kinds) == 1
    }
    if name == "prices.set":
        given["scope"] = "all"
    async with desk(tmp_path / "ledger.db") as (owner, _):
        with pytest.raises(ClientError, match="Only a running server"):
            await execute(owner, name, given, by=SOMEBODY)
