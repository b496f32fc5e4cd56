"""Who is measured in a scenario, at which load, in which order; and how long that may take."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.load.plan import plan_requests
from bench.peers import PeerRow
from bench.suite.scenario import Scenario

DIRECT = "direct"
BESIDES = "parshall"
"""Measured at the loads of weaker peers too, so that there is a ratio to something."""
START_S = 0.7
"""About what a sample takes beyond its plan: connecting, reading the truth log."""


@dataclass(frozen=True, slots=True)
class Side:
    """A peer at one load; `rate_max` as in `Sample`, 0 where it takes all of it."""

    peer: str
    rate_max: float


def why_not(scenario: Scenario, row: PeerRow) -> str:
    """Why a scenario cannot be measured with this peer; empty if it can."""
    if scenario.http not in row.http:
        return f"it does not speak {scenario.http} with clients"
    for traffic in scenario.traffic:
        if traffic.protocol not in row.protocols:
            return f"it has no clients of {traffic.protocol}"
        if traffic.provider not in row.models:
            return f"it has no provider of {traffic.provider}"
        if traffic.protocol != traffic.provider and not row.translates:
            return f"it does not translate {traffic.protocol} to {traffic.provider}"
    if scenario.kind == "memory" and row.name == DIRECT:
        return "what the simulated provider takes of memory is no gateway's"
    return ""


def sides_of(scenario: Scenario, rows: Mapping[str, PeerRow]) -> tuple[Side, ...]:
    """All peers, each at the load it takes; and at every lesser one what it is compared with.

    That is Parshall, and `direct` where a figure is of what is added to it.
    """
    rates = {
        name: plan_requests(scenario, tokens_per_s_max=row.tokens_per_s_max).rate_max
        for name, row in rows.items()
    }
    compared = [BESIDES]
    if any(figure.startswith("added_") for figure in scenario.figures):
        compared.append(DIRECT)
    sides = [Side(name, rate) for name, rate in rates.items()]
    for rate in sorted({rate for rate in rates.values() if rate}):
        sides += [Side(name, rate) for name in compared if name in rows]
    return tuple(dict.fromkeys(sides))


def shuffled(sides: Sequence[Side], seed: int, scenario: Scenario, repeat: int) -> list[Side]:
    """The order of one round."""
    order = list(sides)
    random.Random(f"{seed}/{scenario.name}/{repeat}").shuffle(order)  # noqa: S311 - no secret
    return order


def sample_s(scenario: Scenario, side: Side) -> float:
    """About how long one sample of a side takes, all its steps."""
    limit = side.rate_max or math.inf
    steps = range(len(scenario.steps) or 1)
    plans = (plan_requests(scenario, step=step, tokens_per_s_max=limit) for step in steps)
    return START_S + sum(plan.windows[-1].end_s for plan in plans)


def expected_s(scenario: Scenario, sides: Iterable[Side]) -> float:
    """About how long a scenario takes, without the start of its peers."""
    return scenario.repeats * round_s(scenario, sides)


def round_s(scenario: Scenario, sides: Iterable[Side]) -> float:
    """About how long a round of these sides takes."""
    return sum(sample_s(scenario, side) for side in sides)


class Budget:
    """The time that is left, dealt out to scenarios by what each is expected to take.

    What one does not use is left to those after it.
    """

    def __init__(
        self,
        limit_s: float,
        expected: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`expected` is of all scenarios, in order; infinite `limit_s` bounds nothing."""
        self._clock = clock
        self._end_s = clock() + limit_s
        self._expected = dict(expected)
        self._scenario_end_s = math.inf

    def begin(self, scenario: str) -> None:
        """The next one is about to begin."""
        now_s = self._clock()
        whole_s = sum(self._expected.values())
        share = self._expected.pop(scenario) / whole_s
        self._scenario_end_s = now_s + (self._end_s - now_s) * share

    def has(self, seconds: float) -> bool:
        """Whether so much is left to the present scenario."""
        return self._clock() + seconds <= self._scenario_end_s


def measurable(
    scenario: Scenario, rows: Collection[PeerRow]
) -> tuple[dict[str, PeerRow], dict[str, str]]:
    """(peers that are measured, why each of the others is not), by name."""
    reasons = {row.name: why_not(scenario, row) for row in rows}
    chosen = {row.name: row for row in rows if not reasons[row.name]}
    return chosen, {name: reason for name, reason in reasons.items() if reason}
