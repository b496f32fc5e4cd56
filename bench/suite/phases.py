"""One sample: a plan is carried out against a gateway, and what came of it is read."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, Final

from bench.load.control import Client, target_of
from bench.load.histogram import Histogram
from bench.load.plan import Window, plan_requests
from bench.load.tally import Left, Tally
from bench.simulate.process import RunningSimulator
from bench.statistics.values import keeps
from bench.suite.billing import (
    BillingError,
    billed_by_receipts,
    compare_bills,
    fetch_receipts,
    provider_ids,
    written_by_tag,
)
from bench.suite.guards import Flaws, flaws
from bench.suite.machine import Cores, calibration_ms
from bench.suite.model import DIRECT, Billing, Censored, ClosedLoop, Guards, Peer, Sample, Scenario
from bench.suite.processes import memory_of
from bench.suite.readings import Reading, guards_between, read_all
from bench.suite.rounds import Side

_POLL_S: Final = 0.2
_OPEN_S: Final = 15.0
"""How long streams may take to be open at the provider, beyond the plan."""
_SETTLE_S: Final = 2.0
"""How long requests of clients that are gone may go on at the provider before they are said to."""
_WARM_REQUESTS: Final = 20
_WARM_GAP_S: Final = 0.025
_WARM_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Which sample of a run: `order` is the place within the round."""

    side: Side
    repeat: int
    order: int


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures: all of it but the gateways.

    Attributes:
        seed: of the run.
        noisy: keep what would be refused.
        runs: numbers for the tags of requests.
    """

    simulator: RunningSimulator
    client: Client
    cores: Cores
    seed: int
    noisy: bool = False
    runs: Iterator[int] = field(default_factory=itertools.count)

    def settled(self) -> bool:
        """Whether the provider has no request left, after a while."""
        until_s = time.monotonic() + _SETTLE_S
        while self.simulator.load().running:
            if time.monotonic() > until_s:
                return False
            time.sleep(_POLL_S / 4)
        return True


def measure(
    bench: Bench, scenario: Scenario, place: Place, peer: Peer, *, receipts: bool
) -> Iterator[Sample]:
    """The samples of one peer in one round: one, or one a step, each as soon as it is there.

    `receipts` says that the peer keeps some, at /v1/receipts.

    Raises:
        LoadError: the load process has died.
        OSError, SimulatorError: the simulated provider does not answer.
    """
    try:
        for step in range(len(scenario.steps) or 1):
            sample = _Step(bench, scenario, place, peer, step, receipts).sample()
            yield sample
            if scenario.bound is not None and not (sample.sound and keeps(scenario.bound, sample)):
                break
    finally:
        bench.client.finish()


def warm_up(bench: Bench, scenario: Scenario, peer: Peer) -> None:
    """Let a new process answer a few requests: much is loaded and compiled by the first of them.

    Raises: as `measure`.
    """
    plan = plan_requests(scenario, seed=bench.seed)
    requests = tuple(
        replace(planned, at_s=place * _WARM_GAP_S)
        for place, planned in enumerate(plan.requests[:_WARM_REQUESTS])
    )
    plan = replace(plan, requests=requests, closed=None)
    awaited = bench.simulator.load().requests + len(requests)
    until_s = time.monotonic() + _WARM_S
    bench.client.start(plan, target_of(peer, scenario.http, f"r{next(bench.runs)}"))
    while bench.simulator.load().requests < awaited and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    time.sleep(_POLL_S)  # for what they are answered
    bench.client.finish()
    bench.settled()


@dataclass(frozen=True, slots=True)
class _Measured:
    """A window: what the load counted in it, and everybody's figures at both its ends."""

    tally: Tally
    before: Reading
    after: Reading

    @property
    def cpu_s(self) -> float | None:
        """Of the gateway."""
        if self.before.peer_cpu_s is None or self.after.peer_cpu_s is None:
            return None
        return self.after.peer_cpu_s - self.before.peer_cpu_s


