"""Settlements a second of the ledger's journal, with and without a busy loop beside it.

Each worker takes a hold, records an attempt, waits until the hold is durable, settles, and waits
until the settlement is durable: what a request does. The busy loop is a task that computes for
a millisecond between checkpoints, so the event loop never idles and the journal's thread has to
fight for the interpreter. Rows are counted in the database, not assumed.

    python -m bench.journal [--seconds 3] [--repeats 3] [--workers 200 2000]
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from engine.ledger import (
    Attempt,
    AttemptRow,
    CostLine,
    Ledger,
    LedgerSettings,
    Receipt,
    open_ledger,
)

_TABLES = ("holds", "hold_records", "attempts", "transfers", "postings", "receipts")
_SLICE_S = 0.001


@dataclass(slots=True)
class Tally:
    """What one run has done."""

    settlements: int = 0
    waits_s: list[float] = field(default_factory=list)
    calls_s: float = 0.0
    """Time in `hold`, `attempt` and `settle`: what the event loop itself pays."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One run's result."""

    settlements_per_s: float
    rows_per_s: float
    group_records: float
    call_us: float
    wait_p50_ms: float
    wait_p99_ms: float


def _opening(account_id: str, request_id: str) -> Receipt:
    return Receipt(
        request_id=request_id,
        account_id=account_id,
        key_id="key_bench",
        created_at_ms=time.time_ns() // 1_000_000,
        operation="chat",
        protocol="openai_chat",
        stream=True,
        model="sim-openai",
        rates_picodollars={"input_tokens": 1_250_000, "output_tokens": 10_000_000},
    )


async def _work(ledger: Ledger, account_id: str, worker: int, tally: Tally, end_s: float) -> None:
    count = 0
    while time.perf_counter() < end_s:
        count += 1
        request_id = f"req_{time.time_ns():016x}{worker:06x}"
        began_s = time.perf_counter()
        opening = _opening(account_id, request_id)
        hold = ledger.hold(account_id, request_id, 25_000_000, opening)
        ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", opening.created_at_ms))
        held_s = time.perf_counter()
        await ledger.wait_durable(hold.ticket)
        durable_s = time.perf_counter()
        receipt = opening.replace(
            outcome="completed",
            provenance="reported",
            provider="sim",
            attempts=(
                Attempt(
                    1,
                    "sim",
                    "sim-openai",
                    200,
                    "completed",
                    cost_nanodollars=900,
                    price_nanodollars=2_150_000,
                ),
            ),
            usage={"input_tokens": 120, "output_tokens": 200},
            received_output_tokens=200,
            delivered_output_tokens=200,
        )
        ticket = ledger.settle(
            hold,
            posted_nanodollars=2_150_000,
            overrun_nanodollars=0,
            costs=[CostLine("sim", 900)],
            receipt=receipt,
        )
        settled_s = time.perf_counter()
        await ledger.wait_durable(ticket)
        tally.waits_s += (durable_s - held_s, time.perf_counter() - settled_s)
        tally.calls_s += held_s - began_s + settled_s - durable_s
        tally.settlements += 1


async def _compute() -> None:
    while True:
        end_s = time.perf_counter() + _SLICE_S
        while time.perf_counter() < end_s:
            pass
        await trio.lowlevel.checkpoint()


async def measure(path: Path, *, workers: int, seconds: float, busy: bool) -> Figures:
    """One run on a fresh database."""
    tally = Tally()
    async with open_ledger(LedgerSettings(path)) as ledger:
        account = await ledger.create_account("bench")
        await ledger.fund(account.account_id, 10**15, "bench")
        began_s = time.perf_counter()
        async with trio.open_nursery() as loop_nursery:
            if busy:
                loop_nursery.start_soon(_compute)
            async with trio.open_nursery() as nursery:
                for worker in range(workers):
                    end_s = began_s + seconds
                    nursery.start_soon(_work, ledger, account.account_id, worker, tally, end_s)
            took_s = time.perf_counter() - began_s
            loop_nursery.cancel_scope.cancel()
        journal = ledger.statistics()
        broken = [finding for finding in await ledger.audit() if not finding.ok]
        if broken:
            raise RuntimeError(f"the audit found {broken}")
    with sqlite3.connect(path) as connection:
        rows = sum(
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in _TABLES
        )
    waits_s = sorted(tally.waits_s)
    return Figures(
        settlements_per_s=tally.settlements / took_s,
        rows_per_s=rows / took_s,
        group_records=journal.committed_records / journal.groups,
        call_us=tally.calls_s / tally.settlements * 1e6,
        wait_p50_ms=waits_s[len(waits_s) // 2] * 1e3,
        wait_p99_ms=waits_s[len(waits_s) * 99 // 100] * 1e3,
    )


def _print_line(label: str, figures: Figures) -> None:
    sys.stdout.write(
        f"{label:<28}{figures.settlements_per_s:>10,.0f}{figures.rows_per_s:>10,.0f}"
        f"{figures.group_records:>10,.0f}{figures.call_us:>9.0f}"
        f"{figures.wait_p50_ms:>9.1f}{figures.wait_p99_ms:>9.1f}\n"
    )
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[50, 200, 2000])
    parser.add_argument(
        "--directory", type=Path, help="where the databases go (default: temporary)"
    )
    options = parser.parse_args(arguments)
    sys.stdout.write(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}\n")
    sys.stdout.write(
        f"{'':<28}{'settle/s':>10}{'rows/s':>10}{'in group':>10}{'call µs':>9}"
        f"{'p50 ms':>9}{'p99 ms':>9}\n"
    )
    for workers in options.workers:
        for busy in (False, True):
            label = f"{workers} workers, {'busy' if busy else 'idle'} loop"
            rates = []
            for _ in range(options.repeats):
                with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                    path = Path(directory) / "bench.db"
                    run = partial(
                        measure, path, workers=workers, seconds=options.seconds, busy=busy
                    )
                    figures = trio.run(run)
                _print_line(label, figures)
                rates.append(figures.rows_per_s)
            median = statistics.median(rates)
            sys.stdout.write(f"{label}: median {median:,.0f} durable rows/s\n")


if __name__ == "__main__":
    main()
