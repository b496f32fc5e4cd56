"""Holds whose exchange is no more, and what is noted of those that go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

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
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def assert_sound(ledger: Ledger, path: Path) -> None:
    assert [finding for finding in await ledger.audit() if not finding.ok] == []
    assert ledger.balances() == replay(path)


def progress(request_id: str, charge: int) -> ProgressEntry:
    costs = (CostLine("sim", 3),)
    return ProgressEntry(request_id, {"output_tokens": charge}, charge, charge, charge - 1, costs)


async def test_a_lost_hold_ends_at_its_last_progress(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        lost = ledger.hold(account_id, "req_lost", 1_000, opening("req_lost", account_id))
        ledger.attempt(lost, AttemptRow(1, "sim", "sim-openai", 0))
        ledger.progress([progress("req_lost", 70)])
        silent = ledger.hold(account_id, "req_silent", 500, opening("req_silent", account_id))
        alive = ledger.hold(account_id, "req_alive", 200, opening("req_alive", account_id))

        with trio.testing.assert_no_checkpoints():
            assert ledger.expire({"req_alive"}, 0) == ["req_lost", "req_silent"]

        assert [hold.open for hold in (lost, silent, alive)] == [False, False, True]
        assert ledger.available_nanodollars(account_id) == USD - 70 - 200
        assert ledger.expire({"req_alive"}, 0) == [], "once is enough"
        with pytest.raises(ValueError, match="has ended"):
            ledger.extend(lost, 1)
        ticket = ledger.void(
            alive,
            costs=[],
            receipt=opening("req_alive", account_id).replace(outcome="upstream_failed"),
        )
        await ledger.wait_durable(ticket)

        receipt = await ledger.read_receipt(account_id, "req_lost")
        assert receipt is not None
        assert (receipt["outcome"], receipt["provenance"]) == ("gateway_failed", "recovered")
        assert (receipt["price"]["nanodollars"], receipt["cost"]["nanodollars"]) == (70, 3)
        assert receipt["attempts"][0]["provider"] == "sim"
        assert receipt["error"]["message"] == ("The gateway lost this request before it had ended.")
        unpaid = await ledger.read_receipt(account_id, "req_silent")
        assert unpaid is not None
        assert unpaid["price"]["nanodollars"] == 0
        await assert_sound(ledger, path)
    with raw_database(path) as connection:
        ends = connection.execute(
            "SELECT request_id, amount FROM hold_records WHERE kind = 'expired' ORDER BY seq"
        ).fetchall()
    assert ends == [("req_lost", 70), ("req_silent", 0)]
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.recovered_holds == 0


async def test_consumption_above_a_lost_hold_is_the_houses(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        ledger.hold(account_id, "req_1", 50, opening("req_1", account_id))
        ledger.progress([progress("req_1", 70)])
        assert ledger.expire((), 0) == ["req_1"]
        assert ledger.available_nanodollars(account_id) == USD - 50
        assert ledger.house_balances()["house:overrun"] == -20


async def test_every_sign_of_life_renews_a_hold(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        names = ["req_extended", "req_attempted", "req_progressed", "req_silent"]
        holds = {
            name: ledger.hold(account_id, name, 10, opening(name, account_id)) for name in names
        }
        mock_clock.jump(30)
        assert ledger.extend(holds["req_extended"], 1)
        ledger.attempt(holds["req_attempted"], AttemptRow(1, "sim", "sim-openai", 0))
        ledger.progress([progress("req_progressed", 5)])
        mock_clock.jump(30)
        assert ledger.expire((), 60_001) == []
        assert ledger.expire((), 60_000) == ["req_silent"]
        mock_clock.jump(30)
        assert ledger.expire((), 60_000) == names[:3]


async def test_what_is_noted_is_shown_until_the_end(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ledger.note(hold, begun.replace(outcome="client_left", state="settling"))
        ledger.progress([progress("req_1", 9)])

        running = ledger.running_receipt(account_id, "req_1")
        assert running is not None
        assert (running.outcome, running.state) == ("client_left", "settling")
        assert (running.received_output_tokens, running.delivered_output_tokens) == (9, 8)
        assert ledger.running_receipt("acct_other", "req_1") is None

        with pytest.raises(ValueError, match="another request or account"):
            ledger.note(hold, opening("req_2", account_id))
        with database_locked(path):
            ticket = ledger.void(hold, costs=[], receipt=completed(begun))
            ended = ledger.running_receipt(account_id, "req_1")
            assert ended is not None
            assert ended.outcome == "completed"
        with pytest.raises(ValueError, match="has ended"):
            ledger.note(hold, begun)
        await ledger.wait_durable(ticket)
        await assert_sound(ledger, path)


async def test_a_process_killed_after_a_note_is_recovered_as_any_other(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ledger.note(hold, begun.replace(outcome="client_left", state="settling"))
        ledger.progress([progress("req_1", 9)])
    async with open_ledger(settings_for(path)) as ledger:
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["outcome"] == "gateway_failed"
        assert receipt["price"]["nanodollars"] == 9
