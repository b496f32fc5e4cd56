"""The vocabulary of a benchmark: what is asked for, what was measured, what is concluded.

Frozen values without behaviour beyond what follows from their fields. Units stand last in names;
times are milliseconds where people compare them, else seconds; `_s` of `cpu_s` is CPU time.
What is asked for is in `scenario`, re-exported here; samples are lines of raw.jsonl (`records`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.load.histogram import Histogram, rank_of
from bench.suite.figures import Figure
from bench.suite.scenario import (
    Arrivals,
    Bound,
    Closed,
    Constant,
    Http,
    Kind,
    Leaves,
    Lengths,
    LogNormal,
    Probe,
    Protocol,
    Scenario,
    Traffic,
)

__all__ = [
    "DIRECT",
    "STALL_MS",
    "Arrivals",
    "Billing",
    "Bound",
    "Censored",
    "Closed",
    "ClosedLoop",
    "Constant",
    "Figure",
    "Guards",
    "Header",
    "Histogram",
    "Http",
    "Interval",
    "Kind",
    "Leaves",
    "Lengths",
    "LogNormal",
    "Machine",
    "Memory",
    "Outcome",
    "Peer",
    "Probe",
    "Protocol",
    "Report",
    "Row",
    "Sample",
    "Scenario",
    "Traffic",
    "Verdict",
]

DIRECT = "direct"
"""The peer that is no gateway: the simulated provider itself."""
STALL_MS = 250.0
"""A gap between two tokens that a reader takes for a stall."""


# -- who is measured ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """A running gateway, or `direct`: the simulated provider itself.

    Attributes:
        name: as in tables; unique in a run.
        version, revision: of the program, and of its source where it is ours; else empty.
        base_url: without `/v1`; paths of the protocols are appended.
        headers: sent with every request: keys, routing.
        pids: of its processes now, the first one's descendants with it; empty where they are not
            ours to see, and CPU and memory then have no figure.
        tokens_per_s_max: what it is loaded with at most.
        models: provider's API → the model name that leads there; others cannot be measured.
        protocols, http: which clients it takes.
        translates: takes a client of one protocol to a provider of another; else only like to like.
        notes: what a reader of its row has to know.
    """

    name: str
    version: str
    revision: str
    base_url: str
    headers: tuple[tuple[str, str], ...]
    pids: Callable[[], tuple[int, ...]] = field(repr=False)
    models: Mapping[Protocol, str]
    protocols: frozenset[Protocol]
    http: frozenset[Http] = frozenset({"http1"})
    translates: bool = False
    tokens_per_s_max: float = math.inf
    notes: str = ""


# -- what was measured --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process tree at one moment; PSS shares pages among those that map them."""

    rss_bytes: int
    pss_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Censored:
    """Durations in ms, some of which had not ended when the wait did, at `limit_ms`."""

    observed: Histogram
    never: int
    limit_ms: float

    @property
    def count(self) -> int:
        """Of both."""
        return self.observed.count + self.never

    def quantile(self, share: float) -> float:
        """In ms; infinite where the rank falls among those that never ended, NaN of nothing."""
        if not self.count:
            return math.nan
        rank = rank_of(share, self.count)
        if rank > self.observed.count:
            return math.inf
        return self.observed.quantile(rank / self.observed.count)


@dataclass(frozen=True, slots=True)
class Billing:
    """What the gateway billed against what the provider's truth log says it wrote, in tokens.

    Attributes:
        requests: that the provider answered; `unbilled` of them have no bill.
        tokens_written, tokens_billed: sums over all.
        tokens_wrong: the sum of the absolute differences, so that errors do not cancel out.
        worst_tokens: the greatest of them.
    """

    requests: int
    unbilled: int
    tokens_written: int
    tokens_billed: int
    tokens_wrong: int
    worst_tokens: int


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """What the further window of `Closed` gave."""

    requests: int
    elapsed_s: float
    cpu_s: float | None


