"""Vector stores, charged by the day: once, of what is above the free room, of whoever can pay."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from engine import open_gateway, parse_config
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import Receipt
from engine.store_meter import DAY_MS, LOOK_S, OPERATION, StoreMeter, request_id
from tests.clocks import HandClock, at
from tests.engine.upstream.peer import Request
from tests.gateways import CONFIG_FILE, DOLLAR, Setup
from tests.scripted import open_scripted

GIB = 2**30
STATE = """
[providers.keeper]
kind = "openai"
base_url = "$SIM/v1"
http2 = "prior-knowledge"
api_key = "file:$KEY"
[state]
prices = { gigabyte_days = 0.2 }
"""
DAY = at("2026-01-14 00:00") // DAY_MS
NOON = "2026-01-15 12:00"
CREDENTIAL = "0" * 16


def script(sizes: Mapping[str, int | str | None]) -> Any:
    """A provider that has stores of these sizes; a text is its answer, None: it has it no more."""

    async def answer(request: Request) -> None:
        path = dict(request.head)[b":path"].decode()
        found = re.fullmatch(r"/v1/vector_stores/(\w+)", path)
        assert found is not None, path
        size = sizes[found[1]]
        status = b"404" if size is None else b"500" if isinstance(size, str) else b"200"
        document = {"id": found[1], "object": "vector_store", "usage_bytes": size}
        body = orjson.dumps(document if status == b"200" else {"error": {"message": "No."}})
        request.connection.http2.send_headers(request.stream_id, [(b":status", status)])
        request.send(body, ended=True)

    return answer


def row(setup: Setup, store_id: str, created: str = "2026-01-01 00:00", **more: Any) -> OwnedRow:
    return OwnedRow(
        store_id,
        "vector_store",
        more.pop("account_id", setup.account_id),
        None,
        "keeper",
        CREDENTIAL,
        at(created),
    )


@asynccontextmanager
async def open_metered(
    folder: Path, sizes: Mapping[str, int | str | None], state: str = STATE, **options: Any
) -> AsyncIterator[Setup]:
    (folder / "key").write_text("sk-test")
    models = state.replace("$KEY", str(folder / "key"))
    options = {"clock": HandClock(NOON), **options}
    async with open_scripted(folder, script(sizes), models=models, **options) as setup:
        yield setup


def meter_of(setup: Setup) -> StoreMeter:
    return StoreMeter(setup.gateway._parts)


async def charged(setup: Setup, store: OwnedRow, day: int = DAY) -> int | None:
    """What was paid for a store; None: there is no receipt."""
    found = await setup.gateway.ledger.read_receipt(store.account_id, request_id(store, day))
    return None if found is None else Receipt.from_json(found).price_nanodollars


async def test_what_is_above_the_free_room_is_charged_once_a_day(tmp_path: Path) -> None:
    sizes = {"vs_first1": GIB // 2, "vs_second2": GIB, "vs_third3": GIB + 2**20 - 1}
    async with open_metered(tmp_path, sizes) as setup:
        stores = [row(setup, name) for name in sizes]
        await setup.gateway.ledger.own(stores)
        for _ in range(2):
            assert await meter_of(setup).meter(DAY)
        assert [await charged(setup, store) for store in stores] == [
            None,
            DOLLAR // 10,
            DOLLAR // 5,
        ]
        assert await setup.balance() == DOLLAR - 3 * DOLLAR // 10

        shown = await setup.gateway.ledger.read_receipt(
            setup.account_id, request_id(stores[1], DAY)
        )
        assert shown is not None
        assert shown["operation"] == OPERATION
        assert shown["client_request_id"] == "vs_second2"
        assert shown["usage"] == {"megabyte_days": 512}
        assert shown["cost"]["nanodollars"] == DOLLAR // 20, "what the provider charges"

        assert await meter_of(setup).meter(DAY + 1)
        assert await charged(setup, stores[1], DAY + 1) == DOLLAR // 10


async def test_what_was_not_there_all_day_or_is_no_more_costs_nothing(tmp_path: Path) -> None:
    sizes = {"vs_young1": 5 * GIB, "vs_gone22": None, "vs_deleted3": 5 * GIB}
    async with open_metered(tmp_path, sizes) as setup:
        young = row(setup, "vs_young1", "2026-01-14 00:00")
        gone, deleted = row(setup, "vs_gone22"), row(setup, "vs_deleted3")
        await setup.gateway.ledger.own([young, gone, deleted])
        await setup.gateway.ledger.disown(setup.account_id, "vs_deleted3")
        assert await meter_of(setup).meter(DAY)
        assert [await charged(setup, store) for store in (young, gone, deleted)] == [None] * 3


async def test_what_cannot_be_asked_for_is_asked_for_again(tmp_path: Path) -> None:
    sizes: dict[str, int | str | None] = {"vs_broken1": "no", "vs_well22": 2 * GIB}
    async with open_metered(tmp_path, sizes) as setup:
        stores = [row(setup, name) for name in sizes]
        await setup.gateway.ledger.own(stores)
        assert not await meter_of(setup).meter(DAY)
        assert [await charged(setup, store) for store in stores] == [None, DOLLAR // 5]
        sizes["vs_broken1"] = GIB + GIB // 2
        assert await meter_of(setup).meter(DAY)
        assert [await charged(setup, store) for store in stores] == [DOLLAR // 10, DOLLAR // 5]


async def test_an_account_without_funds_is_not_charged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = {"vs_poor11": 6 * GIB, "vs_poor22": GIB, "vs_rich33": 2 * GIB}
    async with open_metered(tmp_path, sizes, funds_nanodollars=DOLLAR // 10) as setup:
        rich = await setup.gateway.ledger.create_account("rich")
        await setup.gateway.ledger.fund(rich.account_id, DOLLAR, "rich")
        poor = [row(setup, "vs_poor11"), row(setup, "vs_poor22")]
        of_rich = row(setup, "vs_rich33", account_id=rich.account_id)
        await setup.gateway.ledger.own([*poor, of_rich])
        assert await meter_of(setup).meter(DAY)
        assert [await charged(setup, store) for store in poor] == [None, None]
        assert await charged(setup, of_rich) == DOLLAR // 5
        assert await setup.balance() == DOLLAR // 10
    assert "vs_poor11 is not covered" in caplog.text


async def test_a_store_may_cost_nothing(tmp_path: Path) -> None:
    async with open_metered(tmp_path, {"vs_large1": 9 * GIB}, STATE.replace("0.2", "0")) as setup:
        store = row(setup, "vs_large1")
        await setup.gateway.ledger.own([store])
        assert await meter_of(setup).meter(DAY)
        assert await charged(setup, store) == 0
        assert await setup.balance() == DOLLAR


async def test_each_day_is_metered_when_it_is_over(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1
    clock = HandClock("2026-01-15 23:55")
    async with open_metered(tmp_path, {"vs_kept11": 2 * GIB}, clock=clock) as setup:
        store = row(setup, "vs_kept11")
        await setup.gateway.ledger.own([store])
        for day, now in ((DAY, "2026-01-15 23:55"), (DAY + 1, "2026-01-16 00:05")):
            clock.set(now)
            await trio.testing.wait_all_tasks_blocked(0.1)  # it sleeps until it looks again
            mock_clock.jump(LOOK_S)
            with trio.fail_after(30):
                while await charged(setup, store, day) is None:  # noqa: ASYNC110 - it has no event
                    await trio.sleep(0.01)
        assert await charged(setup, store, DAY + 2) is None


async def test_a_restart_charges_no_day_twice(tmp_path: Path) -> None:
    async with open_metered(tmp_path, {"vs_kept11": 2 * GIB}) as setup:
        store = row(setup, "vs_kept11")
        await setup.gateway.ledger.own([store])
        assert await meter_of(setup).meter(DAY)
        config = parse_config((tmp_path / CONFIG_FILE).read_text(), CONFIG_FILE, {})
        left = await setup.balance()
    async with open_gateway(config, clock=HandClock(NOON)) as gateway:
        assert await gateway.ledger.stores_from_before(DAY * DAY_MS, ("", 0), 10) != []
        await StoreMeter(gateway._parts).meter(DAY)
        account = await gateway.ledger.account(store.account_id)
        assert account.balance_nanodollars == left == DOLLAR - DOLLAR // 5
