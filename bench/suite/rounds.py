"""Who is measured in a scenario, at which load, in which order; and how long that may take."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bench.load.plan import Plan, plan_requests
from bench.peers import PeerRow
from bench.statistics.bootstrap import ROUNDS_MIN
from bench.suite.model import DIRECT
from bench.suite.scenario import Scenario

BESIDES = "parshall"
"""Measured at the loads of weaker peers too, so that there is a ratio to something."""
SAMPLE_S = 0.5
"""About what a sample takes beyond its plan: calibration, reading the truth log."""
WARM_S = 1.0
"""About what the first requests of a new process take."""


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
    """About how long one sample of a side takes, all its steps, of a peer that runs."""
    limit = side.rate_max or math.inf
    steps = range(len(scenario.steps) or 1)
    plans = (plan_requests(scenario, step=step, tokens_per_s_max=limit) for step in steps)
    return SAMPLE_S + sum(_plan_s(scenario, plan) for plan in plans)


def _plan_s(scenario: Scenario, plan: Plan) -> float:
    """Of cancels most are known long before the window has to end."""
    if scenario.kind != "cancels":
        return plan.windows[-1].end_s
    leaving_s = [planned.leave_at_s for planned in plan.requests if planned.leave_at_s is not None]
    return max(leaving_s, default=plan.windows[-1].end_s) + 1


@dataclass(frozen=True, slots=True)
class Cost:
    """About how long a scenario takes: `least_s` with as few rounds as give an interval."""

    least_s: float
    whole_s: float


def start_s(row: PeerRow) -> float:
    """About how long a peer takes to start and to answer its first requests."""
    return 0.0 if row.program is None else WARM_S + row.program.start_timeout_s / 10


def round_s(
    scenario: Scenario, sides: Iterable[Side], rows: Mapping[str, PeerRow] = MappingProxyType({})
) -> float:
    """About how long a round of these sides takes; with the start of `rows`, of each sample's."""
    return sum(
        sample_s(scenario, side) + (start_s(rows[side.peer]) if side.peer in rows else 0.0)
        for side in sides
    )


def cost_of(scenario: Scenario, sides: Sequence[Side], rows: Mapping[str, PeerRow]) -> Cost:
    """What a scenario is expected to take, with the start of its peers."""
    if scenario.fresh:
        once_s, each_s = 0.0, round_s(scenario, sides, rows)
    else:
        once_s, each_s = sum(map(start_s, rows.values())), round_s(scenario, sides)
    least = min(ROUNDS_MIN, scenario.repeats)
    return Cost(once_s + least * each_s, once_s + scenario.repeats * each_s)


class Budget:
    """The time that is left, dealt out to scenarios: to each first what it takes at least.

    What one does not use is left to those after it.
    """

    def __init__(
        self,
        limit_s: float,
        costs: Mapping[str, Cost],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`costs` are of all scenarios; infinite `limit_s` bounds nothing."""
        self._clock = clock
        self._end_s = clock() + limit_s
        self._costs = dict(costs)
        self._scenario_end_s = self._least_end_s = math.inf

    def begin(self, scenario: str) -> None:
        """The next one is about to begin."""
        now_s = self._clock()
        left_s = self._end_s - now_s
        if math.isinf(left_s):
            return
        least_s = sum(cost.least_s for cost in self._costs.values())
        more_s = sum(cost.whole_s - cost.least_s for cost in self._costs.values())
        mine = self._costs.pop(scenario)
        share_s = mine.least_s * min(1.0, left_s / least_s)
        if (spare_s := left_s - least_s) > 0:
            share_s += spare_s * ((mine.whole_s - mine.least_s) / more_s if more_s else 1.0)
        self._scenario_end_s = now_s + share_s
        self._least_end_s = self._end_s - sum(cost.least_s for cost in self._costs.values())

    def extend(self, seconds: float) -> None:
        """So much of the time that has passed does not count."""
        self._end_s += seconds
        self._scenario_end_s += seconds
        self._least_end_s += seconds

    def has(self, seconds: float, *, at_least: bool = False) -> bool:
        """Whether so much is left to the present scenario. What it takes `at_least` may go beyond
        its share, as samples that are refused and repeated do, but not into what others take."""
        end_s = self._scenario_end_s
        if at_least:
            end_s = max(end_s, self._least_end_s)
        return self._clock() + seconds <= end_s


def affordable(
    budget: Budget, scenario: Scenario, wanted: Sequence[Side], rounds: int
) -> list[Side]:
    """Who takes part in so many further rounds: all, if there is time for that; else those at all
    of the load, since more rounds of them tell more than fewer of all."""
    if budget.has(round_s(scenario, wanted) * rounds):
        return list(wanted)
    return [side for side in wanted if not side.rate_max] or list(wanted)


def measurable(
    scenario: Scenario, rows: Collection[PeerRow]
) -> tuple[dict[str, PeerRow], dict[str, str]]:
    """(peers that are measured, why each of the others is not), by name."""
    reasons = {row.name: why_not(scenario, row) for row in rows}
    chosen = {row.name: row for row in rows if not reasons[row.name]}
    return chosen, {name: reason for name, reason in reasons.items() if reason}
