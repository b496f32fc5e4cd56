"""The submit of a job, left by its client at every step: what a provider has taken is made, shown
and charged once, and what it has not costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from engine.ledger.job_rows import JobQuery
from tests.engine.jobs.makers import SECOND, open_studio
from tests.gateways import DOLLAR, settled

from .cancel_everywhere import CancelPoint, Whose, cancel_everywhere
from .quiet import count

SEED = 20_261_123


@pytest.mark.parametrize("model", ["film", "reel"])
async def test_every_step(
    tmp_path: Path, model: str, say: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    """Its own steps; between those of any task with `--long`."""
    whose: Whose = "any" if pytestconfig.getoption("--long") else "own"
    async with open_studio(tmp_path) as studio:
        gateway, book = studio.gateway, studio.book
        parts = gateway._parts

        async def ask() -> None:
            await studio.ask(studio.film("head_ms=5 end_polls=1", model=model))

        def quiet() -> bool:
            return not (parts.draining or book.open or gateway.open_exchanges)

        async def check(point: CancelPoint) -> None:
            await settled(quiet)
            # SQLite keeps descriptors of readers for a while: their list has them.
            await settled(lambda: count().tasks == tasks)
            assert gateway.ledger.statistics().open_holds == 0, point
            await book.wait_durable()
            taken = len(studio.sim.jobs)
            page = await gateway.jobs(studio.who, JobQuery(limit=100))
            assert len(page.jobs) == taken, point
            assert {view.state for view in page.jobs} <= {"succeeded"}, point
            assert await studio.balance() == 10 * DOLLAR - taken * 4 * SECOND, point

        await ask()
        await settled(quiet)
        await trio.testing.wait_all_tasks_blocked(0.01)
        tasks = count().tasks
        points = await cancel_everywhere(ask, check, seed=SEED, whose=whose)
        say(f"{points} cancel points, {len(studio.sim.jobs)} jobs, seed {SEED}")
        assert points >= 3  # how many there are depends on what has come when it is waited for
        assert 1 < len(studio.sim.jobs) <= 2 * points + 1