class _Step:
    """One step of one sample, or all of a sample without steps."""

    def __init__(
        self,
        bench: Bench,
        scenario: Scenario,
        place: Place,
        peer: Peer,
        step: int,
        receipts: bool,
    ) -> None:
        self._bench, self._scenario, self._place = bench, scenario, place
        self._peer, self._step, self._receipts = peer, step, receipts
        self._run = f"r{next(bench.runs)}"
        self._plan = plan_requests(
            scenario,
            seed=bench.seed,
            repeat=place.repeat,
            step=step,
            tokens_per_s_max=place.side.rate_max or math.inf,
        )
        self._truth_before = bench.simulator.load().requests
        self._errors: Counter[str] = Counter()

    def sample(self) -> Sample:
        """Carry it out."""
        bench, scenario, peer, plan = self._bench, self._scenario, self._peer, self._plan
        speed_ms = calibration_ms(bench.cores.gateway)
        started_at = datetime.now(UTC)
        start_s = bench.client.start(plan, target_of(peer, scenario.http, self._run))
        measured = {window.name: self._window(window, start_s) for window in plan.windows}
        load = measured["load"]
        opened = [load, *(measured[name] for name in measured if name == "probe")]
        pids = peer.pids()
        guards = guards_between(
            load.before, opened[-1].after, [each.tally for each in opened], speed_ms
        )
        left = self._left(load.tally.left) if scenario.kind == "cancels" else None
        tally = load.tally
        billed = self._billed(tally, started_at)
        refused, late = self._flaws(guards)
        return Sample(
            scenario=scenario.name,
            peer=peer.name,
            repeat=self._place.repeat,
            step=scenario.steps[self._step] if scenario.steps else 0,
            order=self._place.order,
            seed=bench.seed,
            rate_max=plan.rate_max,
            offered=plan.offered,
            started_at=started_at.isoformat(timespec="milliseconds"),
            elapsed_s=tally.elapsed_s,
            tokens=tally.tokens,
            requests=tally.requests,
            streams=tally.streams,
            errors=dict(self._errors),
            cpu_s=load.cpu_s,
            memory=memory_of(pids) if pids else None,
            first_token_ms=opened[-1].tally.first_token_ms,
            latency_ms=tally.latency_ms,
            lateness_ms=tally.lateness_ms,
            gap_ms=tally.gap_ms,
            stalls=tally.stalls,
            cancel_ms=left[0] if left else Censored(Histogram(), 0, 0.0),
            tokens_after_leaving=left[1] if left else 0,
            closed=_closed(measured["closed"]) if "closed" in measured else None,
            billed=billed,
            guards=guards,
            refused=refused,
            late=late,
        )

    def _flaws(self, guards: Guards) -> Flaws:
        if self._bench.noisy or self._scenario.kind == "memory":  # of which time says nothing
            return Flaws("", "")
        direct = self._peer.name == DIRECT
        return flaws(guards, shared_core=self._bench.cores.shared, direct=direct)

    # -- windows --------------------------------------------------------------------------------

    def _window(self, window: Window, start_s: float) -> _Measured:
        _sleep_until(start_s + window.begin_s)
        end_s = start_s + window.end_s
        if window.name == "load" and self._scenario.kind == "memory":
            self._wait_open()
            end_s = time.monotonic() + window.end_s - window.begin_s
        skipped, before = self._cut()
        # Whoever comes late to its beginning has a shorter window, but has one.
        end_s = max(end_s, before.at_s + (window.end_s - window.begin_s) / 2)
        # Streams that last are opened before; of others only those of the window count.
        if self._plan.streams and window.name == "load":
            skipped.errors.pop("unanswered", None)  # they are counted again at the end
            self._errors.update(skipped.errors)
        self._wait(window, end_s)
        tally, after = self._cut()
        if window.name != "closed":
            self._errors.update(tally.errors)
        return _Measured(tally, before, after)

    def _cut(self) -> tuple[Tally, Reading]:
        """The same order at both ends, so that both figures are of the same time."""
        tally = self._bench.client.window()
        return tally, read_all(self._peer, self._bench.simulator, self._bench.client)

    def _wait(self, window: Window, until_s: float) -> None:
        if self._scenario.kind == "cancels" and window.name == "load":
            leaving = [planned for planned in self._plan.requests if planned.leave_at_s is not None]
            last_s = max((planned.leave_at_s or 0.0 for planned in leaving), default=0.0)
            _sleep_until(until_s - window.end_s + last_s + _POLL_S)
            tags = {f"{self._run}-{planned.number}" for planned in leaving}
            while time.monotonic() < until_s and tags - self._ended():
                time.sleep(_POLL_S)
            return
        _sleep_until(until_s)

    def _wait_open(self) -> None:
        """Until the provider has all streams: a gateway may be slower to open them than planned."""
        until_s = time.monotonic() + _OPEN_S
        while self._bench.simulator.load().running < self._plan.streams:
            if time.monotonic() > until_s:
                return
            time.sleep(_POLL_S)

    # -- what the provider knows ----------------------------------------------------------------

    def _truth(self) -> list[dict[str, Any]]:
        return self._bench.simulator.truth(self._truth_before)

    def _ended(self) -> set[str]:
        records = self._truth()
        running = {record["tag"] for record in records if record["ended"] is None}
        return {record["tag"] for record in records} - running

    def _left(self, left: list[Left]) -> tuple[Censored, int]:
        """How soon the provider knew, and how many tokens it made for nobody."""
        records: dict[str, list[dict[str, Any]]] = {}
        for record in self._truth():
            records.setdefault(record["tag"], []).append(record)
        window = self._plan.windows[0]
        within_s = max(
            (t.leaves.within_s for t in self._scenario.traffic if t.leaves is not None), default=0.0
        )
        limit_ms = (window.end_s - window.begin_s - within_s) * 1000
        observed, never, tokens = Histogram(), 0, 0
        for client in left:
            attempts = records.get(client.tag, [])
            generated = sum(record["tokens_generated"] for record in attempts)
            tokens += max(0, generated - client.tokens)
            ends_s = [record["ended_monotonic_s"] for record in attempts]
            took_ms = math.inf if None in ends_s else (max(ends_s, default=0) - client.at_s) * 1000
            if took_ms > limit_ms:
                never += 1
            else:
                observed.record(max(0.0, took_ms))
        return Censored(observed, never, limit_ms), tokens

    def _billed(self, tally: Tally, started_at: datetime) -> Billing | None:
        if "billing_error_share" not in self._scenario.figures:
            return None
        truth = self._truth()
        if not self._receipts:
            said = {tag: tokens for tag, tokens in tally.answered.items() if tokens is not None}
            return compare_bills(written_by_tag(truth, said), said) if said else None
        tags = {*tally.answered, *(client.tag for client in tally.left)}
        peer, tag_of = self._peer, provider_ids(truth, tags)
        try:
            receipts = fetch_receipts(peer.base_url, peer.headers, started_at.isoformat(), tag_of)
        except (OSError, HTTPException, BillingError):
            self._errors["receipts"] += 1
            return None
        return compare_bills(written_by_tag(truth, tags), billed_by_receipts(receipts, tag_of))


def _closed(measured: _Measured) -> ClosedLoop:
    tally = measured.tally
    return ClosedLoop(tally.closed_requests, tally.elapsed_s, measured.cpu_s)


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))
