"""What it costs to admit a request, and what it takes to keep many keys and models in memory.

    python -m bench.admission_cost [--keys 100000] [--models 1000] [--requests 400] [--repeats 7]

One gateway in this process, with a ledger of its own, no listener and no provider. All requests of
a batch take one step after another, so that each is timed by itself; keys, accounts, addresses and
models are drawn at random (seeded), and limits are on the key and on the plan of its account.

- net: the address is counted; authenticate: the key's digest, its scope, its plan
- limits: a request, a slot and tokens are taken of four buckets, and given back at the end
- plan: the model, whether plan and key have it, what is switched off, the account's price
- hold: what the first slice costs, whether balance and budgets cover it, and the hold
- status: what is left of the limits, for the head of the answer; not a part of admission

Figures are CPU microseconds of the event loop's thread: the journal, which makes holds durable, has
a thread of its own. Parsing a body, and making the exchange it is for, are not in them.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import trio

from bench.start_cost import config_text
from engine import Config, Gateway, open_gateway, parse_config
from engine.admission.keys import digest, new_secret
from engine.admission.net import NetLimiter
from engine.admitting import Choice
from engine.clock import wall_ms
from engine.events import Call
from engine.exchange import Exchange
from engine.keyring import terms_of
from engine.ledger.records import TermsRow
from engine.metering.pricing import Rates
from engine.routing import values
from engine.rules import build_rules

GOAL_US: Final = 60.0
STEPS: Final = ("net", "authenticate", "limits", "plan", "hold")
SEED: Final = 1
_ACCOUNTS: Final = 100
"""Those with money; the other keys have accounts of their own kind, which nobody asks of."""
_FUNDS_NANODOLLARS: Final = 10**15
_TICK_S: Final = 0.001
_PLAN: Final = """
[plans.bench]
models = ["*"]
requests_per_min = 100_000_000
tokens_per_min = 100_000_000_000
concurrent_streams = 1_000_000
"""
_LIMITS: Final = {
    "requests_per_min": 10_000_000,
    "tokens_per_min": 10_000_000_000,
    "concurrent_streams": 100_000,
}
_TOKENS: Final = 2_500


def memory_bytes() -> int:
    """What this process has in memory now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Stand:
    """A gateway with all its keys, and those of them that ask."""

    gateway: Gateway
    net: NetLimiter
    secrets: list[str]
    models: list[str]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311

    def batch(self, size: int) -> list[Asked]:
        """So many requests."""
        return [
            Asked(
                self._address(), self.chance.choice(self.secrets), self.chance.choice(self.models)
            )
            for _ in range(size)
        ]

    def _address(self) -> str:
        return ".".join(str(self.chance.randrange(1, 250)) for _ in range(2)) + ".7.7"


@dataclass
class Asked:
    """One request, as far as admission looks at it."""

    address: str
    key: str
    model: str

    @property
    def call(self) -> Call:
        messages = [{"role": "user", "content": "Say something about admission."}]
        document = {"model": self.model, "stream": True, "messages": messages}
        return Call(body=orjson.dumps(document), key=None)


class Watch:
    """CPU microseconds of this thread, by step and request."""

    def __init__(self, requests: int) -> None:
        self.taken_us: dict[str, float] = {}
        self._requests = requests
        self._began_s = 0.0

    def begin(self) -> None:
        """A step begins."""
        self._began_s = time.thread_time()

    def end(self, step: str) -> None:
        """It was this one."""
        taken_us = (time.thread_time() - self._began_s) / self._requests * 1e6
        self.taken_us[step] = self.taken_us.get(step, 0.0) + taken_us