@dataclass(frozen=True, slots=True)
class Guards:
    """Whether a sample can be believed.

    Attributes:
        load_core, simulator_core: shares of a core that the load and the provider took.
        load_lag_p99_ms: how late the load itself was.
        simulator_late_p99_ms: how late the provider's timer wheel was.
        steal: share of all CPU time the host took away.
        foreign_cores: cores taken by processes that are not of the run.
        pace: tokens received to tokens due.
        calibration_ms: of a fixed piece of work on the gateway's core: the machine's speed now.
    """

    load_core: float
    load_lag_p99_ms: float
    simulator_core: float
    simulator_late_p99_ms: float
    steal: float
    foreign_cores: float
    pace: float
    calibration_ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of one (scenario, peer, repeat, step), nothing derived: a line of raw.jsonl.

    Attributes:
        repeat: the round, from 0; all peers of a round are neighbours in time. `order` is the
            place within it.
        step: streams of this step; 0 in a scenario without steps.
        rate_max: tokens/s the plan was thinned to, 0 if it was not: samples are compared with
            those of equal `rate_max` only.
        offered: tokens/s that the plan offers.
        started_at: ISO 8601, UTC.
        elapsed_s, tokens, requests, streams: of the window: its length, tokens received, requests
            answered, and streams open at its end.
        errors: what went wrong → how often; "unanswered" at the window's end are there too.
        cpu_s: of the process tree in the window; None where it cannot be seen.
        memory: at the window's end.
        first_token_ms: arrival − due; of the probes, where the scenario has some. What has not come
            by the window's end is counted with its age.
        latency_ms: of whole answers: last byte − due.
        lateness_ms: of tokens of paced streams: arrival − when it was due.
        gap_ms: between tokens of one stream; `stalls` of them are longer than `STALL_MS`.
        cancel_ms: a client's leaving → the provider's loss of the request.
        tokens_after_leaving: generated by the provider after clients had left.
        closed, billed: where the scenario asks for it and it can be seen.
        refused: why this sample must not be reported; empty if it can.
        late: why no figure of time may be made of it; empty if it may.
    """

    scenario: str
    peer: str
    repeat: int
    step: int
    order: int
    seed: int
    rate_max: float
    offered: float
    started_at: str
    elapsed_s: float
    tokens: int
    requests: int
    streams: int
    errors: Mapping[str, int]
    cpu_s: float | None
    memory: Memory | None
    first_token_ms: Histogram
    latency_ms: Histogram
    lateness_ms: Histogram
    gap_ms: Histogram
    stalls: int
    cancel_ms: Censored
    tokens_after_leaving: int
    closed: ClosedLoop | None
    billed: Billing | None
    guards: Guards
    refused: str = ""
    late: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against it."""
        return not (self.refused or self.late)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured; nothing that names the machine or its owner."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    system: str
    python: str


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of raw.jsonl: all that the samples have in common.

    `versions`, `revisions` and `notes` are by peer, `digests`, `titles`, `figures` (those asked
    for) and `bounds` by scenario: a report can be made of raw.jsonl alone.
    """

    machine: Machine
    started_at: str
    command: tuple[str, ...]
    seed: int
    versions: Mapping[str, str]
    revisions: Mapping[str, str]
    notes: Mapping[str, str]
    titles: Mapping[str, str]
    digests: Mapping[str, str]
    figures: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)
    bounds: Mapping[str, Bound] = field(default_factory=dict)


# -- what is concluded --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure from `n` rounds and the interval that holds it with probability `level`."""

    middle: float
    low: float
    high: float
    n: int
    level: float = 0.95

    @property
    def half_width_ratio(self) -> float:
        """Half the interval to its middle: 0.1 is ±10 %; infinite around zero."""
        return (self.high - self.low) / 2 / abs(self.middle) if self.middle else math.inf


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one peer.

    Attributes:
        interval: None when there are too few samples, or none to be believed; `note` says why.
        ratio_to: peer → this peer's figure to that peer's at an equal load, paired by round.
        rate_max: as `Sample.rate_max`, which says at what load this was.
    """

    scenario: str
    peer: str
    figure: Figure
    interval: Interval | None
    ratio_to: Mapping[str, Interval]
    rate_max: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page shows; `samples` is the raw.jsonl behind it, `notes` is what to know of it."""

    header: Header
    rows: tuple[Row, ...]
    samples: Path
    notes: tuple[str, ...] = ()


Outcome = Literal["faster", "slower", "same", "unclear"]
"""Of a later run: better, worse, neither, or too noisy to tell; the same words for memory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure of one peer in a later run against an earlier one.

    Attributes:
        ratio: later to earlier; None when one of them has no figure (`note` says why) and where
            the figure is additive.
        noise: how far the controls (what did not change) may have moved, as a ratio: 0.03 is 3 %;
            of an additive figure in its unit.
        before, after: the figure in both runs.
        difference: later minus earlier, of an additive figure.
        rate_max: as `Sample.rate_max`.
    """

    scenario: str
    peer: str
    figure: Figure
    outcome: Outcome
    ratio: Interval | None
    noise: float
    note: str = ""
    before: Interval | None = None
    after: Interval | None = None
    difference: Interval | None = None
    rate_max: float = 0.0
