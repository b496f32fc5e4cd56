"""The wall clock may be set at any time: it dates what is written, and decides nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.clock import wall_ms
from engine.ledger.receipts import format_time
from tests.clocks import HOUR_MS, HandClock
from tests.gateways import charge, events, open_setup, run


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS], ids=["an hour ahead", "an hour back"])
async def test_a_clock_set_in_the_middle_of_a_stream_changes_its_dates_only(
    tmp_path: Path, step_ms: int
) -> None:
    clock = HandClock()
    arrived_ms = clock.now_ms
    async with open_setup(tmp_path, clock=clock) as setup:
        call = setup.call("tokens=300 tokens_per_second=600")
        async with setup.gateway.open_exchange(call) as exchange:
            await anext(exchange)
            clock.now_ms += step_ms
            async for _ in exchange:
                pass
        receipt = exchange.receipt
        assert receipt.created_at_ms == arrived_ms
        truth = setup.truth(exchange)
        assert receipt.price_nanodollars == charge(truth.input_tokens, 300)
        assert receipt.timings.settled_ms is not None
        assert 0 < receipt.timings.settled_ms < HOUR_MS  # durations are Trio's
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            dates = dict(connection.execute("SELECT kind, at_ms FROM hold_records"))
        assert dates["held"] == arrived_ms
        assert dates["posted"] == arrived_ms + step_ms

        translated = setup.call_of("openai_chat", "anthropic", "tokens=3")  # and it goes on
        body, receipt, error = await run(setup, translated)
        assert error is None
        assert events(body)[0]["created"] == (arrived_ms + step_ms) // 1_000
        stored = await setup.gateway.receipt(
            setup.gateway.authenticate(setup.key), receipt.request_id
        )
        assert stored["created_at"] == format_time(arrived_ms + step_ms)


def test_left_alone_it_is_the_systems() -> None:
    before = wall_ms()
    assert 1_767_000_000_000 < before <= wall_ms()