async def measure(stand: Stand, size: int) -> dict[str, float]:
    """One batch of requests."""
    gateway, parts = stand.gateway, stand.gateway._parts
    watch, batch = Watch(size), stand.batch(size)
    limiter = parts.limiter
    watch.begin()
    for asked in batch:
        stand.net.take(asked.address)
    watch.end("net")

    watch.begin()
    admitted = [gateway.identify(asked.key, "inference") for asked in batch]
    watch.end("authenticate")

    leases, slots = [], [limiter.slot(each.demand) for each in admitted]
    watch.begin()
    for each, slot in zip(admitted, slots, strict=True):
        await gateway.take_request(each)
        await slot.__aenter__()
        leases.append(await limiter.reserve_tokens(each.demand, _TOKENS))
    watch.end("limits")

    watch.begin()
    for each, asked in zip(admitted, batch, strict=True):
        Choice(parts, each)(values.Asked(asked.model))
    watch.end("plan")

    exchanges = []
    for each, asked in zip(admitted, batch, strict=True):
        choose, call = Choice(parts, each), asked.call
        prepared = await parts.prepare(call, choose)
        exchanges.append(Exchange(parts, call, each, choose, prepared, None))
    watch.begin()
    for exchange in exchanges:
        exchange._begin()
    watch.end("hold")

    watch.begin()
    for each in admitted:
        gateway.limit_status(each)
    watch.end("status")

    for exchange in exchanges:
        exchange.close()
    watch.begin()
    for lease, slot in zip(leases, slots, strict=True):
        lease.close(900)
        await slot.__aexit__(None, None, None)
    watch.end("limits")
    for exchange in exchanges:
        await exchange.wait_settled()
    return watch.taken_us


def _chats(model: values.Model[Rates]) -> bool:
    """What is asked for is a chat."""
    serves = (deployment.capabilities.serves for deployment in model.deployments)
    return all(each is None or "chat" in each for each in serves)


async def open_stand(stack: AsyncExitStack, options: argparse.Namespace, folder: Path) -> Stand:
    """Open the gateway, fill it with keys, and tell what they take in memory."""
    path = folder / "ledger.db"
    text = config_text(options.models, path) + _PLAN
    path.with_suffix(".toml").write_text(text)

    def read() -> Config:
        return parse_config(path.with_suffix(".toml").read_text(), "bench.toml", {"KEY": "none"})

    gateway = await stack.enter_async_context(open_gateway(read(), read=read))
    models = [name for name, model in gateway._parts.catalogue.items() if _chats(model)]
    secrets = await _add_keys(gateway, options.keys)
    return Stand(gateway, NetLimiter(1_000_000, 600), secrets, models)


async def _add_keys(gateway: Gateway, count: int) -> list[str]:
    """Keys as a start reads them, without the reading; the secrets of those that have funds."""
    keys, before = gateway._parts.keys, memory_bytes()
    for number in range(count):
        terms = terms_of(TermsRow(f"key {number}", limits=_LIMITS))
        keys.put(os.urandom(32), _new_id("key"), _new_id("acct"), terms)
    grown = memory_bytes() - before
    _tell("keys", f"{count:,} keys of as many accounts", f"{grown / 1e6:.1f} MB")

    secrets = []
    for number in range(_ACCOUNTS):
        account_id = (await gateway.ledger.create_account(f"bench {number}")).account_id
        await gateway.ledger.fund(account_id, _FUNDS_NANODOLLARS, f"bench {number}")
        keys.set_account(account_id, "bench", off=False)
        secrets.append(new_secret())
        terms = terms_of(TermsRow(f"asks {number}", limits=_LIMITS))
        keys.put(bytes.fromhex(digest(secrets[-1])), _new_id("key"), account_id, terms)
    return secrets


def _new_id(kind: str) -> str:
    return f"{kind}_{os.urandom(12).hex()}"


async def tell_buckets(gateway: Gateway, count: int) -> None:
    """What the limits of keys take in memory that have asked at least once."""
    entries = list(gateway._parts.keys._by_id.values())[:count]
    before = memory_bytes()
    for entry in entries:
        await gateway._parts.limiter.take_request(entry.demand(entry.terms.limits))
    grown = memory_bytes() - before
    scopes = 2 * len(entries)
    _tell(
        "buckets", f"{scopes:,} keys and accounts that have asked", f"{grown / scopes:.0f} B each"
    )


