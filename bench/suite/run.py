"""A run: scenarios one by one, in each of them rounds of all peers, until enough is known.

Samples are given away as soon as they are there; whoever gets them writes them down, so that a run
that is ended has lost nothing. Processes that were started end with the run, however it ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from bench.load.control import running_client
from bench.peers import Installed, PeerError, PeerRow, find_installed, running_peer
from bench.peers.row import Source
from bench.peers.start import StartedPeer
from bench.simulate.process import running_simulator
from bench.statistics.bootstrap import ROUNDS_MIN
from bench.statistics.rows import needs_more
from bench.suite.guards import STEAL_MAX
from bench.suite.machine import place, read_machine
from bench.suite.model import Header, Peer, Sample, Scenario
from bench.suite.phases import Bench, Place, measure, warm_up
from bench.suite.rounds import (
    Budget,
    Cost,
    Side,
    affordable,
    cost_of,
    measurable,
    round_s,
    sample_s,
    shuffled,
    sides_of,
)

_ALL_REFUSED: Final = (
    "every sample of a round was refused: leave the machine alone meanwhile, or keep them: --noisy"
)


class Progress(Protocol):
    """Who is told how a run goes."""

    def begin(self, scenario: str, expected_s: float) -> None:
        """A scenario is about to be measured; it takes about so long, less if figures settle."""

    def round(self, number: int) -> None:
        """The next round, from 1."""

    def advance(self, seconds: float, peer: str) -> None:
        """So much of what was expected has been done; `peer` is measured."""

    def end(self) -> None:
        """Of the scenario."""

    def say(self, line: str) -> None:
        """Something for who waits."""

    def note(self, line: str) -> None:
        """Something that a reader of the figures should know, said and kept with them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is made.

    Attributes:
        home: folder of the peers' programs and logs.
        seed: of plans and orders.
        budget_s: of all of it; infinite: none.
        noisy: keep samples that would be refused.
        wait_calm: waits for a host that takes the CPU time away to give it back, and returns how
            many seconds that took; None: it is not waited for.
        provider_port: of the simulated provider; 0: a free one.
        command: what was typed, for the record.
    """

    home: Path
    seed: int = 1
    budget_s: float = math.inf
    noisy: bool = False
    wait_calm: Callable[[], float] | None = None
    provider_port: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A peer, and its program as it is when the run begins."""

    row: PeerRow
    installed: Installed


def choose(rows: Iterable[PeerRow], home: Path) -> tuple[Chosen, ...]:
    """The peers of a run.

    Raises:
        PeerError: one is not installed; says what to do.
    """
    return tuple(Chosen(row, find_installed(row, home)) for row in rows)


def header_of(scenarios: Sequence[Scenario], peers: Sequence[Chosen], settings: Settings) -> Header:
    """What a run has in common, before it begins."""
    return Header(
        machine=read_machine(),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=settings.command,
        seed=settings.seed,
        versions={each.row.name: each.installed.version for each in peers},
        revisions={each.row.name: each.installed.revision for each in peers},
        notes={each.row.name: each.row.notes for each in peers},
        titles={scenario.name: scenario.title for scenario in scenarios},
        digests={scenario.name: scenario.digest for scenario in scenarios},
        figures={scenario.name: scenario.figures for scenario in scenarios},
        bounds={each.name: each.bound for each in scenarios if each.bound is not None},
    )


def repeated(scenario: Scenario, repeats: int | None) -> Scenario:
    """The scenario with exactly so many rounds, if a number is given; the digest stays."""
    if repeats is None:
        return scenario
    return replace(scenario, repeats=repeats, repeats_max=repeats)


def run_scenarios(
    scenarios: Sequence[Scenario],
    peers: Collection[Chosen],
    settings: Settings,
    progress: Progress,
) -> Generator[Sample, None, None]:
    """All samples, each as soon as it is there. Closing the iterator ends everything.

    Raises:
        PeerError: a peer does not start.
        SimulatorError, LoadError, OSError: what measures has failed.
    """
    rows = [each.row for each in peers]
    chosen = {scenario.name: measurable(scenario, rows) for scenario in scenarios}
    sides = {each.name: sides_of(each, chosen[each.name][0]) for each in scenarios}
    costs = {
        each.name: cost_of(each, sides[each.name], chosen[each.name][0])
        for each in scenarios
        if sides[each.name]
    }
    budget = Budget(settings.budget_s, costs)
    for scenario in sorted(scenarios, key=lambda each: _optional_s(costs.get(each.name))):
        for name, reason in chosen[scenario.name][1].items():
            progress.note(f"{scenario.name}: without {name}: {reason}")
        if scenario.name not in costs:
            progress.note(f"{scenario.name}: not measured, there is no peer for it")
            continue
        budget.begin(scenario.name)
        if not budget.has(round_s(scenario, sides[scenario.name])):
            progress.note(f"{scenario.name}: not measured, as the budget ends")
            continue
        progress.begin(scenario.name, costs[scenario.name].whole_s)
        with (
            _open_bench(settings) as bench,
            _Fleet(bench, scenario, peers, settings.home) as fleet,
        ):
            rounds = _Rounds(bench, scenario, fleet, budget, progress, settings.wait_calm)
            yield from rounds.samples(sides[scenario.name])
        progress.end()


def _optional_s(cost: Cost | None) -> float:
    """Scenarios that can do with less come last, and so get what those before did not need."""
    return 0.0 if cost is None else cost.whole_s - cost.least_s


