"""An answer in the background, left by its client at every step: what the provider has taken goes
on and is charged by what it reports, once; all else is not charged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from engine.errors import GatewayError
from tests.engine.jobs.background import open_keeper
from tests.engine.ledger.samples import raw_database, wait_until
from tests.faults.cancel_everywhere import CancelPoint, cancel_everywhere

SEED = 20_261_123
DOLLARS = 10**12


@pytest.mark.parametrize("stream", [False, True])
async def test_left_at_every_step(tmp_path: Path, say: Callable[[str], None], stream: bool) -> None:
    async with open_keeper(tmp_path, funds_nanodollars=DOLLARS) as keeper:
        gateway, charged = keeper.gateway, 0
        asked: list[str] = []

        async def ask() -> None:
            call = keeper.later("tokens=3 end_polls=1", stream=stream)
            asked.append(call.request_id)
            try:
                async with gateway.open_exchange(call) as exchange:
                    async for _ in exchange:
                        pass
            except GatewayError:
                return

        async def check(point: CancelPoint) -> None:
            nonlocal charged
            with trio.fail_after(20):
                await wait_until(
                    lambda: (
                        not keeper.book.open
                        and not gateway.open_exchanges
                        and not gateway._parts.draining
                        and gateway.ledger.statistics().open_holds == 0
                    )
                )
            await keeper.book.wait_durable()
            record = keeper.sim.truth.record(asked[-1])
            reported = None if record is None else record.usage_reported
            with raw_database(tmp_path / "ledger.db") as connection:
                posted = connection.execute(
                    "SELECT amount FROM hold_records WHERE request_id = ? AND kind = 'posted'",
                    (asked[-1],),
                ).fetchall()
            if reported is None:
                assert posted == [], point
            else:
                owed = reported["input_tokens"] * 1_000 + reported["output_tokens"] * 2_000
                assert posted == [(owed,)], point
                charged += 1

        points = await cancel_everywhere(ask, check, seed=SEED)
        say(f"{points} cancel points, {charged} charged, seed {SEED}")
        assert 1 < charged <= len(asked)
