"""What open jobs cost, and how soon their ends are known: CPU a poll and a second, and the delays.

    python -m bench.jobs_load [--jobs 10000] [--poll-max-s 30 5] [--spread-s 60]

A gateway with so many open jobs at a simulated provider in a process of its own, whose jobs end one
after another over `--spread-s` seconds. The CPU seconds are those of the gateway's process, from
the last submit to the last notice: polls, records, settlements, webhooks. The delays are from the
moment that the provider had made a thing to that when it was settled here, and to that when its
account's receiver had been told, which is a process too; all clocks are the machine's.

CPU figures hold on a busy machine, within limits. Delays do not: take them on a quiet one.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from bench.receiver import RunningReceiver, running_receiver
from bench.simulate.process import RunningSimulator, running_simulator
from engine import Call, Gateway, open_gateway, parse_config
from engine.ledger.job_rows import JobView

_CLIENTS: Final = 32
_ACCOUNTS: Final = 16
_SEED: Final = 20_261_123
_CONFIG: Final = """
[storage]
url = "sqlite:{database}"
[jobs]
poll_min_s = {poll_min_s}
poll_max_s = {poll_max_s}
open_per_account_max = 1000000
[egress]
http = true
ports = [{port}]
private = ["127.0.0.1"]
[providers.films]
protocol = "openai"
base_url = "{base_url}/v1"
http2 = "prior-knowledge"
[providers.films.jobs.video]
like = "openai"
[models.reel]
deployments = [{{ provider = "films", model = "sora-2" }}]
price = {{ seconds = 0.1 }}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Of one interval of polls."""

    poll_max_s: float
    polls: int
    took_s: float
    cpu_s: float
    settled_s: tuple[float, ...]
    told_s: tuple[float, ...]

    def row(self) -> str:
        """For people."""
        settled, told = _percentiles(self.settled_s), _percentiles(self.told_s)
        return (
            f"{self.poll_max_s:>10g} {self.polls:>8} {self.polls / self.took_s:>9.0f}"
            f" {1e6 * self.cpu_s / self.polls:>10.0f} {100 * self.cpu_s / self.took_s:>7.1f} %"
            f" {settled[0]:>8.1f} {settled[1]:>6.1f} {told[0]:>8.1f} {told[1]:>6.1f}"
        )


def _percentiles(delays_s: Sequence[float]) -> tuple[float, float]:
    """The median, and the 99th."""
    ordered = sorted(delays_s)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]


async def _submit(
    gateway: Gateway, keys: Sequence[str], url: str, jobs: int, spread_s: float
) -> None:
    chance, numbers = random.Random(_SEED), iter(range(jobs))  # noqa: S311 - spreads load
    fill_s = jobs / 100  # a bound on how long it takes to ask for all of them

    async def client() -> None:
        for number in numbers:
            end_s = fill_s + chance.random() * spread_s
            prompt = f"#sim end_polls=0 end_s={end_s:.3f}\nCat {number}."
            asked = {"model": "reel", "prompt": prompt, "seconds": 4, "webhook_url": url}
            key = keys[number % len(keys)]
            call = Call(body=orjson.dumps(asked), key=key, protocol="openai", operation="video")
            async with gateway.open_exchange(call) as exchange:
                async for _ in exchange:
                    pass

    async with trio.open_nursery() as nursery:
        for _ in range(_CLIENTS):
            nursery.start_soon(client)


async def _run(
    sim: RunningSimulator,
    receiver: RunningReceiver,
    folder: Path,
    jobs: int,
    polls_s: tuple[float, float],
    spread_s: float,
) -> Run:
    poll_min_s, poll_max_s = polls_s
    text = _CONFIG.format(
        database=folder / "ledger.db",
        base_url=sim.base_url,
        poll_min_s=poll_min_s,
        poll_max_s=poll_max_s,
        port=receiver.port,
    )
    settled_s: dict[str, float] = {}
    ids: dict[str, str] = {}
    async with open_gateway(parse_config(text, "bench.toml", {})) as gateway:
        keys = [await _open_account(gateway, number) for number in range(_ACCOUNTS)]
        done = trio.Event()
        book = gateway._parts.jobs

        def told(view: JobView, _: object) -> None:
            assert view.acceptance is not None, "it was taken"
            settled_s[view.acceptance.provider_job_id] = time.monotonic()
            ids[view.row.job_id] = view.acceptance.provider_job_id
            if len(settled_s) == jobs:
                done.set()

        book.follow(told)
        await _submit(gateway, keys, receiver.url, jobs, spread_s)
        polls, began_s, cpu_s = book.polls, time.monotonic(), time.process_time()
        await done.wait()
        await trio.to_thread.run_sync(receiver.wait, jobs)
        cpu_s, took_s = time.process_time() - cpu_s, time.monotonic() - began_s
        polls = book.polls - polls
    made: list[dict[str, Any]] = await trio.to_thread.run_sync(sim.jobs)
    told_s = {ids[job_id]: at_s for job_id, at_s in receiver.stop().items()}
    made_s = {job["id"]: job["succeeded_monotonic_s"] for job in made if job["id"] in told_s}
    if len(made_s) < jobs:
        raise RuntimeError(f"{jobs - len(made_s)} of {jobs} jobs were told of to nobody")
    return Run(
        poll_max_s,
        polls,
        took_s,
        cpu_s,
        tuple(settled_s[each] - at_s for each, at_s in made_s.items()),
        tuple(told_s[each] - at_s for each, at_s in made_s.items()),
    )


async def _open_account(gateway: Gateway, number: int) -> str:
    """Its key."""
    account = await gateway.ledger.create_account(f"bench-{number}")
    await gateway.ledger.fund(account.account_id, 10**15, f"first of {number}")
    _, key = await gateway.create_key(account.account_id, "bench")
    return key


def main(argv: Sequence[str]) -> int:
    """Measure, and say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--poll-max-s", type=float, nargs="+", default=[30.0, 5.0])
    parser.add_argument("--poll-min-s", type=float, default=2.0)
    parser.add_argument("--spread-s", type=float, default=60.0)
    arguments = parser.parse_args(argv)
    say = sys.stdout.write
    say(f"{arguments.jobs} open jobs, Python {platform.python_version()}\n")
    say("poll_max_s    polls   polls/s    µs/poll      CPU  settled p50, p99 told p50, p99 (s)\n")
    for poll_max_s in arguments.poll_max_s:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_simulator(None) as sim,
            running_receiver() as receiver,
        ):
            polls_s, spread_s = (arguments.poll_min_s, poll_max_s), arguments.spread_s
            jobs = arguments.jobs
            run = trio.run(_run, sim, receiver, Path(folder), jobs, polls_s, spread_s)
        say(run.row() + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
