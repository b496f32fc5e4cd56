"""However a process ends: what it acknowledged is there, and nothing is that nobody owns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from engine.clock import wall_ms
from engine.errors import StoredFileNotFoundError
from tests.engine.storage.crash_child import LIMIT_BYTES, content
from tests.engine.storage.stores import ledger_with_account, open_store

EVENTS = range(1, 40, 4)
LONG_EVENTS = range(1, 120)


def moments(seed: int, kills: int) -> list[str]:
    chance = Random(seed)
    return [f"ms-{chance.uniform(0, 60):.6f}" for _ in range(kills)]


async def killed(folder: Path, whens: list[str]) -> None:
    """Let processes work in folders of their own and be killed, one after the other."""
    for when in whens:
        (folder / when).mkdir()
        async with ledger_with_account(folder / when, wall_ms):
            pass
    command = [sys.executable, "-m", "tests.engine.storage.crash_child", str(folder), *whens]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert done.returncode == 0, done.stderr


async def check_start(folder: Path) -> tuple[int, int]:
    """Start after a kill, twice; how many files it has said were stored, and how many removed."""
    lines = [line.split() for line in (folder / "said").read_text().splitlines()]
    stored_ids = {
        file_id: int(seed)
        for word, file_id, seed in (line for line in lines if line[0] == "stored")
    }
    removed_ids = {line[1] for line in lines if line[0] == "removed"}
    for _ in range(2):
        async with open_store(folder, clock=wall_ms, file_max_bytes=LIMIT_BYTES) as stored:
            await stored.check()
            known = await stored.ledger.file_sizes()
            assert stored.blobs() == sorted(known)
            assert len(known) <= len(stored_ids) - len(removed_ids) + 4, "of two tasks, in a step"
            for file_id, seed in stored_ids.items():
                try:
                    row = await stored.store.find(stored.account_id, file_id)
                except StoredFileNotFoundError:
                    # Removed, or that was under way: the second of its task, and its last.
                    assert file_id in removed_ids or seed >= 100_000
                else:
                    assert file_id not in removed_ids
                    assert await stored.store.read(row) == content(seed)
    return len(stored_ids), len(removed_ids)


async def test_killed_between_any_two_steps(
    tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    events = LONG_EVENTS if request.config.getoption("--long") else EVENTS
    whens = [f"event-{number}" for number in events]
    await killed(tmp_path, whens)
    seen = {await check_start(tmp_path / when) for when in whens}
    assert (0, 0) in seen, "before the first was whole"
    assert max(seen) >= (4, 1), "and late"
    assert "was lost" not in caplog.text, "no row came before what it names"


async def test_killed_at_any_time(
    tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    long = request.config.getoption("--long")
    whens = [*moments(11, 100 if long else 4), "ms-500"]  # the last, however slow the machine
    await killed(tmp_path, whens)
    seen = [await check_start(tmp_path / when) for when in whens]
    assert max(seen) > (0, 0)
    assert "was lost" not in caplog.text
