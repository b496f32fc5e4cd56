"""Usage by day: what settlements and refunds add up to, however it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from engine.errors import InvalidRequestError
from engine.ledger import Ledger, ProgressEntry, open_ledger
from engine.ledger.records import UsageRow
from engine.ledger.usage_days import Dimension
from engine.ledger.windows import day_of
from tests.clocks import DAY_MS, HandClock
from tests.engine.ledger.samples import USD, completed, opening, raw_database, settings_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def spend(
    ledger: Ledger,
    account_id: str,
    request_id: str,
    amount: int,
    key: str | None,
    model: str,
    usage: Mapping[str, int] = MappingProxyType(
        {"input_tokens": 9, "cached_input_tokens": 4, "output_tokens": 20}
    ),
) -> None:
    begun = opening(request_id, account_id).replace(key_id=key, model=model)
    hold = ledger.hold(account_id, request_id, amount, begun)
    ticket = ledger.settle(
        hold,
        posted_nanodollars=amount,
        overrun_nanodollars=0,
        costs=[],
        receipt=completed(begun).replace(usage=dict(usage)),
    )
    await ledger.wait_durable(ticket)


async def test_usage_is_summed_up_as_it_is_asked_for(path: Path) -> None:
    clock = HandClock("2026-01-31 23:59")
    async with open_ledger(replace(settings_for(path), clock=clock)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        other_id = (await ledger.create_account("other")).account_id
        for each in (account_id, other_id):
            await ledger.fund(each, USD, f"first of {each}")
        first = day_of(clock.now_ms)
        await spend(ledger, account_id, "req_1", 100, "key_1", "gpt-5")
        await spend(ledger, account_id, "req_2", 200, "key_1", "gpt-5")
        await spend(ledger, account_id, "req_3", 300, None, "gpt-5")
        await spend(ledger, other_id, "req_4", 1_000, "key_9", "gpt-5")
        failed = opening("req_5", account_id).replace(outcome="upstream_failed")
        hold = ledger.hold(account_id, "req_5", 50, opening("req_5", account_id))
        ledger.void(hold, costs=[], receipt=failed)
        clock.now_ms += DAY_MS
        await spend(ledger, account_id, "req_6", 400, "key_1", "gpt-4")
        await ledger.refund("req_2", 30, "why", "r-1")

        async def rows(
            by: Sequence[Dimension], begin: int = first, end: int = first + 2
        ) -> list[UsageRow]:
            view = await ledger.usage(account_id, begin, end, by)
            assert view.complete_from_day == 0
            return list(view.rows)

        assert await rows(("day", "key", "model")) == [
            UsageRow(first, "", "gpt-5", 1, 9, 4, 20, 300, 0),
            UsageRow(first, "key_1", "gpt-5", 3, 18, 8, 40, 300, 30),
            UsageRow(first + 1, "key_1", "gpt-4", 1, 9, 4, 20, 400, 0),
        ]
        assert await rows(("day",)) == [
            UsageRow(first, None, None, 4, 27, 12, 60, 600, 30),
            UsageRow(first + 1, None, None, 1, 9, 4, 20, 400, 0),
        ]
        assert await rows(("model", "key"), end=first + 1) == [
            UsageRow(None, "", "gpt-5", 1, 9, 4, 20, 300, 0),
            UsageRow(None, "key_1", "gpt-5", 3, 18, 8, 40, 300, 30),
        ]
        assert await rows(()) == [UsageRow(None, None, None, 5, 36, 16, 80, 1_000, 30)]
        assert await rows((), begin=first + 2, end=first + 3) == []
        with pytest.raises(InvalidRequestError, match="366 days"):
            await ledger.usage(account_id, first, first + 367)
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_every_unit_is_summed_up(path: Path) -> None:
    """Images, sound and searches as tokens are, several requests of one group or of several."""
    clock = HandClock("2026-01-31 23:59")
    async with open_ledger(replace(settings_for(path), clock=clock)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        other_id = (await ledger.create_account("other")).account_id
        for each in (account_id, other_id):
            await ledger.fund(each, USD, f"first of {each}")
        first = day_of(clock.now_ms)
        drawn = {"input_tokens": 9, "output_tokens": 0, "images": 2, "reasoning_tokens": 0}
        await spend(ledger, account_id, "req_1", 100, "key_1", "dall-e-3", drawn)
        await spend(ledger, account_id, "req_2", 100, "key_1", "dall-e-3", {"images": 1})
        await spend(ledger, account_id, "req_3", 100, None, "tts-1", {"characters": 40})
        await spend(ledger, other_id, "req_4", 100, None, "tts-1", {"characters": 9_999})
        clock.now_ms += DAY_MS
        await spend(ledger, account_id, "req_5", 100, "key_1", "dall-e-3", {"images": 4})
        await spend(
            ledger, account_id, "req_6", 100, "key_1", "whisper-1", {"milliseconds": 61_500}
        )

        async def units(by: Sequence[Dimension], end: int = first + 2) -> list[Mapping[str, int]]:
            view = await ledger.usage(account_id, first, end, by)
            return [row.units for row in view.rows]

        assert await units(("day", "key", "model")) == [
            {"characters": 40}, {"images": 3}, {"images": 4}, {"milliseconds": 61_500},
        ]  # fmt: skip
        assert await units(("model",)) == [
            {"images": 7}, {"characters": 40}, {"milliseconds": 61_500},
        ]  # fmt: skip
        assert await units(("day",), end=first + 1) == [{"characters": 40, "images": 3}]
        assert await units(()) == [{"characters": 40, "images": 7, "milliseconds": 61_500}]
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
        with raw_database(path) as connection:
            connection.execute("UPDATE usage_units SET day = 7 WHERE unit = 'characters'")
        (found,) = [finding for finding in await ledger.audit() if not finding.ok]
        assert found.name.startswith("units are used in days")


async def test_what_is_recovered_is_used(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        await ledger.fund(account_id, USD, "first")
        ledger.hold(account_id, "req_1", 100, opening("req_1", account_id))
        used = {"output_tokens": 7, "images": 2, "milliseconds": 900}
        ledger.progress([ProgressEntry("req_1", used, 70, 7, 7)])
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.recovered_holds == 1
        today = day_of(ledger.clock())
        (row,) = (await ledger.usage(account_id, today - 1, today + 1, ())).rows
        assert row == UsageRow(
            None, None, None, 1, 0, 0, 7, 70, 0, {"images": 2, "milliseconds": 900}
        )
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert receipt["usage"] == used
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_a_refund_of_an_archived_request_is_of_no_model(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        await ledger.fund(account_id, USD, "first")
        await spend(ledger, account_id, "req_1", 100, "key_1", "gpt-5")
        today = day_of(ledger.clock())
        assert await ledger.archive(path.parent / "archive", ledger.clock() + DAY_MS)
        await ledger.refund("req_1", 40, "why", "r-1")
        view = await ledger.usage(account_id, today - 1, today + 1, ("model",))
        assert {row.model: (row.requests, row.refunded_nanodollars) for row in view.rows} == {
            "": (0, 40),
            "gpt-5": (1, 0),
        }
        assert view.complete_from_day == 0, "it was summed up before it was archived"
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_too_many_rows_are_refused(path: Path) -> None:
    async with open_ledger(settings_for(path)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        with raw_database(path) as connection:
            connection.execute(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n <= 10000)"
                " INSERT INTO usage_days SELECT ?, 1, 'key_' || n, 'm', 1, 0, 0, 0, 0, 0 FROM n",
                (account_id,),
            )
        with pytest.raises(InvalidRequestError, match="10000 rows"):
            await ledger.usage(account_id, 0, 2)
        (row,) = (await ledger.usage(account_id, 0, 2, ("day",))).rows
        assert row.requests == 10_001
