"""Receipts of an account, a page at a time: every one of its own once, whatever chooses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidRequestError
from engine.ledger import Ledger, Receipt
from engine.ledger.receipt_lists import ReceiptQuery, list_receipts
from tests.engine.ledger.samples import completed, database_locked, funded_ledger, opening

START_MS = 1_767_323_045_678
MODELS = ("gpt-5", "claude", "gemini")
KEYS = ("key_1", "key_2")


def opened(number: int, account_id: str) -> Receipt:
    """A request of its own moment, model and key."""
    return opening(f"req_{number:03d}", account_id).replace(
        created_at_ms=START_MS + number * 1_000,
        model=MODELS[number % 3],
        key_id=KEYS[number % 2],
    )


async def fill(ledger: Ledger, account_id: str, numbers: range) -> None:
    """Requests that have ended, durably."""
    for number in numbers:
        receipt = opened(number, account_id)
        hold = ledger.hold(account_id, receipt.request_id, 1_000, receipt)
        ended = completed(receipt)
        if number % 5 == 0:
            ended = ended.replace(outcome="client_left")
        ticket = ledger.settle(
            hold, posted_nanodollars=10, overrun_nanodollars=0, costs=(), receipt=ended
        )
    await ledger.wait_durable(ticket)


async def pages(ledger: Ledger, account_id: str, **query: Any) -> list[list[str]]:
    """The ids of every page, to the last one."""
    found, cursor = [], None
    for _ in range(100):
        page = await ledger.list_receipts(account_id, ReceiptQuery(**query, cursor=cursor))
        found.append([receipt["request_id"] for receipt in page.receipts])
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("the pages do not end")


async def test_the_newest_come_first_and_pages_go_on_where_the_last_ended(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        await fill(ledger, account_id, range(25))
        found = await pages(ledger, account_id, limit=10)
        assert [len(page) for page in found] == [10, 10, 5]
        ids = [request_id for page in found for request_id in page]
        assert ids == [f"req_{number:03d}" for number in reversed(range(25))]


async def test_nobody_sees_the_receipts_of_another_account(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        other = await ledger.create_account("other")
        await ledger.fund(other.account_id, 10_000, "second")
        await fill(ledger, account_id, range(3))
        await fill(ledger, other.account_id, range(3, 5))
        running = opened(9, other.account_id)
        hold = ledger.hold(other.account_id, running.request_id, 10, running)
        assert await pages(ledger, account_id) == [["req_002", "req_001", "req_000"]]
        mine = await pages(ledger, other.account_id)
        assert mine == [["req_009", "req_004", "req_003"]]
        with pytest.raises(InvalidRequestError):
            await ledger.list_receipts(account_id, ReceiptQuery(cursor="req_003"))
        ledger.void(hold, costs=(), receipt=completed(running))


async def test_what_runs_and_what_settles_is_on_the_first_page(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        await fill(ledger, account_id, range(3))
        holds = [
            ledger.hold(account_id, each.request_id, 10, each)
            for each in (opened(number, account_id) for number in (5, 6, 7))
        ]
        with database_locked(path):
            ended = ledger.void(holds[0], costs=(), receipt=completed(opened(5, account_id)))
            found = await ledger.list_receipts(account_id, ReceiptQuery(state="settling"))
            assert [each["request_id"] for each in found.receipts] == ["req_005"]
            assert found.cursor is None
        await ledger.wait_durable(ended)
        assert await pages(ledger, account_id, state="running") == [["req_007", "req_006"]]
        assert await pages(ledger, account_id, limit=2) == [
            ["req_007", "req_006"],
            ["req_005", "req_002"],
            ["req_001", "req_000"],
        ]
        for number, hold in zip((6, 7), holds[1:], strict=True):
            ledger.void(hold, costs=(), receipt=completed(opened(number, account_id)))


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "key_id": st.sampled_from([*KEYS, "key_9"]),
        "model": st.sampled_from([*MODELS, "other"]),
        "outcome": st.sampled_from(["completed", "client_left", "running"]),
        "state": st.sampled_from(["settled", "running"]),
        "from_ms": st.integers(0, 30).map(lambda n: START_MS + n * 1_000),
        "to_ms": st.integers(0, 30).map(lambda n: START_MS + n * 1_000),
        "limit": st.integers(1, 9),
    },
)


async def test_any_filters_choose_as_a_loop_over_all_would(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with funded_ledger(path) as (ledger, account_id):
        await fill(ledger, account_id, range(30))

    @settings(deadline=None, max_examples=60, database=None)
    @given(query=FILTERS, scanned_max=st.sampled_from([1, 4, 1_000]))
    def check(query: dict[str, Any], scanned_max: int) -> None:
        asked = ReceiptQuery(**query)
        wanted = [
            receipt.request_id
            for receipt in (opened(number, account_id) for number in reversed(range(30)))
            if asked.takes(
                receipt.replace(
                    state="settled",
                    outcome="completed" if int(receipt.request_id[4:]) % 5 else "client_left",
                )
            )
        ]
        found: list[str] = []
        cursor = None
        for _ in range(100):
            page = list_receipts(
                path, account_id, ReceiptQuery(**query, cursor=cursor), [], scanned_max
            )
            assert len(page.receipts) <= asked.limit
            found += [receipt["request_id"] for receipt in page.receipts]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == wanted

    check()


async def test_a_cursor_that_is_none_is_refused(tmp_path: Path) -> None:
    async with funded_ledger(tmp_path / "ledger.db") as (ledger, account_id):
        for cursor in ("", "req_unknown", "0", "x" * 1_000):
            with pytest.raises(InvalidRequestError) as refused:
                await ledger.list_receipts(account_id, ReceiptQuery(cursor=cursor))
            assert refused.value.param == "cursor"
