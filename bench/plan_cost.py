"""What it costs to plan a request, and to note how an attempt went.

    python -m bench.plan_cost [--deployments 1000] [--plans 2000] [--repeats 7]

No network and no gateway: a model with so many deployments, whose weights, costs and attempts under
way are drawn at random (seeded), planned by each strategy, and once more where sessions are kept
together. Each time the model

- one: has a single deployment
- many: has all of them, which are well
- switched: has all of them, and something else is switched off
- broken: has all of them, but only the last three have no open breaker

Beside it what an attempt leaves behind: that it has begun, its head, its first output, its end.
Figures are CPU microseconds of one thread.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, get_args

from engine.admission.switches import Switches
from engine.routing.health import HealthBook
from engine.routing.plan import plan
from engine.routing.ring import digest_of
from engine.routing.values import Asked, Deployment, Model, Plan, Strategy
from engine.wire.http import Headers

GOAL_US: Final = 60.0
"""Of the dearest plan and what an attempt leaves behind: no more than all of admission may take."""
CASES: Final = ("one", "many", "switched", "broken")
SEED: Final = 1
_NAME: Final = "bench"
_NOW: Final = 1_000.0
_LEFT: Final = 3
_SESSIONS: Final = 64
_BUSY_MAX: Final = 20
_HEAD: Final[Headers] = [
    (b":status", b"200"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"date", b"Sun, 22 Nov 2026 12:00:00 GMT"),
    (b"openai-processing-ms", b"180"),
    (b"x-request-id", b"req_0123456789abcdef0123456789abcdef"),
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-remaining-tokens", b"1999000"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"30ms"),
]


class Stand:
    """A model, how its deployments do, and what is switched off."""

    def __init__(self, strategy: Strategy, deployments: int, *, sticky: bool = False) -> None:
        chance = random.Random(SEED)  # noqa: S311
        self.rows = tuple(
            Deployment(
                provider=f"provider-{number}",
                upstream_model="model",
                cost=0,
                encoding="o200k_base",
                weight=chance.randint(1, 10),
                rank_cost=chance.randint(1, 1_000),
            )
            for number in range(deployments)
        )
        model = Model(_NAME, 0, self.rows, strategy=strategy, sticky="session" if sticky else "off")
        self.models: Mapping[str, Model[int]] = {_NAME: model}
        self.book = HealthBook(draw=chance.random)
        self.off = Switches()
        self._asked = [
            Asked(_NAME, session=digest_of(f"session {number}"), expected_input_tokens=1_000)
            for number in range(_SESSIONS)
        ]
        for row in self.rows:
            health = self.book.of(row)
            health.busy = chance.randrange(_BUSY_MAX)
            health.latency.note(_NOW - 1, chance.random())

    def switch_off_another(self) -> None:
        """Something that the model does not have."""
        self.off.turn("provider", "elsewhere", off=True, reason="an outage")

    def break_most(self) -> None:
        """All but the last few have failed too often."""
        for row in self.rows[:-_LEFT]:
            breaker = self.book.of(row).breaker
            for _ in range(breaker.rules.failures):
                breaker.failed(_NOW, breaker.begin(_NOW))

    def plan(self, number: int) -> Plan[int]:
        """The plan for one request."""
        asked = self._asked[number % _SESSIONS]
        draw = self.book.draw
        return plan(asked, self.models, _everybody, self.off, self.book, _NOW, draw)

    def plan_all(self, count: int) -> None:
        """So many requests."""
        for number in range(count):
            self.plan(number)

    def attempt_all(self, count: int) -> None:
        """So many attempts at whom a plan has first."""
        candidate = self.plan(0).candidates[0]
        for number in range(count):
            now = _NOW + number * 0.001
            visit = self.book.begin(candidate, now, tokens=1_000)
            assert visit is not None, "it is well"
            visit.answered(_HEAD, now, 0)
            visit.generated(now)
            visit.close(now)


def _everybody(_name: str) -> bool:
    return True


def stands(strategy: Strategy, deployments: int, *, sticky: bool) -> Iterator[tuple[str, Stand]]:
    """One for each case."""
    for case in CASES:
        stand = Stand(strategy, 1 if case == "one" else deployments, sticky=sticky)
        if case == "switched":
            stand.switch_off_another()
        elif case == "broken":
            stand.break_most()
        yield case, stand


def cpu_us(run: Callable[[int], None], count: int, repeats: int) -> list[float]:
    """CPU microseconds for each of so many, once a repeat."""
    run(count)  # what is made once is made
    taken_us = []
    for _ in range(repeats):
        began_s = time.thread_time()
        run(count)
        taken_us.append((time.thread_time() - began_s) / count * 1e6)
    return taken_us


def _tell(name: str, taken_us: Sequence[float], remark: str = "") -> float:
    middle = statistics.median(taken_us)
    extremes = f"({min(taken_us):.2f} to {max(taken_us):.2f})"
    sys.stdout.write(f"{name:<24}{middle:8.2f} {extremes} us{remark}\n")
    sys.stdout.flush()
    return middle


def run(deployments: int, plans: int, repeats: int) -> None:
    """Measure everything, and print a line for each figure."""
    dearest_us = 0.0
    rows = [(strategy, strategy, False) for strategy in get_args(Strategy)]
    for name, strategy, sticky in (*rows, ("sticky", "weighted", True)):
        for case, stand in stands(strategy, deployments, sticky=sticky):
            count = plans if case != "broken" else max(1, plans // 10)
            middle_us = _tell(f"{name}, {case}", cpu_us(stand.plan_all, count, repeats))
            if case == "many":
                dearest_us = max(dearest_us, middle_us)
    attempts = Stand("weighted", deployments)
    middle_us = _tell("an attempt", cpu_us(attempts.attempt_all, plans, repeats))
    goal = f", goal: at most {GOAL_US:.0f} us"
    _tell("the dearest and that", [dearest_us + middle_us], goal)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.plan_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--deployments", type=int, default=1_000)
    parser.add_argument("--plans", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    run(options.deployments, options.plans, options.repeats)


if __name__ == "__main__":
    main()
