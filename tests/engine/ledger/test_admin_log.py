"""Who did what: one row for each order, with what it did or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio

from engine.errors import InvalidRequestError, NotFoundError, UnavailableError
from engine.ledger import ConflictError, Ledger, ReconciliationLine
from engine.ledger.admin_log import DETAIL_MAX_BYTES, Order, ordered_by
from engine.ledger.records import LogRow
from tests.engine.ledger.samples import (
    completed,
    database_locked,
    funded_ledger,
    new_key,
    opening,
    raw_database,
    wait_until,
)

ALICE = Order("admin:alice", "192.0.2.7", "test", None, {"name": "x"})

Act = Callable[[Ledger, str, str], Awaitable[object]]

ACTS: dict[str, Act] = {
    "create an account": lambda ledger, account, key: ledger.create_account("new", plan="free"),
    "fund": lambda ledger, account, key: ledger.fund(account, 5, "second"),
    "refund": lambda ledger, account, key: ledger.refund("req_1", 5, "why", "r-1"),
    "adjust": lambda ledger, account, key: ledger.adjust(account, 5, "why", "a-1"),
    "reconcile": lambda ledger, account, key: ledger.reconcile(
        "sim", [ReconciliationLine(5, "why", "c-1")]
    ),
    "create a key": lambda ledger, account, key: ledger.create_key(account, "b", "digest b", "sk"),
    "change a key": lambda ledger, account, key: ledger.set_key_terms(
        key, lambda terms: replace(terms, name="c")
    ),
    "rotate a key": lambda ledger, account, key: ledger.rotate_key(key, "digest c", "sk", 0),
    "revoke a key": lambda ledger, account, key: ledger.revoke_key(key),
    "set a budget": lambda ledger, account, key: ledger.set_budget(account, key, "day", 5),
    "remove a budget": lambda ledger, account, key: ledger.remove_budget(account, None, "day"),
    "set a plan": lambda ledger, account, key: ledger.set_account_plan(account, "free"),
    "make a plan": lambda ledger, account, key: ledger.set_plan("pro", {}),
    "remove a plan": lambda ledger, account, key: ledger.remove_plan("old"),
    "set a price": lambda ledger, account, key: ledger.set_price("all", "", "gpt-5", {}),
    "remove a price": lambda ledger, account, key: ledger.remove_price("all", "", "gpt-4"),
    "switch off": lambda ledger, account, key: ledger.switch("key", key, off=True),
    "switch on": lambda ledger, account, key: ledger.switch("model", "gpt-4", off=False),
    "nothing of its own": lambda ledger, account, key: ledger.note_order(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def rows_of(ledger: Ledger) -> list[LogRow]:
    return list((await ledger.read_log(limit=200)).rows)


async def test_whatever_is_ordered_leaves_one_row(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 10, begun)
        ledger.settle(
            hold, posted_nanodollars=10, overrun_nanodollars=0, costs=[], receipt=completed(begun)
        )
        await ledger.set_budget(account_id, None, "day", 100)
        await ledger.set_plan("old", {})
        await ledger.set_price("all", "", "gpt-4", {})
        await ledger.switch("model", "gpt-4", off=True)
        with raw_database(path) as connection:
            connection.execute("INSERT INTO accounts VALUES ('provider:sim', 'provider', 'sim', 0)")
        assert await rows_of(ledger) == []
        for number, (action, act) in enumerate(ACTS.items()):
            key = await ledger.create_key(account_id, "a", f"digest {number}", "sk")
            with ordered_by(replace(ALICE, action=action)):
                await act(ledger, account_id, key.key_id)
                await ledger.note_order()
        rows = await rows_of(ledger)
        assert [row.action for row in reversed(rows)] == list(ACTS)
        assert {(row.actor, row.peer, row.detail["name"]) for row in rows} == {
            ("admin:alice", "192.0.2.7", "x")
        }
        subjects = {row.action: row.subject for row in rows if row.subject is not None}
        account = await ledger.account("new")
        assert set(subjects) == {"create an account", "create a key"}, "what had no name before"
        assert subjects["create an account"] == account.account_id
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_the_row_is_written_with_what_was_ordered_or_not_at_all(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        with ordered_by(ALICE):
            with pytest.raises(ConflictError):
                await ledger.create_account("demo")
            with pytest.raises(NotFoundError):
                await ledger.fund("acct_none", 5, "second")
            with database_locked(path), pytest.raises(UnavailableError):
                await ledger.fund(account_id, 5, "second")
            assert await rows_of(ledger) == []
            await ledger.fund(account_id, 5, "second")
        assert len(await rows_of(ledger)) == 1
        await ledger.fund(account_id, 5, "third")
        assert len(await rows_of(ledger)) == 1, "nobody had ordered that"


async def test_an_order_outlives_whoever_gave_it(path: Path) -> None:
    """A client that leaves: what it ordered is done, and logged."""
    async with funded_ledger(path) as (ledger, account_id):
        key = await new_key(ledger, account_id)
        told: list[object] = []
        ledger.follow(told.append)
        with trio.move_on_after(0), ordered_by(replace(ALICE, subject=key.key_id)):
            await ledger.revoke_key(key.key_id)
        await wait_until(lambda: len(told) == 2)
        (row,) = await rows_of(ledger)
        assert row.subject == key.key_id


async def test_what_goes_on_after_an_order_is_not_part_of_it(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id), trio.open_nursery() as nursery:
        done = trio.Event()

        async def later() -> None:
            await done.wait()
            await ledger.fund(account_id, 5, "second")

        with ordered_by(ALICE):
            nursery.start_soon(later)
            await ledger.read_log()
        done.set()
    with raw_database(path) as connection:
        assert connection.execute("SELECT count(*) FROM admin_log").fetchone() == (0,)


async def test_the_log_is_read_by_pages_by_subject_and_by_actor(path: Path) -> None:
    async with funded_ledger(path) as (ledger, _):
        for number in range(5):
            actor = ("cli:uid=0", "admin:alice")[number % 2]
            with ordered_by(Order(actor, None, "test", f"thing {number % 3}", {"n": number})):
                await ledger.note_order()

        async def numbers(cursor: str | None = None, **of: str) -> list[int]:
            page = await ledger.read_log(limit=2, cursor=cursor, **of)
            found = [row.detail["n"] for row in page.rows]
            return found if page.cursor is None else [*found, *await numbers(page.cursor, **of)]

        assert await numbers() == [4, 3, 2, 1, 0]
        assert await numbers(subject="thing 0") == [3, 0]
        assert await numbers(actor="cli:uid=0") == [4, 2, 0]
        assert await numbers(actor="cli:uid=0", subject="thing 1") == [4]
        for cursor in ("x", "-1", "", "9" * 30, "²"):
            with pytest.raises(InvalidRequestError, match="cursor"):
                await ledger.read_log(cursor=cursor)


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ({"name": "Zoë", "n": 1, "none": None}, {"name": "Zoë", "n": 1, "none": None}),
        ({"name": "\ud800"}, {"given": "{'name': '\\ud800'}"}),
        ({"name": "é" * 5_000}, None),
        ({"name": '"\\' * 3_000}, None),
    ],
)
async def test_the_detail_is_bounded_json(
    path: Path, detail: dict[str, object], shown: dict[str, object] | None
) -> None:
    async with funded_ledger(path) as (ledger, _):
        with ordered_by(Order("cli:\ud800", None, "test", "\ud800", detail)):
            await ledger.note_order()
        (row,) = await rows_of(ledger)
        assert (row.actor, row.subject) == ("cli:?", "?")
        assert len(orjson.dumps(row.detail)) <= DETAIL_MAX_BYTES
        if shown is None:
            assert str(row.detail["cut"]).startswith('{"name":"')
        else:
            assert row.detail == shown


async def test_the_log_stays_as_it_was_written(path: Path) -> None:
    async with funded_ledger(path) as (ledger, _):
        with ordered_by(ALICE):
            await ledger.note_order()
        with raw_database(path) as connection:
            for statement in ("UPDATE admin_log SET actor = 'nobody'", "DELETE FROM admin_log"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(statement)
