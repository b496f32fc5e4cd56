"""Holds, extensions and settlements, over a real database file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from engine.errors import InsufficientFundsError, NotFoundError, UnavailableError
from engine.ledger import AttemptRow, CostLine, Ledger, ProgressEntry, open_ledger
from tests.engine.ledger.samples import (
    USD,
    completed,
    database_locked,
    funded_ledger,
    opening,
    raw_database,
    replay,
    settings_for,
    won,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def assert_sound(ledger: Ledger, path: Path) -> None:
    assert [finding for finding in await ledger.audit() if not finding.ok] == []
    assert ledger.balances() == replay(path)


async def test_an_exchange_from_hold_to_receipt(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        assert ledger.available_nanodollars(account_id) == USD - 1_000
        await ledger.wait_durable(hold.ticket)
        assert ledger.is_durable(hold.ticket)

        ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", begun.created_at_ms))
        assert ledger.extend(hold, 500)
        assert hold.amount_nanodollars == 1_500

        ticket = ledger.settle(
            hold,
            posted_nanodollars=1_200,
            overrun_nanodollars=0,
            costs=[CostLine("sim", 300)],
            receipt=completed(begun, won(1_200, 300)),
        )
        assert not hold.open
        assert ledger.available_nanodollars(account_id) == USD - 1_200

        await ledger.wait_durable(ticket)
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["state"] == "settled"
        assert receipt["durability"] == "durable"
        assert receipt["price"]["nanodollars"] == 1_200
        assert receipt["cost"]["nanodollars"] == 300
        assert ledger.balances() == {
            account_id: USD - 1_200,
            "house:funding": -USD,
            "house:revenue": 1_200,
            "house:cost": -300,
            "house:overrun": 0,
            "house:adjustment": 0,
            "provider:sim": 300,
        }
        await assert_sound(ledger, path)


async def test_a_void_costs_the_customer_nothing(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ticket = ledger.void(
            hold, costs=[CostLine("sim", 40)], receipt=begun.replace(outcome="upstream_failed")
        )
        await ledger.wait_durable(ticket)
        assert ledger.available_nanodollars(account_id) == USD
        assert ledger.house_balances()["house:cost"] == -40
        await assert_sound(ledger, path)


async def test_consumption_above_the_hold_is_the_houses(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ticket = ledger.settle(
            hold,
            posted_nanodollars=1_050,
            overrun_nanodollars=7,
            costs=[],
            receipt=completed(begun),
        )
        await ledger.wait_durable(ticket)
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["price"]["nanodollars"] == 1_000
        assert receipt["overrun"]["nanodollars"] == 57
        assert ledger.house_balances()["house:overrun"] == -57
        assert ledger.house_balances()["house:revenue"] == 1_057
        await assert_sound(ledger, path)


async def test_holds_stop_at_the_balance(path: Path) -> None:
    async with funded_ledger(path, 1_000) as (ledger, account_id):
        ledger.hold(account_id, "req_1", 600, opening("req_1", account_id))
        with pytest.raises(InsufficientFundsError, match=r"\$0\.000000400 available"):
            ledger.hold(account_id, "req_2", 401, opening("req_2", account_id))
        assert ledger.available_nanodollars(account_id) == 400
        exact = ledger.hold(account_id, "req_3", 400, opening("req_3", account_id))
        assert not ledger.extend(exact, 1)
        assert exact.amount_nanodollars == 400
        assert ledger.available_nanodollars(account_id) == 0


async def test_a_free_request_holds_nothing_and_still_has_its_receipt(path: Path) -> None:
    async with funded_ledger(path, 1) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 0, begun)
        ticket = ledger.settle(
            hold, posted_nanodollars=0, overrun_nanodollars=0, costs=[], receipt=completed(begun)
        )
        await ledger.wait_durable(ticket)
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["price"]["usd"] == "0.000000000"
        await assert_sound(ledger, path)


async def test_a_hold_ends_once(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ticket = ledger.void(hold, costs=[], receipt=begun.replace(outcome="client_left"))
        ended: dict[str, Any] = {"costs": [], "receipt": completed(begun)}
        with pytest.raises(ValueError, match="has ended"):
            ledger.void(hold, **ended)
        with pytest.raises(ValueError, match="has ended"):
            ledger.settle(hold, posted_nanodollars=5, overrun_nanodollars=0, **ended)
        with pytest.raises(ValueError, match="has ended"):
            ledger.extend(hold, 1)
        with pytest.raises(ValueError, match="has ended"):
            ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 0))
        await ledger.wait_durable(ticket)
        with raw_database(path) as connection:
            records = connection.execute("SELECT kind FROM hold_records ORDER BY seq").fetchall()
        assert records == [("held",), ("voided",)]


async def test_a_wrong_call_changes_nothing(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        before = ledger.balances()
        wrong: list[dict[str, Any]] = [
            {"posted_nanodollars": -1},
            {"overrun_nanodollars": -1},
            {"costs": [CostLine("sim", -1)]},
            {"receipt": begun},
            {"receipt": completed(opening("req_2", account_id))},
            {"receipt": completed(opening("req_1", "acct_other"))},
        ]
        right: dict[str, Any] = {
            "posted_nanodollars": 10,
            "overrun_nanodollars": 0,
            "costs": [],
            "receipt": completed(begun),
        }
        for change in wrong:
            with pytest.raises(ValueError, match=r"amount|receipt"):
                ledger.settle(hold, **(right | change))
            assert hold.open
            assert ledger.balances() == before
            assert ledger.available_nanodollars(account_id) == USD - 1_000
        with pytest.raises(ValueError, match="has a hold already"):
            ledger.hold(account_id, "req_1", 1, begun)
        with pytest.raises(ValueError, match="another request"):
            ledger.hold(account_id, "req_2", 1, begun)
        with pytest.raises(NotFoundError):
            ledger.hold("acct_none", "req_2", 1, opening("req_2", "acct_none"))
        await ledger.wait_durable(ledger.settle(hold, **right))
        await assert_sound(ledger, path)


async def test_no_call_that_moves_money_has_a_checkpoint(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        with trio.testing.assert_no_checkpoints():
            hold = ledger.hold(account_id, "req_1", 1_000, begun)
            ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 0))
            ledger.extend(hold, 10)
            ledger.progress([ProgressEntry("req_1", {"output_tokens": 1}, 10, 1, 1)])
            ledger.settle(
                hold,
                posted_nanodollars=10,
                overrun_nanodollars=0,
                costs=[],
                receipt=completed(begun, won(10)),
            )
            other = ledger.hold(account_id, "req_2", 5, opening("req_2", account_id))
            ledger.void(
                other,
                costs=[],
                receipt=opening("req_2", account_id).replace(outcome="deadline"),
            )
        await assert_sound_when_quiet(ledger, path)


async def assert_sound_when_quiet(ledger: Ledger, path: Path) -> None:
    await ledger.fund((await ledger.accounts())[0].account_id, 1, "a record behind all others")
    await assert_sound(ledger, path)


class InterruptedCosts(list[CostLine]):
    """Presses Ctrl-C as soon as the ledger looks at the costs."""

    def __iter__(self) -> Iterator[CostLine]:
        signal.raise_signal(signal.SIGINT)
        return super().__iter__()


def test_ctrl_c_cannot_fall_into_a_settlement(path: Path) -> None:
    ended = []

    async def main() -> None:
        async with funded_ledger(path) as (ledger, account_id):
            begun = opening("req_1", account_id)
            hold = ledger.hold(account_id, "req_1", 1_000, begun)
            ledger.settle(
                hold,
                posted_nanodollars=100,
                overrun_nanodollars=0,
                costs=InterruptedCosts([CostLine("sim", 3)]),
                receipt=completed(begun),
            )
            ended.append(hold.open)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert ended == [False]
    balances = replay(path)
    assert balances["house:revenue"] == 100
    assert balances["provider:sim"] == 3


async def test_a_running_receipt_follows_the_progress(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        assert ledger.running_receipt(account_id, "req_1") == begun
        ledger.progress([ProgressEntry("req_1", {"output_tokens": 7}, 70, 7, 5)])
        running = ledger.running_receipt(account_id, "req_1")
        assert running is not None
        assert (running.outcome, running.state) == ("running", "running")
        assert running.usage == {"output_tokens": 7}
        assert (running.received_output_tokens, running.delivered_output_tokens) == (7, 5)

        with database_locked(path):
            ticket = ledger.settle(
                hold,
                posted_nanodollars=70,
                overrun_nanodollars=0,
                costs=[],
                receipt=completed(begun),
            )
            pending = await ledger.read_receipt(account_id, "req_1")
            assert pending is not None
            assert (pending["state"], pending["durability"]) == ("settling", "pending")
            assert pending["outcome"] == "completed"
        await ledger.wait_durable(ticket)
        assert ledger.running_receipt(account_id, "req_1") is None


async def test_nobody_reads_anothers_receipt(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        other = (await ledger.create_account("other")).account_id
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        assert await ledger.read_receipt(other, "req_1") is None
        with database_locked(path):
            ticket = ledger.settle(
                hold,
                posted_nanodollars=1,
                overrun_nanodollars=0,
                costs=[],
                receipt=completed(begun),
            )
            assert await ledger.read_receipt(other, "req_1") is None
        await ledger.wait_durable(ticket)
        assert await ledger.read_receipt(other, "req_1") is None
        assert await ledger.read_receipt(account_id, "req_1") is not None
        assert await ledger.read_receipt(account_id, "req_2") is None


async def test_admission_is_bounded_and_settlement_is_not(path: Path) -> None:
    async with funded_ledger(path, queue_max_records=3) as (
        ledger,
        account_id,
    ):
        with database_locked(path):
            holds = [
                ledger.hold(account_id, name, 10, opening(name, account_id))
                for name in ("req_1", "req_2", "req_3")
            ]
            with pytest.raises(UnavailableError):
                ledger.hold(account_id, "req_4", 10, opening("req_4", account_id))
            grown = [ledger.extend(holds[0], 1) for _ in range(5)]
            assert grown == [True, True, True, False, False]
            with pytest.raises(UnavailableError):
                ledger.attempt(holds[0], AttemptRow(1, "sim", "sim-openai", 0))
            tickets = [
                ledger.settle(
                    hold,
                    posted_nanodollars=10,
                    overrun_nanodollars=0,
                    costs=[],
                    receipt=completed(opening(hold.request_id, account_id)),
                )
                for hold in holds
            ]
            assert not ledger.is_durable(tickets[0])
        await ledger.wait_durable(tickets[-1])
        ledger.hold(account_id, "req_4", 10, opening("req_4", account_id))
        await assert_sound_when_quiet(ledger, path)


async def test_the_books_are_the_same_after_a_restart(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        for number in range(20):
            begun = opening(f"req_{number}", account_id)
            hold = ledger.hold(account_id, begun.request_id, 1_000, begun)
            ledger.settle(
                hold,
                posted_nanodollars=number,
                overrun_nanodollars=0,
                costs=[CostLine("sim", 1)],
                receipt=completed(begun),
            )
        before = ledger.balances()
        assert ledger.epoch == 1
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.balances() == before
        assert ledger.epoch == 2
        assert ledger.recovered_holds == 0
        await assert_sound(ledger, path)
