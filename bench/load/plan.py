"""What is asked when: made before anything is sent, from a scenario and seeds alone.

A plan knows no peer but by the rate it is thinned to, so all peers of one rate get the same one.
Shares are exact: so many of each kind as there should be, in an order that the seed decides.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Final, Literal

from bench.simulate.directives import TOKENS_MAX
from bench.suite.scenario import (
    Arrivals,
    Constant,
    Leaves,
    Lengths,
    LogNormal,
    Protocol,
    Scenario,
    Traffic,
)

WindowName = Literal["load", "probe", "closed"]

TOGETHER_S: Final = 0.1
"""From the plan's start to the instant at which all arrive that arrive together."""
DRAIN_S: Final = 0.3
"""Between the load's window and that of the closed loop."""
CLOSED_KINDS: Final = 256
"""Different requests that a closed loop goes round in."""
PROBES_LEAST: Final = 0.25
"""Of the probes' rate, however much a plan is thinned: fewer would tell nothing."""
_SPARE_S: Final = 120.0
"""How much longer than its plan a stream lasts that is to last."""
_TOKEN_BYTES: Final = 200.0
"""Least bytes of an event, to bound what a slow reader takes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One request. Times are seconds from the plan's start.

    Attributes:
        number: from 0; of the tag by which the provider's truth log is searched.
        at_s: when it is due, whatever became of those before.
        window: `probe` and `closed` requests belong to those windows, all others to `load`.
        tokens: length of the answer. `lasts` says that it is meant to outlast the plan.
        leave_at_s, leave_after_tokens: when its client closes, if it does.
        The others are those of `Traffic`.
    """

    number: int
    at_s: float
    window: WindowName
    protocol: Protocol
    provider: Protocol
    stream: bool
    prompt_bytes: int
    tokens: int
    lasts: bool
    tokens_per_second: float
    first_token_ms: float
    leave_at_s: float | None
    leave_after_tokens: int | None
    reads_bytes_per_s: int | None
    directives: str