async def tell_reload(gateway: Gateway, repeats: int) -> None:
    """How long a reload takes, and how late it makes everybody else."""
    for kind in ("the same models", "other models"):
        took_ms, slowest_ms = [], []
        for number in range(repeats):
            late_ms = [0.0]
            if kind == "other models":
                _change_prices(gateway, number)
            done = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tick, done, late_ms)
                report = await gateway.reload()
                done.set()
            took_ms.append(float(report.took_ms))
            slowest_ms.append(max(late_ms))
        late = f"the loop late by at most {_middle(slowest_ms)} ms"
        _tell("reload", kind, f"{_middle(took_ms)} ms", late)


def _change_prices(gateway: Gateway, number: int) -> None:
    path = gateway.config.storage.path.with_suffix(".toml")
    text = path.read_text()
    path.write_text(text.replace(f"input = {number + 1},", f"input = {number + 2},"))


async def _tick(done: trio.Event, late_ms: list[float]) -> None:
    while not done.is_set():
        due_s = trio.current_time() + _TICK_S
        await trio.sleep_until(due_s)
        late_ms.append((trio.current_time() - due_s) * 1_000)


def tell_catalogue(gateway: Gateway, repeats: int) -> None:
    """What reading the configuration costs, and another generation of it in memory."""
    path = gateway.config.storage.path.with_suffix(".toml")
    text = path.read_text()

    def read() -> Config:
        return parse_config(text, "bench.toml", {"KEY": "none"})

    config = read()
    rules = build_rules(config, wall_ms)
    before = memory_bytes()
    kept = [build_rules(read(), wall_ms) for _ in range(3)]
    grown = (memory_bytes() - before) / len(kept)
    models = f"{len(rules.models):,} models"
    _tell("catalogue", models, f"{grown / 1e6:.1f} MB a generation")
    _tell("read", models, f"{_cpu_ms(read, repeats)} ms of CPU")
    _tell("build", models, f"{_cpu_ms(lambda: build_rules(config, wall_ms), repeats)} ms of CPU")
    again = _cpu_ms(lambda: build_rules(read(), wall_ms, rules), repeats)
    _tell("read and build again", models, f"{again} ms of CPU")


def _cpu_ms(run: Callable[[], object], repeats: int) -> str:
    taken_ms = []
    for _ in range(repeats):
        began_s = time.thread_time()
        run()
        taken_ms.append((time.thread_time() - began_s) * 1_000)
    return _middle(taken_ms)


def _middle(values: Sequence[float]) -> str:
    """The median, and the extremes."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _tell(*cells: str) -> None:
    sys.stdout.write("  ".join((f"{cells[0]:<22}", *cells[1:])) + "\n")
    sys.stdout.flush()


async def run(options: argparse.Namespace) -> None:
    """Measure everything, and print a line for each figure."""
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            stand = await open_stand(stack, options, Path(folder))
            gc.collect()
            gc.freeze()  # as a server does: no collection walks the keys
            await measure(stand, options.requests)  # what is made once is made
            batches = [await measure(stand, options.requests) for _ in range(options.repeats)]
            for step in STEPS:
                _tell(step, f"{_middle([batch[step] for batch in batches])} us")
            sums = [sum(batch[step] for step in STEPS) for batch in batches]
            _tell("together", f"{_middle(sums)} us", f"goal: at most {GOAL_US:.0f} us")
            _tell("status", f"{_middle([batch['status'] for batch in batches])} us")
            await tell_buckets(stand.gateway, options.keys)
            tell_catalogue(stand.gateway, options.repeats)
            await tell_reload(stand.gateway, options.repeats)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.admission_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=400, help="in a batch")
    parser.add_argument("--repeats", type=int, default=7)
    trio.run(run, parser.parse_args(arguments))


if __name__ == "__main__":
    main()
