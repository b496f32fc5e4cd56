"""Processes that store and remove files until they are killed, and say what they were told.

Run as `python -m tests.engine.storage.crash_child FOLDER WHEN…`: for each WHEN a process of its own
works in `FOLDER/WHEN`, where a ledger with an account is. `event-7` kills itself just before the
seventh thing that it asks of the file system or the database once the store is open; `ms-12.5`
is killed after so many milliseconds. Lines are written to `FOLDER/WHEN/said` once the store has
acknowledged what they say: `stored ID SEED`, `removed ID`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import trio

from engine.clock import wall_ms
from engine.storage.blobs import WRITTEN_BYTES
from tests.engine.storage.stores import Stored, open_store

LIMIT_BYTES = 100_000_000
EVENTS = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "sqlite3.connect"})
"""What audit hooks are told of before it happens. Writes, syncs and commits lie between."""


def content(seed: int) -> bytes:
    """Of a file: from nothing to four times of what is written at once."""
    chance = Random(seed)
    return chance.randbytes(chance.choice([0, 10, 5_000, WRITTEN_BYTES, 2 * WRITTEN_BYTES + 1]))


async def work(stored: Stored, said: int, rounds: int) -> None:
    """Two files come, and one of them goes, several at once and again and again."""

    async def come_and_go(task: int) -> None:
        for number in range(rounds):
            for seed in (4 * number + task, 100_000 + 4 * number + task):
                row = await stored.put(content(seed), f"{seed}")
                os.write(said, f"stored {row.file_id} {seed}\n".encode())
            await stored.store.delete(stored.account_id, row.file_id)
            os.write(said, f"removed {row.file_id}\n".encode())

    async with trio.open_nursery() as nursery:
        for task in range(2):
            nursery.start_soon(come_and_go, task)


async def until_killed(folder: Path, event: int | None) -> None:
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with open_store(folder, clock=wall_ms, file_max_bytes=LIMIT_BYTES) as stored:
        stored.limit_bytes = LIMIT_BYTES
        if event is None:
            os.write(said, b"open\n")
            await work(stored, said, 1_000)
        else:
            kill_before(event)
            await work(stored, said, 2)
            os.kill(os.getpid(), signal.SIGKILL)


def kill_before(event: int) -> None:
    left = event

    def hook(name: str, _arguments: object) -> None:
        nonlocal left
        if name in EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run(folder: Path, when: str) -> None:
    """One process to its end, which is always the same."""
    kind, _, amount = when.partition("-")
    process = os.fork()
    if process == 0:
        trio.run(until_killed, folder / when, int(amount) if kind == "event" else None)
        os._exit(1)
    if kind == "ms":
        while not (folder / when / "said").exists() or not (folder / when / "said").stat().st_size:
            time.sleep(0.001)
        time.sleep(float(amount) / 1_000)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    for each in sys.argv[2:]:
        run(Path(sys.argv[1]), each)
