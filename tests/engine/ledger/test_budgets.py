"""Budgets of accounts and keys: windows, hard stops, and what counts against them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio

from engine.errors import BudgetExceededError, InsufficientFundsError, NotFoundError
from engine.ledger import Hold, Ledger, ProgressEntry, Receipt, Ticket, open_ledger
from engine.ledger.budgets import Budgets, BudgetView, Count
from engine.ledger.windows import Period, resets_at_ms
from tests.clocks import DAY_MS, HandClock, at
from tests.engine.ledger.samples import USD, completed, opening, raw_database, settings_for


@asynccontextmanager
async def ledger_with_key(
    path: Path, clock: HandClock, *, fund: bool = True
) -> AsyncIterator[tuple[Ledger, str, str]]:
    """A ledger by this clock, an account with a dollar and its key; sound at the end."""
    async with open_ledger(replace(settings_for(path), clock=clock)) as ledger:
        if fund:
            account = await ledger.create_account("demo")
            await ledger.fund(account.account_id, USD, "first")
            await ledger.create_key(account.account_id, "laptop", "digest", "sk-parshall-ab")
        (found,) = await ledger.accounts()
        (key,) = await ledger.keys()
        yield ledger, found.account_id, key.key_id
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


class Requests:
    """Requests of one account, each with an id of its own."""

    def __init__(self, ledger: Ledger, account_id: str, prefix: str = "req") -> None:
        self.ledger = ledger
        self.account_id = account_id
        self.prefix = prefix
        self.count = 0

    def begun(self, key_id: str | None) -> Receipt:
        self.count += 1
        return opening(f"{self.prefix}_{self.count}", self.account_id).replace(key_id=key_id)

    def hold(self, amount: int, key_id: str | None) -> Hold:
        begun = self.begun(key_id)
        return self.ledger.hold(self.account_id, begun.request_id, amount, begun)

    def settle(self, hold: Hold, posted: int, overrun: int = 0) -> Ticket:
        begun = opening(hold.request_id, self.account_id).replace(key_id=hold.key_id)
        return self.ledger.settle(
            hold,
            posted_nanodollars=posted,
            overrun_nanodollars=overrun,
            costs=[],
            receipt=completed(begun),
        )

    def spend(self, amount: int, key_id: str | None) -> str:
        hold = self.hold(amount, key_id)
        self.settle(hold, amount)
        return hold.request_id

    async def spend_durably(self, amount: int, key_id: str | None) -> str:
        hold = self.hold(amount, key_id)
        await self.ledger.wait_durable(self.settle(hold, amount))
        return hold.request_id


async def only(ledger: Ledger) -> BudgetView:
    (view,) = await ledger.budgets()
    return view


async def test_a_hard_budget_counts_what_is_spent_and_held(tmp_path: Path) -> None:
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 1_000)
        held = requests.hold(600, key_id)
        assert ledger.spendable_nanodollars(account_id, key_id) == 400
        assert ledger.extend(held, 400)
        assert not ledger.extend(held, 1)
        with pytest.raises(BudgetExceededError, match=r"\$0\.000001000 a day.* 2026-01-16T00:00"):
            requests.hold(1, key_id)
        requests.settle(held, 700)
        view = await only(ledger)
        assert (view.spent_nanodollars, view.held_nanodollars) == (700, 0)
        assert ledger.spendable_nanodollars(account_id, key_id) == 300
        requests.spend(300, key_id)
        assert ledger.spendable_nanodollars(account_id, key_id) == 0


async def test_a_key_is_bound_by_its_own_budget_and_the_accounts(tmp_path: Path) -> None:
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        other = (await ledger.create_key(account_id, "other", "digest 2", "p")).key_id
        await ledger.set_budget(account_id, key_id, "total", 500)
        await ledger.set_budget(account_id, None, "month", 800)
        requests.spend(500, key_id)
        with pytest.raises(BudgetExceededError, match=r"this key .* in all, .* can raise it"):
            requests.hold(1, key_id)
        requests.spend(300, other)
        with pytest.raises(BudgetExceededError, match=r"this account .* a month.* 2026-02-01T00"):
            requests.hold(1, other)
        assert ledger.spendable_nanodollars(account_id, None) == 0


async def test_funds_are_still_needed(tmp_path: Path) -> None:
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        await ledger.set_budget(account_id, key_id, "day", 10 * USD)
        with pytest.raises(InsufficientFundsError):
            Requests(ledger, account_id).hold(USD + 1, key_id)
        view = await only(ledger)
        assert view.held_nanodollars == 0


@pytest.mark.parametrize(
    ("period", "before", "after", "same"),
    [
        ("day", "2026-01-31 23:59", "2026-02-01 00:00", "2026-01-31 00:00"),
        ("month", "2026-01-31 23:59", "2026-02-01 00:00", "2026-01-01 00:00"),
        ("month", "2027-12-31 23:59", "2028-01-01 00:00", "2027-12-01 00:00"),
        ("month", "2028-02-29 23:59", "2028-03-01 00:00", "2028-02-01 00:00"),
    ],
)
async def test_a_window_ends_on_the_millisecond(
    tmp_path: Path, period: Period, before: str, after: str, same: str
) -> None:
    clock = HandClock(same)
    async with ledger_with_key(tmp_path / "l.db", clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, period, 1_000)
        requests.spend(400, key_id)
        clock.set(before)
        clock.now_ms += 59_999
        assert (await only(ledger)).resets_at_ms == at(after) == clock.now_ms + 1
        requests.spend(600, key_id)
        with pytest.raises(BudgetExceededError):
            requests.hold(1, key_id)
        clock.now_ms += 1
        requests.spend(1_000, key_id)
        with pytest.raises(BudgetExceededError):
            requests.hold(1, key_id)


async def test_what_is_held_over_midnight_is_spent_on_the_new_day(tmp_path: Path) -> None:
    clock = HandClock("2026-01-15 23:59")
    async with ledger_with_key(tmp_path / "l.db", clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 1_000)
        held = requests.hold(700, key_id)
        clock.set("2026-01-16 00:01")
        with pytest.raises(BudgetExceededError):
            requests.hold(301, key_id)
        requests.settle(held, 700)
        assert (await only(ledger)).spent_nanodollars == 700
        clock.set("2026-01-15 23:59")  # set back: that day has spent nothing
        assert (await only(ledger)).spent_nanodollars == 0


async def test_a_clock_set_back_over_midnight_finds_what_was_counted(tmp_path: Path) -> None:
    clock = HandClock("2026-01-15 23:30")
    async with ledger_with_key(tmp_path / "l.db", clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 1_000)
        for text, amount in [("23:30", 900), ("00:30", 800), ("23:30", 100), ("00:30", 200)]:
            clock.set(f"2026-01-{15 if text == '23:30' else 16} {text}")
            requests.spend(amount, key_id)
        for day in (15, 16):
            clock.set(f"2026-01-{day} 12:00")
            with pytest.raises(BudgetExceededError):
                requests.hold(1, key_id)


async def test_a_refund_lowers_the_day_of_its_charge(tmp_path: Path) -> None:
    clock = HandClock("2026-01-31 12:00")
    async with ledger_with_key(tmp_path / "l.db", clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        for period in ("day", "month", "total"):
            await ledger.set_budget(account_id, key_id, period, 1_000)
        old = requests.spend(500, key_id)
        clock.set("2026-02-01 12:00")
        new = requests.spend(400, key_id)
        await ledger.refund(old, 300, "a test", "r-1")
        for _ in range(2):  # the second time changes nothing
            await ledger.refund(new, 150, "a test", "r-2")
        spent = [view.spent_nanodollars for view in await ledger.budgets()]
        assert spent == [250, 250, 450]
    async with ledger_with_key(tmp_path / "l.db", clock, fund=False) as (ledger, _, _):
        assert [view.spent_nanodollars for view in await ledger.budgets()] == spent


async def test_a_budget_set_later_knows_what_was_spent_and_held(tmp_path: Path) -> None:
    clock = HandClock("2026-01-10 12:00")
    async with ledger_with_key(tmp_path / "l.db", clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        requests.spend(100, key_id)
        clock.set("2026-02-01 12:00")
        requests.spend(20, key_id)
        requests.spend(3, None)
        held = requests.hold(50, key_id)
        for key in (None, key_id):
            for period in ("day", "month", "total"):
                await ledger.set_budget(account_id, key, period, 1_000)
        views = await ledger.budgets(account_id)
        assert [view.spent_nanodollars for view in views] == [23, 23, 123, 20, 20, 120]
        assert {view.held_nanodollars for view in views} == {50}
        requests.settle(held, 7)
        views = await ledger.budgets(account_id)
        assert [view.spent_nanodollars for view in views] == [30, 30, 130, 27, 27, 127]
        assert {view.held_nanodollars for view in views} == {0}


async def test_setting_a_budget_amid_traffic_counts_each_charge_once(tmp_path: Path) -> None:
    """Charges and refunds go on while the database is asked what was spent before."""
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        spent = 0
        done = trio.Event()

        async def traffic() -> None:
            nonlocal spent
            while not done.is_set():
                request_id = requests.spend(10, key_id)
                spent += 10
                if requests.count % 3 == 0:
                    await ledger.refund(request_id, 4, "a test", f"r-{requests.count}")
                    spent -= 4
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(traffic)
            for limit in range(5):
                async with trio.open_nursery() as setters:
                    for key in (None, key_id):
                        for period in ("day", "total"):
                            setters.start_soon(
                                ledger.set_budget, account_id, key, period, 10**9 + limit
                            )
                for key in (None, key_id):
                    await ledger.remove_budget(account_id, key, "day")
                    await ledger.remove_budget(account_id, key, "total")
                await ledger.set_budget(account_id, key_id, "day", 10**9)
                await ledger.remove_budget(account_id, key_id, "day")
            await ledger.set_budget(account_id, key_id, "total", 10**9)
            await ledger.set_budget(account_id, None, "day", 10**9)
            done.set()
        assert [view.spent_nanodollars for view in await ledger.budgets()] == [spent, spent]


async def test_a_lowered_budget_cuts_what_runs_where_it_is(tmp_path: Path) -> None:
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 1_000)
        held = requests.hold(600, key_id)
        await ledger.set_budget(account_id, key_id, "day", 100)
        assert not ledger.extend(held, 1)
        assert ledger.spendable_nanodollars(account_id, key_id) == 0
        requests.settle(held, 600)
        await ledger.set_budget(account_id, key_id, "day", 700)
        assert ledger.spendable_nanodollars(account_id, key_id) == 100
        await ledger.remove_budget(account_id, key_id, "day")
        assert await ledger.budgets() == []
        requests.spend(5_000, key_id)


async def told(ledger: Ledger) -> list[object]:
    """What is to be told: percentages in order, or what else it is about. It is told then."""
    found = []
    for notice in await ledger.pending_notices(100):
        await ledger.end_notice(notice.notice_id, "delivered")
        found.append(orjson.loads(notice.body)["data"].get("percent", notice.kind))
    return sorted(found, key=lambda each: (len(str(each)), each))


async def test_a_soft_budget_refuses_nothing_and_tells_once_a_window(tmp_path: Path) -> None:
    clock = HandClock("2026-01-15 12:00")
    path = tmp_path / "l.db"
    async with ledger_with_key(path, clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(
            account_id, key_id, "day", 1_000, hard=False, soft_percents=(100, 50, 50)
        )
        await requests.spend_durably(499, key_id)
        assert await told(ledger) == []
        request_id = await requests.spend_durably(1, key_id)
        assert await told(ledger) == [50]
        await ledger.refund(request_id, 1, "a test", "r-1")
        await requests.spend_durably(1, key_id)
        assert await told(ledger) == []
        await requests.spend_durably(2_000, key_id)
        assert await told(ledger) == [100]
        clock.now_ms += DAY_MS
        await requests.spend_durably(1_000, key_id)
        assert await told(ledger) == [50, 100]
        clock.now_ms -= DAY_MS  # set back: of that day it was told
        await requests.spend_durably(1, key_id)
        assert await told(ledger) == []
        clock.now_ms += DAY_MS
    async with ledger_with_key(path, clock, fund=False) as (ledger, _, _):
        await Requests(ledger, account_id, "again").spend_durably(1, key_id)
        assert await told(ledger) == []


async def test_a_budget_set_below_what_is_spent_tells_at_once(tmp_path: Path) -> None:
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await requests.spend_durably(600, key_id)
        for _ in range(2):
            await ledger.set_budget(account_id, None, "total", 1_000, soft_percents=(50, 80))
        await ledger.wait_notices()
        assert await told(ledger) == [50]
        await ledger.set_budget(account_id, None, "total", 700, soft_percents=(50, 80))
        await ledger.wait_notices()
        assert await told(ledger) == [50, 80]


async def test_what_recovery_charges_is_told_at_the_start(tmp_path: Path) -> None:
    path, clock = tmp_path / "l.db", HandClock()
    async with ledger_with_key(path, clock) as (ledger, account_id, key_id):
        await ledger.set_budget(account_id, key_id, "month", 1_000, soft_percents=(50, 80))
        lost = Requests(ledger, account_id).hold(900, key_id)
        ledger.progress([ProgressEntry(lost.request_id, {}, 790, 9, 9)])
    async with ledger_with_key(path, clock, fund=False) as (ledger, _, _):
        await ledger.wait_notices()
        assert await told(ledger) == [50]


async def test_a_refusal_and_an_overrun_are_told_once_a_window(tmp_path: Path) -> None:
    clock = HandClock()
    async with ledger_with_key(tmp_path / "l.db", clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 1_000)
        for day in range(2):
            for _ in range(3):
                assert ledger.budget_refusal(account_id, key_id, 1_000) is None
                assert ledger.budget_refusal(account_id, key_id, 1_001) is not None
                requests.settle(requests.hold(5, None), 5, overrun=7)
            await ledger.wait_notices()
            await requests.spend_durably(1, None)
            assert await told(ledger) == ["budget.refused", "account.overrun"], day
            clock.now_ms += DAY_MS


async def test_what_is_told_stays_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    async with ledger_with_key(path, HandClock()) as (ledger, account_id, key_id):
        await ledger.set_budget(account_id, key_id, "day", 10, soft_percents=(50,))
        await Requests(ledger, account_id).spend_durably(10, key_id)
        assert await told(ledger) == [50]
    with raw_database(path) as connection:
        for table, column in [
            ("budget_changes", "hard"),
            ("notices", "body"),
            ("notice_ends", "outcome"),
        ]:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 1
            for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(statement)


async def test_budgets_are_there_after_a_restart(tmp_path: Path) -> None:
    """What a process that died had open is recovered first, and counts."""
    clock = HandClock("2026-01-15 12:00")
    path = tmp_path / "l.db"
    async with ledger_with_key(path, clock) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 1_000, soft_percents=(80,))
        await ledger.set_budget(account_id, None, "month", 5_000, hard=False)
        requests.spend(300, key_id)
        lost = requests.hold(400, key_id)
        ledger.progress([ProgressEntry(lost.request_id, {}, 250, 9, 9)])
    async with ledger_with_key(path, clock, fund=False) as (ledger, _, _):
        month, day = await ledger.budgets()
        assert (month.budget.hard, day.budget.hard) == (False, True)
        assert (day.budget.key_id, day.budget.soft_percents) == (key_id, (80,))
        assert (day.spent_nanodollars, month.spent_nanodollars) == (550, 550)
        assert (day.held_nanodollars, month.held_nanodollars) == (0, 0)
        with pytest.raises(BudgetExceededError):
            Requests(ledger, account_id, "again").hold(451, key_id)


async def test_what_nobody_owns_and_what_is_refused_is_not_set(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    async with ledger_with_key(path, HandClock()) as (ledger, account_id, key_id):
        other = (await ledger.create_account("other")).account_id
        for account, key in [("acct_none", None), (account_id, "key_none"), (other, key_id)]:
            with pytest.raises(NotFoundError):
                await ledger.set_budget(account, key, "day", 1_000)
        with pytest.raises(NotFoundError):
            await ledger.remove_budget(account_id, key_id, "day")
        for limit, percents in [(0, ()), (-1, ()), (10**17, ()), (1, (0,)), (1, (1_001,))]:
            with pytest.raises(ValueError, match=r"amount|budget"):
                await ledger.set_budget(account_id, key_id, "day", limit, soft_percents=percents)
        assert await ledger.budgets() == []
        assert ledger.spendable_nanodollars(account_id, key_id) == USD

        await ledger.set_budget(account_id, key_id, "day", 10)
        again = await ledger.set_budget(account_id, key_id, "day", 10)
        assert again.budget.change_id == 1  # the same once more is no change


async def test_two_hundred_at_a_hard_stop_spend_it_exactly(tmp_path: Path) -> None:
    async with ledger_with_key(tmp_path / "l.db", HandClock()) as (ledger, account_id, key_id):
        requests = Requests(ledger, account_id)
        await ledger.set_budget(account_id, key_id, "day", 7 * 130)
        admitted = 0

        async def ask() -> None:
            nonlocal admitted
            try:
                hold = requests.hold(100, key_id)
            except BudgetExceededError:
                return
            admitted += 1
            await ledger.wait_durable(hold.ticket)
            grown = ledger.extend(hold, 30)
            await trio.lowlevel.checkpoint()
            requests.settle(hold, 130 if grown else 100)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
        view = await only(ledger)
        assert admitted == 9
        assert view.spent_nanodollars == 900  # none of the nine may grow by more than is left
        assert ledger.spendable_nanodollars(account_id, key_id) == 10


def test_counts_of_old_windows_are_let_go() -> None:
    count = Count(0)
    for day in range(20_000, 20_400):
        count.add(day, 1)
    count.add(10, -1)  # an old refund
    assert count.spent("total", 20_399) == 399
    assert count.spent("day", 20_399) == 1
    assert (len(count.days), len(count.months)) == (64, 3)


def test_accounts_without_budgets_are_not_kept() -> None:
    budgets = Budgets()
    budgets.reserve("acct_1", "key_1", 5)
    assert budgets.spend("acct_1", "key_1", 5, 0) == []
    assert budgets.room("acct_1", "key_1", 0) is None
    assert budgets.views(None, 0) == []


def test_windows_end_in_utc() -> None:
    day = at("2028-02-29 13:00") // DAY_MS
    assert resets_at_ms("day", day) == at("2028-03-01 00:00")
    assert resets_at_ms("month", day) == at("2028-03-01 00:00")
    assert resets_at_ms("total", day) is None
