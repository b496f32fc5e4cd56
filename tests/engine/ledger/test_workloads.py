"""Random workloads against a model of three dicts; the books, the file and the model agree."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from engine.errors import BudgetExceededError, InsufficientFundsError, NotFoundError
from engine.ledger import (
    AttemptRow,
    ConflictError,
    CostLine,
    Hold,
    Ledger,
    ProgressEntry,
    open_ledger,
)
from engine.ledger.records import UsageView
from engine.ledger.windows import PERIODS, Period, day_of, month_of
from tests.clocks import DAY_MS, HandClock
from tests.engine.ledger.samples import completed, opening, raw_database, replay, settings_for, won

T = TypeVar("T")

ACCOUNTS = 3
amounts = st.integers(min_value=0, max_value=2_000)
providers = st.sampled_from(["sim", "openai"])


class RunningLedger:
    """A ledger in an event loop of its own, called from the thread of the test."""

    def __init__(self, path: Path, clock: HandClock) -> None:
        self._settings = replace(settings_for(path), clock=clock)
        self._opened = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=[self._main])
        self._thread.start()
        self._opened.wait()

    async def _main(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with open_ledger(self._settings) as self.ledger:
            self._opened.set()
            await self._stop.wait()

    def close(self) -> None:
        """Leave the ledger as a process does that stops without settling what is open."""
        trio.from_thread.run_sync(self._stop.set, trio_token=self.token)
        self._thread.join()


class Workloads(RuleBasedStateMachine):
    """Whatever moves money, and restarts, in any order."""

    holds = Bundle("holds")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "ledger.db"
        self.clock = HandClock("2026-01-30 12:00")
        self.running = RunningLedger(self.path, self.clock)
        self.accounts = [
            trio.from_thread.run(
                self.ledger.create_account, f"account {number}", trio_token=self.running.token
            ).account_id
            for number in range(ACCOUNTS)
        ]
        house = ["revenue", "overrun", "cost", "adjustment"]
        self.balances = dict.fromkeys([*self.accounts, *house], 0)
        self.charges: dict[str, tuple[str, int]] = {}
        self.spent: dict[tuple[str, int], int] = {}
        """By account and day."""
        self.charged_on: dict[str, int] = {}
        self.budgets: dict[tuple[str, Period], tuple[int, bool]] = {}
        self.plan_budgets: dict[str, int] = {}
        """By account, of the month."""
        self.held: dict[str, tuple[str, int]] = {}
        self.progressed: dict[str, int] = {}
        self.count = 0
        for number in range(ACCOUNTS):
            self.fund(number, 10_000)

    @property
    def ledger(self) -> Ledger:
        return self.running.ledger

    def available(self, account: str) -> int:
        held = [amount for owner, amount in self.held.values() if owner == account]
        return self.balances[account] - sum(held)

    def spent_in(self, account: str, period: Period) -> int:
        """What an account has spent in the window that is now."""
        today = day_of(self.clock.now_ms)

        def is_within(day: int) -> bool:
            match period:
                case "day":
                    return day == today
                case "month":
                    return month_of(day) == month_of(today)
                case "total":
                    return True

        days = [(day, amount) for (owner, day), amount in self.spent.items() if owner == account]
        return sum(amount for day, amount in days if is_within(day))

    def in_force(self) -> dict[tuple[str, Period], tuple[int, bool]]:
        """What an operator sets counts before what a plan does."""
        of_plans: dict[tuple[str, Period], tuple[int, bool]] = {
            (account, "month"): (limit, True) for account, limit in self.plan_budgets.items()
        }
        return of_plans | self.budgets

    def room(self, account: str) -> int:
        """What the funds and the hard budgets of an account leave."""
        held = sum(amount for owner, amount in self.held.values() if owner == account)
        lefts = [
            limit - self.spent_in(account, period) - held
            for (owner, period), (limit, hard) in self.in_force().items()
            if owner == account and hard
        ]
        return min([self.available(account), *lefts])

    def spend(self, account: str, day: int, amount: int) -> None:
        self.spent[account, day] = self.spent.get((account, day), 0) + amount

    def settled(self, request_id: str, charge: int, overrun: int = 0) -> None:
        """What a settlement does to the model."""
        account, amount = self.held.pop(request_id)
        self.progressed.pop(request_id, None)
        posted = min(charge, amount)
        self.charges[request_id] = (account, posted)
        self.charged_on[request_id] = day_of(self.clock.now_ms)
        self.spend(account, self.charged_on[request_id], posted)
        excess = charge - posted + overrun
        self.balances[account] -= posted
        self.balances["revenue"] += posted + excess
        self.balances["overrun"] -= excess

    @rule(number=st.integers(0, ACCOUNTS - 1), amount=st.integers(1, 5_000))
    def fund(self, number: int, amount: int) -> None:
        self.count += 1
        for _ in range(2):
            trio.from_thread.run(
                self.ledger.fund,
                self.accounts[number],
                amount,
                f"reference {self.count}",
                trio_token=self.running.token,
            )
        self.balances[self.accounts[number]] += amount

    @rule(target=holds, number=st.integers(0, ACCOUNTS - 1), amount=amounts)
    def hold(self, number: int, amount: int) -> Hold | MultipleResults[Hold]:
        account = self.accounts[number]
        self.count += 1
        request_id = f"req_{self.count}"

        def call() -> Hold | None:
            try:
                return self.ledger.hold(account, request_id, amount, opening(request_id, account))
            except (BudgetExceededError, InsufficientFundsError):
                return None

        hold = trio.from_thread.run_sync(call, trio_token=self.running.token)
        assert (hold is not None) == (amount <= self.room(account))
        if hold is None:
            return multiple()
        self.held[request_id] = (account, amount)
        return hold

    @rule(hold=holds, amount=amounts)
    def extend(self, hold: Hold, amount: int) -> None:
        if hold.request_id not in self.held:
            return  # a restart or its expiry has ended it
        account, held = self.held[hold.request_id]
        grown = trio.from_thread.run_sync(
            self.ledger.extend, hold, amount, trio_token=self.running.token
        )
        assert grown == (amount <= self.room(account))
        if grown:
            self.held[hold.request_id] = (account, held + amount)
        assert hold.amount_nanodollars == self.held[hold.request_id][1]

    @rule(hold=holds, charge=amounts)
    def progress(self, hold: Hold, charge: int) -> None:
        entry = ProgressEntry(hold.request_id, {"output_tokens": charge}, charge, charge, charge)
        trio.from_thread.run_sync(self.ledger.progress, [entry], trio_token=self.running.token)
        if hold.request_id in self.held:
            self.progressed[hold.request_id] = charge

    @rule(
        hold=consumes(holds),
        charge=amounts,
        overrun=st.sampled_from([0, 0, 7]),
        costs=st.lists(st.builds(CostLine, providers, amounts), max_size=3),
    )
    def settle(self, hold: Hold, charge: int, overrun: int, costs: list[CostLine]) -> None:
        if hold.request_id not in self.held:
            return  # a restart or its expiry has ended it

        def call() -> None:
            cost = sum(line.amount_nanodollars for line in costs)
            begun = opening(hold.request_id, hold.account_id)
            receipt = completed(begun, won(charge, cost))
            self.ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 0))
            self.ledger.settle(
                hold,
                posted_nanodollars=charge,
                overrun_nanodollars=overrun,
                costs=costs,
                receipt=receipt,
            )

        trio.from_thread.run_sync(call, trio_token=self.running.token)
        self.settled(hold.request_id, charge, overrun)
        self.balances["cost"] -= sum(cost.amount_nanodollars for cost in costs)

    @rule(hold=consumes(holds))
    def void(self, hold: Hold) -> None:
        if hold.request_id not in self.held:
            return  # a restart or its expiry has ended it
        receipt = opening(hold.request_id, hold.account_id).replace(outcome="upstream_failed")

        def call() -> None:
            self.ledger.void(hold, costs=[], receipt=receipt)

        trio.from_thread.run_sync(call, trio_token=self.running.token)
        self.settled(hold.request_id, 0)

    @rule(data=st.data(), amount=st.none() | amounts)
    def refund(self, data: st.DataObject, amount: int | None) -> None:
        """Never more than is left of the charge; twice with one reference is once."""
        if not self.charges:
            return
        request_id = data.draw(st.sampled_from(sorted(self.charges)))
        account, left = self.charges[request_id]
        given = left if amount is None else amount
        self.count += 1
        arguments = (request_id, amount, "a test", f"refund {self.count}")
        for turn in range(2):
            try:
                done = trio.from_thread.run(
                    self.ledger.refund, *arguments, trio_token=self.running.token
                )
            except (ConflictError, ValueError):
                assert not 0 < given <= left
                return
            assert (done.amount_nanodollars, done.added) == (given, turn == 0)
        self.charges[request_id] = (account, left - given)
        self.spend(account, self.charged_on[request_id], -given)
        self.balances[account] += given
        self.balances["revenue"] -= given

    @rule(number=st.integers(0, ACCOUNTS - 1), amount=st.integers(-3_000, 3_000))
    def adjust(self, number: int, amount: int) -> None:
        """Never takes what is held."""
        account = self.accounts[number]
        self.count += 1
        arguments = (account, amount, "a test", f"adjustment {self.count}")
        for turn in range(2):
            try:
                done = trio.from_thread.run(
                    self.ledger.adjust, *arguments, trio_token=self.running.token
                )
            except (InsufficientFundsError, ValueError):
                assert amount == 0 or -amount > self.available(account)
                return
            assert done.added == (turn == 0)
        self.balances[account] += amount
        self.balances["adjustment"] -= amount

    @rule(alive=st.booleans())
    def expire(self, alive: bool) -> None:
        """Exchanges that are no more; what is alive stays as it is."""
        spared = set(list(self.held)[::2] if alive else self.held)
        lost = trio.from_thread.run_sync(
            self.ledger.expire, spared, 0, trio_token=self.running.token
        )
        assert lost == [request_id for request_id in self.held if request_id not in spared]
        for request_id in lost:
            self.settled(request_id, self.progressed.get(request_id, 0))

    @rule(
        number=st.integers(0, ACCOUNTS - 1),
        period=st.sampled_from(PERIODS),
        limit=st.integers(1, 10_000),
        hard=st.booleans(),
    )
    def set_budget(self, number: int, period: Period, limit: int, hard: bool) -> None:
        """What was spent before counts; what runs goes on."""
        account = self.accounts[number]

        async def call() -> None:
            await self.ledger.set_budget(
                account, None, period, limit, hard=hard, soft_percents=[50, 100]
            )

        trio.from_thread.run(call, trio_token=self.running.token)
        self.budgets[account, period] = (limit, hard)

    @rule(number=st.integers(0, ACCOUNTS - 1), period=st.sampled_from(PERIODS))
    def remove_budget(self, number: int, period: Period) -> None:
        account = self.accounts[number]
        try:
            trio.from_thread.run(
                self.ledger.remove_budget, account, None, period, trio_token=self.running.token
            )
        except NotFoundError:
            assert (account, period) not in self.budgets
        else:
            del self.budgets[account, period]

    @rule(number=st.integers(0, ACCOUNTS - 1), limit=st.none() | st.integers(1, 10_000))
    def set_plan(self, number: int, limit: int | None) -> None:
        account = self.accounts[number]

        async def call() -> None:
            await self.ledger.set_account_plan(account, "free", monthly_budget_nanodollars=limit)

        trio.from_thread.run(call, trio_token=self.running.token)
        self.plan_budgets.pop(account, None)
        if limit is not None:
            self.plan_budgets[account] = limit

    @rule(days=st.sampled_from([1, 1, -1, 31]))
    def set_clock(self, days: int) -> None:
        """Mostly on; also back."""
        self.clock.now_ms += days * DAY_MS

    @rule()
    def restart(self) -> None:
        """What is open is recovered: posted at its last progress, else voided."""
        self.running.close()
        assert replay(self.path) == self.running.ledger.balances()
        for request_id in list(self.held):
            self.settled(request_id, self.progressed.get(request_id, 0))
        self.running = RunningLedger(self.path, self.clock)
        self.check()

    @invariant()
    def books_agree_with_the_model(self) -> None:
        if not hasattr(self, "running"):
            return
        books = trio.from_thread.run_sync(self.ledger.balances, trio_token=self.running.token)
        for account in self.accounts:
            assert books[account] == self.balances[account]
            assert self.ledger.available_nanodollars(account) == self.available(account) >= 0
            room = max(0, self.room(account))
            assert self.ledger.spendable_nanodollars(account, "key_1") == room
        for view in trio.from_thread.run(self.ledger.budgets, trio_token=self.running.token):
            budget = view.budget
            limit, _ = self.in_force()[budget.account_id, budget.period]
            assert limit == budget.limit_nanodollars
            assert view.spent_nanodollars == self.spent_in(budget.account_id, budget.period)
        for name in ("revenue", "overrun", "cost", "adjustment"):
            assert books[f"house:{name}"] == self.balances[name]
        assert sum(books.values()) == 0

    def used(self, account: str, days: range) -> dict[int | None, int]:
        """What usage by day says that an account has paid."""

        async def call() -> UsageView:
            return await self.ledger.usage(account, days.start, days.stop, ("day",))

        view = trio.from_thread.run(call, trio_token=self.running.token)
        return {row.day: row.charged_nanodollars - row.refunded_nanodollars for row in view.rows}

    def check(self) -> None:
        findings = trio.from_thread.run(self.ledger.audit, trio_token=self.running.token)
        assert [finding for finding in findings if not finding.ok] == []
        today = day_of(self.clock.now_ms)
        days = range(today - 365, today + 1)
        for account in self.accounts:
            used = self.used(account, days)
            for day in days:
                assert used.get(day, 0) == self.spent.get((account, day), 0)

    def teardown(self) -> None:
        if not hasattr(self, "running"):
            return
        try:
            self.check()
        finally:
            self.running.close()
        assert replay(self.path) == self.running.ledger.balances()
        with raw_database(self.path) as connection:
            stored = dict(connection.execute("SELECT account_id, amount FROM balances"))
        assert stored == self.running.ledger.balances()
        shutil.rmtree(self.folder)


TestWorkloads = Workloads.TestCase
TestWorkloads.settings = settings(
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