@contextmanager
def _open_bench(settings: Settings) -> Iterator[Bench]:
    """A provider and a load of its own for each scenario: none inherits another's state."""
    cores = place()
    with (
        running_simulator(cores.simulator, settings.provider_port) as simulator,
        running_client(cores.load) as client,
    ):
        yield Bench(simulator, client, cores, settings.seed, settings.noisy)


class _Fleet:
    """The gateways of one scenario; each runs once it is asked for, and is ended with the fleet.

    Those that wait for their turn are not stopped: one that finds itself stopped for a minute takes
    itself for overloaded. What they take of CPU counts as foreign to who is measured.
    """

    def __init__(
        self, bench: Bench, scenario: Scenario, peers: Iterable[Chosen], home: Path
    ) -> None:
        self._bench = bench
        self._scenario = scenario
        self._peers = {each.row.name: each for each in peers}
        self._home = home
        self._running: dict[str, tuple[ExitStack, Peer]] = {}

    def __enter__(self) -> _Fleet:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with ExitStack() as all_of_them:
            for stack, _ in self._running.values():
                all_of_them.push(stack)
            self._running = {}

    def keeps_receipts(self, name: str) -> bool:
        """Whether it can be asked what it billed."""
        return isinstance(self._peers[name].row.install, Source)

    def peer(self, name: str) -> Peer:
        """It, running; a new process where the scenario wants one, or the last one has died.

        Raises:
            PeerError: it does not start.
        """
        if name in self._running and (self._scenario.fresh or _has_died(self._running[name][1])):
            self.end(name)
        if name not in self._running:
            with ExitStack() as stack:
                peer = stack.enter_context(self._start(self._peers[name]))
                warm_up(self._bench, self._scenario, peer)
                self._running[name] = stack.pop_all(), peer
        return self._running[name][1]

    def _start(self, chosen: Chosen) -> AbstractContextManager[Peer]:
        provider = self._bench.simulator.base_url
        core = self._bench.cores.gateway
        return running_peer(chosen.row, provider, core, self._home, chosen.installed)

    def end(self, name: str) -> None:
        """End it; the next to ask for it gets a new process."""
        if name in self._running:
            stack, _ = self._running.pop(name)
            stack.close()


def _has_died(peer: Peer) -> bool:
    return isinstance(peer, StartedPeer) and not peer.pids()


class _Rounds:
    """The rounds of one scenario."""

    def __init__(
        self,
        bench: Bench,
        scenario: Scenario,
        fleet: _Fleet,
        budget: Budget,
        progress: Progress,
        wait_calm: Callable[[], float] | None,
    ) -> None:
        self._bench = bench
        self._scenario = scenario
        self._fleet = fleet
        self._budget = budget
        self._progress = progress
        self._wait_calm = wait_calm
        self._found: list[Sample] = []
        self._failed: set[str] = set()

    def samples(self, sides: Sequence[Side]) -> Iterator[Sample]:
        """All of them."""
        scenario, wanted = self._scenario, list(sides)
        for repeat in range(scenario.repeats_max):
            at_least = repeat < min(ROUNDS_MIN, scenario.repeats)
            if not at_least:
                rounds_left = max(1, scenario.repeats - repeat)
                wanted = affordable(self._budget, scenario, wanted, rounds_left)
            if not self._budget.has(round_s(scenario, wanted), at_least=at_least):
                done = f"after {repeat} of {scenario.repeats} rounds"
                self._progress.note(f"{scenario.name}: ended {done}, as the budget ends")
                return
            self._progress.round(repeat + 1)
            yield from self._round(wanted, repeat)
            if all(sample.refused for sample in self._found if sample.repeat == repeat):
                self._progress.note(f"{scenario.name}: given up, since {_ALL_REFUSED}")
                return
            wanting = needs_more(scenario, self._found)
            wanted = [
                side
                for side in sides
                if (side.peer, side.rate_max) in wanting and side.peer not in self._failed
            ]
            if not wanted:
                return

    def _round(self, wanted: Sequence[Side], repeat: int) -> Iterator[Sample]:
        """All sides once, then once more those that something speaks against."""
        scenario, again = self._scenario, []
        order = shuffled(wanted, self._bench.seed, scenario, repeat)
        for number, side in enumerate(order):
            self._progress.advance(0, side.peer)
            for sample in self._of_side(Place(side, repeat, number)):
                yield sample
                if not sample.sound:
                    again.append(side)
            self._progress.advance(sample_s(scenario, side), side.peer)
        for number, side in enumerate(again, len(order)):
            if self._budget.has(sample_s(scenario, side)):
                yield from self._of_side(Place(side, repeat, number))

    def _of_side(self, place: Place) -> Iterator[Sample]:
        name, scenario = place.side.peer, self._scenario
        if name in self._failed:
            return
        try:
            peer = self._fleet.peer(name)
        except PeerError as error:
            self._failed.add(name)
            self._progress.note(f"{scenario.name}: without {name}: {error}")
            return
        receipts = self._fleet.keeps_receipts(name)
        for sample in measure(self._bench, scenario, place, peer, receipts=receipts):
            self._found.append(sample)
            yield sample
        if not self._bench.settled() or scenario.fresh:
            # What it still asks of the provider would be a load beside the next one's.
            self._fleet.end(name)
        last = self._found[-1]
        if self._wait_calm is not None and not last.sound and last.guards.steal > STEAL_MAX:
            self._progress.say("the host takes the CPU time away: waiting until it gives it back")
            waited_s = self._wait_calm()
            self._budget.extend(waited_s)
            minutes = f"{waited_s / 60:.0f} min"
            self._progress.note(f"{scenario.name}: waited {minutes} for the machine's host")
