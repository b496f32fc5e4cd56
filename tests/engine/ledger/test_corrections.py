"""Refunds and adjustments: never twice, never more than was charged, never what is held."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.errors import InsufficientFundsError, NotFoundError, UnavailableError
from engine.ledger import ConflictError, Ledger, open_ledger
from tests.engine.ledger.samples import (
    USD,
    completed,
    database_locked,
    funded_ledger,
    opening,
    raw_database,
    replay,
    settings_for,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def assert_sound(ledger: Ledger, path: Path) -> None:
    assert [finding for finding in await ledger.audit() if not finding.ok] == []
    assert ledger.balances() == replay(path)


def charge(ledger: Ledger, account_id: str, request_id: str, amount: int) -> None:
    begun = opening(request_id, account_id)
    hold = ledger.hold(account_id, request_id, amount, begun)
    ledger.settle(
        hold,
        posted_nanodollars=amount,
        overrun_nanodollars=0,
        costs=[],
        receipt=completed(begun),
    )


async def test_a_charge_is_refunded_in_parts_up_to_itself(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        charge(ledger, account_id, "req_1", 700)
        first = await ledger.refund("req_1", 300, "the answer was cut", "ticket-1")
        assert (first.amount_nanodollars, first.added) == (300, True)
        assert first.account.balance_nanodollars == USD - 400
        with pytest.raises(ConflictError, match=r"\$0\.000000400 is left to refund"):
            await ledger.refund("req_1", 401, "more", "ticket-2")
        rest = await ledger.refund("req_1", None, "all of it", "ticket-3")
        assert rest.amount_nanodollars == 400
        with pytest.raises(ConflictError, match=r"\$0\.000000000 is left"):
            await ledger.refund("req_1", None, "again", "ticket-4")
        assert ledger.available_nanodollars(account_id) == USD
        assert ledger.house_balances()["house:revenue"] == 0
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["price"]["nanodollars"] == 700, "what was written stays"
        await assert_sound(ledger, path)
    with raw_database(path) as connection:
        refunds = connection.execute(
            "SELECT request_id, reason, reference FROM transfers WHERE kind = 'refund'"
        ).fetchall()
    assert refunds == [
        ("req_1", "the answer was cut", "ticket-1"),
        ("req_1", "all of it", "ticket-3"),
    ]


async def test_a_refund_is_idempotent_by_its_reference(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        charge(ledger, account_id, "req_1", 700)
        charge(ledger, account_id, "req_2", 700)
        added = []

        async def refund() -> None:
            added.append((await ledger.refund("req_1", 500, "a storm", "ticket-1")).added)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(refund)
        assert sorted(added) == [False] * 9 + [True]
        assert ledger.available_nanodollars(account_id) == USD - 900
        assert not (await ledger.refund("req_1", None, "a storm", "ticket-1")).added
        for request_id, amount in (("req_1", 499), ("req_2", 500)):
            with pytest.raises(ConflictError, match="'ticket-1' was used for something else"):
                await ledger.refund(request_id, amount, "a storm", "ticket-1")
        await assert_sound(ledger, path)
    async with open_ledger(settings_for(path)) as ledger:
        assert not (await ledger.refund("req_1", 500, "a storm", "ticket-1")).added
        assert ledger.available_nanodollars(account_id) == USD - 900


async def test_what_cannot_be_refunded(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        charge(ledger, account_id, "req_1", 700)
        charge(ledger, account_id, "req_free", 0)
        ledger.hold(account_id, "req_open", 10, opening("req_open", account_id))
        before = ledger.balances()
        with pytest.raises(NotFoundError, match="no request 'req_none'"):
            await ledger.refund("req_none", 1, "why", "t")
        with pytest.raises(ConflictError, match="'req_open' has not ended"):
            await ledger.refund("req_open", 1, "why", "t")
        with pytest.raises(ConflictError, match="left to refund"):
            await ledger.refund("req_free", None, "why", "t")
        for amount in (0, -1):
            with pytest.raises(ValueError, match="amount"):
                await ledger.refund("req_1", amount, "why", "t")
        for reason, reference in ((" ", "t"), ("why", ""), ("\ud800", "t"), ("x" * 1_001, "t")):
            with pytest.raises(ValueError, match=r"reason|reference"):
                await ledger.refund("req_1", 1, reason, reference)
        assert ledger.balances() == before == replay(path)


async def test_an_adjustment_gives_and_takes(path: Path) -> None:
    async with funded_ledger(path, 1_000) as (ledger, account_id):
        given = await ledger.adjust(account_id, 500, "goodwill", "a-1")
        assert given.account.available_nanodollars == 1_500
        taken = await ledger.adjust(account_id, -200, "funded twice", "a-2")
        assert (taken.amount_nanodollars, taken.account.balance_nanodollars) == (-200, 1_300)
        assert taken.account.held_nanodollars == 0
        assert ledger.house_balances()["house:adjustment"] == -300

        again = await ledger.adjust(account_id, -200, "funded twice", "a-2")
        assert (again.added, again.account.balance_nanodollars) == (False, 1_300)
        with pytest.raises(ConflictError, match="'a-2' was used"):
            await ledger.adjust(account_id, -201, "funded twice", "a-2")
        with pytest.raises(NotFoundError):
            await ledger.adjust("house:revenue", 1, "why", "a-3")
        with pytest.raises(ValueError, match="zero"):
            await ledger.adjust(account_id, 0, "why", "a-3")
        assert ledger.available_nanodollars(account_id) == 1_300
        await assert_sound(ledger, path)


async def test_an_adjustment_never_takes_what_is_held(path: Path) -> None:
    async with funded_ledger(path, 1_000) as (ledger, account_id):
        hold = ledger.hold(account_id, "req_1", 600, opening("req_1", account_id))
        with pytest.raises(InsufficientFundsError, match=r"less than \$0\.000000401 available"):
            await ledger.adjust(account_id, -401, "too much", "a-1")
        assert ledger.available_nanodollars(account_id) == 400
        await ledger.adjust(account_id, -400, "all of it", "a-2")
        assert not ledger.extend(hold, 1)
        assert not (await ledger.adjust(account_id, -400, "all of it", "a-2")).added
        assert (await ledger.account(account_id)).held_nanodollars == 600
        await assert_sound(ledger, path)


async def test_holds_and_adjustments_race_for_the_same_money(path: Path) -> None:
    async with funded_ledger(path, 1_000) as (ledger, account_id):
        outcomes: list[str] = []

        async def adjust(number: int) -> None:
            try:
                await ledger.adjust(account_id, -100, "a race", f"a-{number}")
                outcomes.append("taken")
            except InsufficientFundsError:
                outcomes.append("refused")

        def hold(number: int) -> None:
            try:
                ledger.hold(account_id, f"req_{number}", 100, opening(f"req_{number}", account_id))
                outcomes.append("held")
            except InsufficientFundsError:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(adjust, number)
                await trio.lowlevel.checkpoint()
                hold(number)
        assert outcomes.count("refused") == 30
        assert ledger.available_nanodollars(account_id) == 0
        await assert_sound(ledger, path)


async def test_an_adjustment_that_fails_or_is_given_up_reserves_nothing(path: Path) -> None:
    async with funded_ledger(path, 1_000) as (ledger, account_id):
        with database_locked(path), pytest.raises(UnavailableError, match="locked"):
            await ledger.adjust(account_id, -700, "later", "a-1")
        assert ledger.available_nanodollars(account_id) == 1_000
        with trio.move_on_after(0):
            await ledger.adjust(account_id, -700, "later", "a-1")
        assert not (await ledger.adjust(account_id, -700, "later", "a-1")).added
        account = await ledger.account(account_id)
        assert (account.available_nanodollars, account.held_nanodollars) == (300, 0)
        await assert_sound(ledger, path)
    with pytest.raises(UnavailableError):
        await ledger.adjust(account_id, -100, "closed", "a-2")
    assert ledger.available_nanodollars(account_id) == 300
