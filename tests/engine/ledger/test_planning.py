"""Accounts and their plans, plans and prices; names; lists by pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import BudgetExceededError, InvalidRequestError, NotFoundError
from engine.ledger import AccountView, ConflictError, KeyRow, open_ledger
from tests.engine.ledger.samples import (
    NARROW,
    USD,
    followed,
    funded_ledger,
    new_key,
    opening,
    raw_database,
    settings_for,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_a_plan_limits_the_month_unless_an_operator_does(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):

        async def limit() -> int:
            budgets = [view.budget for view in await ledger.budgets(account_id)]
            return budgets[0].limit_nanodollars if budgets else 0

        await ledger.set_account_plan(account_id, "free", monthly_budget_nanodollars=500)
        with pytest.raises(BudgetExceededError):
            ledger.hold(account_id, "req_1", 501, opening("req_1", account_id))
        with pytest.raises(NotFoundError):
            await ledger.remove_budget(account_id, None, "month")
        await ledger.set_budget(account_id, None, "month", 800)
        assert await limit() == 800
        assert await ledger.set_plan_budgets("free", 600) == 1
        assert await limit() == 800
        assert (await ledger.remove_budget(account_id, None, "month")).limit_nanodollars == 800
        assert await limit() == 600
        shown = await ledger.set_budget(account_id, None, "month", 550, origin="plan")
        assert (shown.budget.limit_nanodollars, shown.budget.origin) == (550, "plan")
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.spendable_nanodollars(account_id, None) == 550
        await ledger.set_account_plan(account_id, "pro", monthly_budget_nanodollars=None)
        assert await ledger.budgets(account_id) == []
        assert ledger.spendable_nanodollars(account_id, None) == USD
        assert await ledger.set_plan_budgets("free", 5) == 0


async def test_a_new_account_is_limited_by_its_plan_from_the_start(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        made = await ledger.create_account("new", plan="free", monthly_budget_nanodollars=300)
        assert (made.plan, made.off) == ("free", False)
        await ledger.fund(made.account_id, USD, "first")
        assert ledger.spendable_nanodollars(made.account_id, None) == 300


async def test_all_accounts_of_a_plan_follow_it(path: Path) -> None:
    """More than one slice of them; what runs meanwhile counts."""
    async with funded_ledger(path) as (ledger, account_id):
        await ledger.set_account_plan(account_id, "free")
    with raw_database(path) as connection:
        connection.executescript(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 149)"
            " INSERT INTO accounts SELECT 'acct_' || n, 'customer', 'account ' || n, n FROM n;"
            "INSERT INTO balances SELECT account_id, 0 FROM accounts WHERE name LIKE 'account %';"
            "INSERT INTO account_plans SELECT NULL, account_id, 'free', 0 FROM accounts"
            " WHERE name LIKE 'account %'"
        )
    async with open_ledger(settings_for(path)) as ledger:
        ledger.hold(account_id, "req_1", 40, opening("req_1", account_id))
        assert await ledger.set_plan_budgets("free", 100) == 150
        assert await ledger.set_plan_budgets("free", 100) == 0
        assert len(await ledger.budgets()) == 150
        assert ledger.spendable_nanodollars(account_id, None) == 60
        assert await ledger.set_plan_budgets("free", None) == 150
        assert await ledger.budgets() == []
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
    with raw_database(path) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM budget_changes").fetchone()
    assert rows == 300


async def test_the_same_again_leaves_no_row(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        key = await new_key(ledger, account_id)
        for _ in range(2):
            await ledger.set_account_plan(account_id, "free", monthly_budget_nanodollars=500)
            await ledger.set_plan("free", {"models": ["gpt-5"]})
            await ledger.set_price("all", "", "gpt-5", {"input": "1"})
            await ledger.switch("model", "gpt-5", off=True)
            await ledger.set_key_terms(key.key_id, lambda terms: NARROW)
    with raw_database(path) as connection:
        for table in ("account_plans", "budget_changes", "plan_changes", "price_changes"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
        for table in ("switches", "key_terms"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table


async def test_plans_and_prices_that_make_no_sense_are_refused(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        await ledger.set_plan("free", {})
        await ledger.set_account_plan(account_id, "free")
        told = followed(ledger)
        with pytest.raises(ConflictError, match="1 account is on the plan 'free'"):
            await ledger.remove_plan("free")
        for call in (ledger.remove_plan("none"), ledger.remove_price("all", "", "gpt-5")):
            with pytest.raises(NotFoundError):
                await call
        with pytest.raises(NotFoundError):
            await ledger.set_price("account", "acct_none", "gpt-5", {})
        with pytest.raises(NotFoundError):
            await ledger.set_account_plan("acct_none", "free")
        with pytest.raises(ValueError, match="plan's"):
            await ledger.set_price("all", account_id, "gpt-5", {})
        for body in ({"models": {1}}, {"models": "x" * 70_000}):
            with pytest.raises(ValueError, match=r"JSON|bytes"):
                await ledger.set_plan("pro", body)
        with pytest.raises(ValueError, match="more than nothing"):
            await ledger.set_account_plan(account_id, "free", monthly_budget_nanodollars=0)
        assert told == []


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\x1b[2J", "a\u202eb", "\ud800", "x" * 101, "a\u00a0b"]
)
async def test_a_name_is_short_and_printable(path: Path, name: str) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        for call in (
            ledger.create_account(name),
            ledger.create_key(account_id, name, "digest", "sk-b"),
            ledger.set_account_plan(account_id, name),
            ledger.set_plan(name, {}),
            ledger.set_price("all", "", name, {}),
        ):
            with pytest.raises(ValueError, match="printable"):
                await call
        assert len(await ledger.accounts()) == 1
        assert await ledger.keys() == []


async def test_names_differ_by_more_than_the_space_around_them(path: Path) -> None:
    async with funded_ledger(path) as (ledger, _):
        assert (await ledger.create_account(" Zoë & Söhne ")).name == "Zoë & Söhne"
        with pytest.raises(ConflictError):
            await ledger.create_account("demo ")
        assert (await ledger.create_account("x" * 100)).name == "x" * 100


async def test_lists_come_by_pages(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        for number in range(7):
            await ledger.create_account(f"account {number}")
        accounts = await ledger.accounts()
        first_id, other_id = accounts[0].account_id, accounts[1].account_id
        for number in range(5):
            await ledger.create_key(first_id, "a", f"digest {number}", "sk-b")
        await ledger.create_key(other_id, "b", "digest 9", "sk-c")
        for limit in (1, 3, 7, 200):
            found: list[AccountView] = []
            cursor: str | None = None
            for _ in range(9):
                page = await ledger.list_accounts(limit=limit, cursor=cursor)
                found += page.accounts
                assert len(page.accounts) <= limit
                if (cursor := page.cursor) is None:
                    break
            assert found == accounts
            for account_id in (first_id, None):
                keys: list[KeyRow] = []
                cursor = None
                for _ in range(9):
                    shown = await ledger.list_keys(account_id, limit=limit, cursor=cursor)
                    keys += [view.key for view in shown.keys]
                    if (cursor := shown.cursor) is None:
                        break
                assert keys == await ledger.keys(account_id)
        (foreign,) = await ledger.keys(other_id)
        for call in (
            ledger.list_accounts(cursor="house:revenue"),
            ledger.list_keys(first_id, cursor=foreign.key_id),
            ledger.list_keys(cursor="key_none"),
        ):
            with pytest.raises(InvalidRequestError, match="cursor"):
                await call
        for limit in (0, 201):
            with pytest.raises(ValueError, match="200"):
                await ledger.list_accounts(limit=limit)


async def test_the_account_of_a_request_is_found(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        hold = ledger.hold(account_id, "req_1", 10, opening("req_1", account_id))
        await ledger.wait_durable(hold.ticket)
        assert await ledger.account_of("req_1") == account_id
        assert await ledger.account_of("req_2") is None
