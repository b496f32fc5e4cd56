"""A process that holds, progresses and settles until it is killed, and says what it was told.

Run as `python -m tests.engine.ledger.crash_child DATABASE ACCOUNT SEED`. A line is written only
after the ledger has acknowledged what it says: `held ID`, `settled ID POSTED`, `voided ID`. Lines
`progress ID CHARGE` are written before the progress is handed in.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import trio

from engine.ledger import AttemptRow, CostLine, Ledger, LedgerSettings, open_ledger
from engine.ledger.records import ProgressEntry
from tests.engine.ledger.samples import completed, opening, won

TASKS = 20


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def exchanges(ledger: Ledger, account_id: str, task: int, chance: random.Random) -> None:
    count = 0
    while True:
        count += 1
        request_id = f"req_{ledger.epoch}_{task}_{count}"
        begun = opening(request_id, account_id)
        hold = ledger.hold(account_id, request_id, 1_000, begun)
        await ledger.wait_durable(hold.ticket)
        say(f"held {request_id}")
        ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", begun.created_at_ms))
        charge = 0
        for _ in range(chance.randrange(6)):
            charge += chance.randrange(400)
            if charge > hold.amount_nanodollars:
                ledger.extend(hold, 1_000)
            say(f"progress {request_id} {charge}")
            ledger.progress(
                [
                    ProgressEntry(
                        request_id,
                        {"output_tokens": charge},
                        charge,
                        charge,
                        charge,
                        costs=(CostLine("sim", charge // 2),),
                    )
                ]
            )
            await trio.lowlevel.checkpoint()
        if chance.random() < 0.2:
            receipt = completed(begun, won()).replace(outcome="upstream_failed")
            await ledger.wait_durable(ledger.void(hold, costs=[], receipt=receipt))
            say(f"voided {request_id}")
        else:
            ticket = ledger.settle(
                hold,
                posted_nanodollars=charge,
                overrun_nanodollars=0,
                costs=[CostLine("sim", charge // 2)],
                receipt=completed(begun, won(charge, charge // 2)),
            )
            await ledger.wait_durable(ticket)
            say(f"settled {request_id} {charge}")


async def main(path: Path, account_id: str, seed: int) -> None:
    async with open_ledger(LedgerSettings(path)) as ledger, trio.open_nursery() as nursery:
        for task in range(TASKS):
            chance = random.Random(seed * TASKS + task)
            nursery.start_soon(exchanges, ledger, account_id, task, chance)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
