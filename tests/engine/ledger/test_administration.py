"""Accounts, funding and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.errors import NotFoundError, UnavailableError
from engine.ledger import ConflictError, open_ledger
from tests.engine.ledger.samples import (
    USD,
    completed,
    database_locked,
    funded_ledger,
    opening,
    replay,
    settings_for,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_an_account_is_found_by_its_id_and_by_its_name(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        assert await ledger.accounts() == []
        first = await ledger.create_account("first")
        second = await ledger.create_account("second")
        assert (first.name, first.balance_nanodollars) == ("first", 0)
        assert await ledger.accounts() == sorted(
            [first, second], key=lambda each: (each.created_at_ms, each.account_id)
        )
        assert await ledger.account(first.account_id) == first
        assert await ledger.account("second") == second
        for unknown in ("third", "house:revenue", ""):
            with pytest.raises(NotFoundError):
                await ledger.account(unknown)
        with pytest.raises(ConflictError, match="'first'"):
            await ledger.create_account("first")
        with pytest.raises(ValueError, match="name"):
            await ledger.create_account("  ")


async def test_an_account_shows_what_is_held(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        ledger.hold(account_id, "req_1", 400, opening("req_1", account_id))
        account = await ledger.account(account_id)
        assert account.balance_nanodollars == USD
        assert account.held_nanodollars == 400
        assert account.available_nanodollars == USD - 400
        assert ledger.statistics().held_nanodollars == 400
        assert ledger.statistics().open_holds == 1


async def test_funding_is_idempotent_by_its_reference(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        other_id = (await ledger.create_account("other")).account_id

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ledger.fund, account_id, USD, "invoice 1")
        assert ledger.available_nanodollars(account_id) == USD
        assert (await ledger.fund(account_id, 5, "invoice 2")).balance_nanodollars == USD + 5
        with pytest.raises(ConflictError):
            await ledger.fund(account_id, USD + 1, "invoice 1")
        with pytest.raises(ConflictError):
            await ledger.fund(other_id, USD, "invoice 1")
        assert ledger.balances()["house:funding"] == -USD - 5
        assert ledger.balances() == replay(path)
    async with open_ledger(settings_for(path)) as ledger:
        await ledger.fund(account_id, USD, "invoice 1")
        assert ledger.available_nanodollars(account_id) == USD + 5


async def test_funding_that_makes_no_sense_is_refused(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        before = ledger.balances()
        for amount in (0, -5):
            with pytest.raises(ValueError, match="amount"):
                await ledger.fund(account_id, amount, "invoice 2")
        with pytest.raises(ValueError, match="reference"):
            await ledger.fund(account_id, 5, "")
        for unknown in ("acct_none", "house:revenue"):
            with pytest.raises(NotFoundError):
                await ledger.fund(unknown, 5, "invoice 3")
        assert ledger.balances() == before == replay(path)


async def test_funding_is_spendable_only_once_it_is_durable(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        with database_locked(path), pytest.raises(UnavailableError, match="locked"):
            await ledger.fund(account_id, 5, "invoice 2")
        assert ledger.available_nanodollars(account_id) == USD
        await ledger.fund(account_id, 5, "invoice 2")
        assert ledger.available_nanodollars(account_id) == USD + 5


async def test_a_cancelled_funding_leaves_books_and_database_equal(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        with trio.move_on_after(0):
            await ledger.fund(account_id, 5, "invoice 2")
        await ledger.fund(account_id, 5, "invoice 2")
        assert ledger.available_nanodollars(account_id) == USD + 5
        assert ledger.balances() == replay(path)


async def test_keys_are_known_by_their_digest(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        laptop = await ledger.create_key(account_id, "laptop", "digest-1", "sk-parshall-ab")
        server = await ledger.create_key(account_id, "server", "digest-2", "sk-parshall-cd")
        other_id = (await ledger.create_account("other")).account_id
        other = await ledger.create_key(other_id, "laptop", "digest-3", "sk-parshall-ef")
        with pytest.raises(ConflictError):
            await ledger.create_key(account_id, "again", "digest-1", "sk-parshall-ab")
        with pytest.raises(NotFoundError):
            await ledger.create_key("acct_none", "lost", "digest-4", "sk-parshall-gh")

        revoked = await ledger.revoke_key(laptop.key_id)
        assert revoked.revoked_at_ms is not None
        assert await ledger.revoke_key(laptop.key_id) == revoked, "again changes nothing"
        with pytest.raises(NotFoundError):
            await ledger.revoke_key("key_none")

        def by_id(key: object) -> str:
            return str(key)

        assert sorted(await ledger.keys(account_id), key=by_id) == sorted(
            [revoked, server], key=by_id
        )
        assert len(await ledger.keys()) == 3
        assert await ledger.keys(other_id) == [other]
    async with open_ledger(settings_for(path)) as ledger:
        assert await ledger.keys(other_id) == [other]


async def test_readers_are_not_held_up_by_a_stalled_commit(path: Path) -> None:
    async with funded_ledger(path, barrier_timeout_s=0.5) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 10, begun)
        ticket = ledger.settle(
            hold, posted_nanodollars=5, overrun_nanodollars=0, costs=[], receipt=completed(begun)
        )
        await ledger.wait_durable(ticket)
        with database_locked(path):
            ledger.hold(account_id, "req_2", 10, opening("req_2", account_id))
            assert await ledger.read_receipt(account_id, "req_1") is not None
            assert len(await ledger.accounts()) == 1
            findings = await ledger.audit()
        assert all(finding.ok for finding in findings)
        assert findings[-1].detail == "not compared: records are on their way"