@dataclass(frozen=True, slots=True)
class Window:
    """A time to be measured, in seconds from the plan's start."""

    name: WindowName
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class ClosedPlan:
    """Clients that ask again as soon as they are answered, within the window of that name.

    `requests` are taken in order, over and over; their `at_s` means nothing.
    """

    begin_s: float
    end_s: float
    clients: int
    requests: tuple[Planned, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one load process does in one sample.

    Attributes:
        requests: by `at_s`. Of a scenario with steps only those that this step adds.
        windows: in order; the load's is always there.
        closed: the closed loop, where the scenario has one.
        streams: that are open from then on, earlier steps' included; 0 where none lasts.
        offered: tokens a second in the load's window.
        rate_max: tokens/s that the plan was thinned to; 0 where it was not.
    """

    requests: tuple[Planned, ...]
    windows: tuple[Window, ...]
    closed: ClosedPlan | None
    streams: int
    offered: float
    rate_max: float


def plan_requests(
    scenario: Scenario,
    *,
    seed: int = 0,
    repeat: int = 0,
    step: int = 0,
    tokens_per_s_max: float = math.inf,
) -> Plan:
    """The plan of one sample.

    Args:
        seed: of the run; a scenario has its own besides.
        repeat: the round: each has arrivals of its own.
        step: index into `Scenario.steps`. A stepped plan adds to those before it and is not
            thinned, since how much a peer takes is what it asks.
        tokens_per_s_max: what the weakest peer of a comparison takes.

    Raises:
        ValueError: there is no such step.
    """
    before, count = _counts(scenario, step)
    arrivals, factor = scenario.arrivals, 1.0
    if not scenario.steps and (whole := _offered(scenario, count)) > tokens_per_s_max:
        factor = tokens_per_s_max / whole
        if _opens_once(scenario):
            count = max(1, math.floor(count * factor))
    chance = random.Random(f"{seed}/{scenario.seed}/{repeat}/{step}")  # noqa: S311 - no secret
    lasting = _lasts(scenario)
    until_s = math.inf if lasting else scenario.warm_s + scenario.measure_s
    due_s = _arrivals(arrivals, factor, count - before, until_s, chance)
    opened_s = due_s[-1] if lasting and due_s else 0.0
    begin_s = opened_s + scenario.warm_s
    windows = _windows(scenario, begin_s)
    load = _Draw(scenario, chance, windows[0], windows[-1].end_s)
    requests = load.requests(due_s)
    if scenario.probe is not None:
        requests += _probes(scenario, factor, chance, windows[1], len(requests))
    return Plan(
        requests=tuple(sorted(requests, key=lambda planned: planned.at_s)),
        windows=windows,
        closed=_closed(scenario, load, windows[-1]),
        streams=count if lasting else 0,
        offered=_offered(scenario, count) * (1.0 if _opens_once(scenario) else factor),
        rate_max=tokens_per_s_max if factor < 1 else 0.0,
    )


# -- how much -----------------------------------------------------------------------------------


def _counts(scenario: Scenario, step: int) -> tuple[int, int]:
    """Requests of the steps before, and of this one with them."""
    if not scenario.steps:
        if step:
            raise ValueError(f"the scenario has no step {step}")
        return 0, scenario.arrivals.count_max
    if not 0 <= step < len(scenario.steps):
        raise ValueError(f"the scenario has no step {step}")
    return (scenario.steps[step - 1] if step else 0), scenario.steps[step]


def _lasts(scenario: Scenario) -> bool:
    return any(traffic.tokens is None for traffic in scenario.traffic)


def _opens_once(scenario: Scenario) -> bool:
    """Whether the number of streams, not the rate of arrivals, says how great the load is."""
    return _lasts(scenario) or scenario.arrivals.process == "together"


def _offered(scenario: Scenario, count: int) -> float:
    """Tokens a second that so many streams, or the arrivals' rate, amount to."""
    if _opens_once(scenario):
        return count * sum(traffic.share * _pace(traffic) for traffic in scenario.traffic)
    rate = scenario.arrivals.rate_per_s
    return rate * sum(each.share * _mean_tokens(each.tokens) for each in scenario.traffic)


def _pace(traffic: Traffic) -> float:
    if traffic.reads_bytes_per_s is None:
        return traffic.tokens_per_second
    return min(traffic.tokens_per_second, traffic.reads_bytes_per_s / _TOKEN_BYTES)


def _mean_tokens(lengths: Lengths | None) -> float:
    match lengths:
        case Constant(tokens):
            return float(tokens)
        case LogNormal():
            return sum(_length(lengths, (n + 0.5) / 1_000) for n in range(1_000)) / 1_000
    return 0.0


def _length(lengths: Lengths, share: float) -> int:
    """The length that `share` of all answers do not pass."""
    match lengths:
        case Constant(tokens):
            return tokens
        case LogNormal(median, sigma, greatest):
            length = median * math.exp(sigma * NormalDist().inv_cdf(share))
            return max(1, min(greatest, round(length)))


# -- when ---------------------------------------------------------------------------------------


def _arrivals(
    arrivals: Arrivals, factor: float, count: int, until_s: float, chance: random.Random
) -> list[float]:
    """At most `count` moments before `until_s`."""
    rate = arrivals.rate_per_s * factor
    match arrivals.process:
        case "together":
            return [TOGETHER_S] * count
        case "uniform":
            due = [number / rate for number in range(count)]
        case "poisson":
            gaps: list[float] = []
            while len(gaps) < count and math.fsum(gaps[-1:]) < until_s:
                gaps.append((gaps[-1] if gaps else 0.0) + chance.expovariate(rate))
            due = gaps
    return [at_s for at_s in due if at_s < until_s]


def _windows(scenario: Scenario, begin_s: float) -> tuple[Window, ...]:
    windows = [Window("load", begin_s, begin_s + scenario.measure_s)]
    if scenario.probe is not None:
        end_s = windows[-1].end_s
        windows.append(Window("probe", end_s, end_s + scenario.probe.measure_s))
    if scenario.closed is not None:
        end_s = windows[-1].end_s + DRAIN_S
        windows.append(Window("closed", end_s, end_s + scenario.closed.measure_s))
    return tuple(windows)


# -- what ---------------------------------------------------------------------------------------


class _Draw:
    """Requests of a scenario's mixture."""

    def __init__(
        self, scenario: Scenario, chance: random.Random, window: Window, end_s: float
    ) -> None:
        self._scenario = scenario
        self._chance = chance
        self._window = window
        steps_s = len(scenario.steps) * (end_s + scenario.warm_s)
        self._lasting_s = end_s + steps_s + _SPARE_S

    def requests(self, due_s: Sequence[float], window: WindowName = "load") -> list[Planned]:
        """One for each moment."""
        kinds = _exact([traffic.share for traffic in self._scenario.traffic], len(due_s))
        self._chance.shuffle(kinds)
        made: list[Planned | None] = [None] * len(due_s)
        for kind, traffic in enumerate(self._scenario.traffic):
            places = [place for place, chosen in enumerate(kinds) if chosen == kind]
            for place, planned in zip(
                places, self._of_kind(traffic, places, due_s, window), strict=True
            ):
                made[place] = planned
        return [planned for planned in made if planned is not None]

    def _of_kind(
        self, traffic: Traffic, places: list[int], due_s: Sequence[float], window: WindowName
    ) -> list[Planned]:
        count = len(places)
        low_ms, high_ms = traffic.first_token_ms
        firsts = _even(count, self._chance)
        lengths = _even(count, self._chance)
        leaving = _exact([1 - _leaving(traffic.leaves), _leaving(traffic.leaves)], count)
        self._chance.shuffle(leaving)
        instants = iter(_even(sum(leaving), self._chance))
        out = []
        for at, place in enumerate(places):
            tokens = self._tokens(traffic, lengths[at])
            first_ms = low_ms + (high_ms - low_ms) * firsts[at]
            leave_at_s, leave_after = None, None
            if leaving[at] and traffic.leaves is not None and window == "load":
                leave_at_s, leave_after = self._leave(
                    traffic, traffic.leaves, due_s[place] + first_ms / 1000, tokens, next(instants)
                )
            out.append(
                Planned(
                    number=place,
                    at_s=due_s[place],
                    window=window,
                    protocol=traffic.protocol,
                    provider=traffic.provider,
                    stream=traffic.stream,
                    prompt_bytes=traffic.prompt_bytes,
                    tokens=tokens,
                    lasts=traffic.tokens is None,
                    tokens_per_second=traffic.tokens_per_second,
                    first_token_ms=round(first_ms, 3),
                    leave_at_s=leave_at_s,
                    leave_after_tokens=leave_after,
                    reads_bytes_per_s=traffic.reads_bytes_per_s,
                    directives=traffic.directives,
                )
            )
        return out

    def _tokens(self, traffic: Traffic, share: float) -> int:
        if traffic.tokens is not None:
            return _length(traffic.tokens, share)
        if not traffic.tokens_per_second:
            return TOKENS_MAX
        return min(TOKENS_MAX, math.ceil(traffic.tokens_per_second * self._lasting_s))

    def _leave(
        self, traffic: Traffic, leaves: Leaves, first_s: float, tokens: int, share: float
    ) -> tuple[float | None, int | None]:
        """(at which time, after which token): one of the two."""
        if leaves.within_s:
            return self._window.begin_s + leaves.within_s * share, None
        if not traffic.stream:
            pace = traffic.tokens_per_second
            return first_s + (tokens / pace * share if pace else 0.0), None
        return None, max(1, math.ceil(tokens * share))


def _leaving(leaves: Leaves | None) -> float:
    return 0.0 if leaves is None else leaves.share


def _exact(shares: Sequence[float], count: int) -> list[int]:
    """`count` indices, each as often as its share says, to the next whole number."""
    edges = [round(edge * count) for edge in accumulate(shares)]
    edges[-1] = count
    out: list[int] = []
    for index, edge in enumerate(edges):
        out += [index] * (edge - len(out))
    return out


def _even(count: int, chance: random.Random) -> list[float]:
    """Numbers from 0 to 1, one in each of `count` equal parts, in any order."""
    numbers = [(place + chance.random()) / count for place in range(count)]
    chance.shuffle(numbers)
    return numbers


def _probes(
    scenario: Scenario, factor: float, chance: random.Random, window: Window, number: int
) -> list[Planned]:
    assert scenario.probe is not None
    arrivals = Arrivals("poisson", scenario.probe.rate_per_s)
    length_s = window.end_s - window.begin_s
    due = _arrivals(arrivals, max(factor, PROBES_LEAST), arrivals.count_max, length_s, chance)
    first = scenario.traffic[0]
    return [
        Planned(
            number=number + place,
            at_s=window.begin_s + at_s,
            window="probe",
            protocol=first.protocol,
            provider=first.provider,
            stream=True,
            prompt_bytes=first.prompt_bytes,
            tokens=scenario.probe.tokens,
            lasts=False,
            tokens_per_second=0.0,
            first_token_ms=0.0,
            leave_at_s=None,
            leave_after_tokens=None,
            reads_bytes_per_s=None,
            directives="",
        )
        for place, at_s in enumerate(due)
    ]


def _closed(scenario: Scenario, draw: _Draw, window: Window) -> ClosedPlan | None:
    if scenario.closed is None:
        return None
    requests = draw.requests([window.begin_s] * CLOSED_KINDS, "closed")
    return ClosedPlan(window.begin_s, window.end_s, scenario.closed.clients, tuple(requests))
