"""What everything that takes part has taken, read at both ends of a window."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load.control import Client
from bench.load.histogram import Histogram
from bench.load.tally import Tally
from bench.simulate.load import SimulatorLoad
from bench.simulate.process import RunningSimulator
from bench.suite.machine import Usage, read_usage
from bench.suite.model import Guards, Peer
from bench.suite.processes import cpu_s_of


@dataclass(frozen=True, slots=True)
class Reading:
    """At one moment.

    Attributes:
        at_s: the monotonic clock.
        peer_cpu_s: of the gateway's tree; None where it cannot be seen.
        run_cpu_s: of all that take part: the gateway, the provider, the load, and this process.
        usage: of the machine.
        simulator: as it tells itself.
    """

    at_s: float
    peer_cpu_s: float | None
    run_cpu_s: float
    usage: Usage
    simulator: SimulatorLoad


def read_all(peer: Peer, simulator: RunningSimulator, client: Client) -> Reading:
    """Now; the gateway first, since its figure is the one that is divided by what was received."""
    at_s, pids = time.monotonic(), peer.pids()
    peer_cpu_s = cpu_s_of(pids) if pids else None
    usage = read_usage()
    run_cpu_s = cpu_s_of({os.getpid(), simulator.pid, client.pid, *pids})
    return Reading(at_s, peer_cpu_s, run_cpu_s, usage, simulator.load())


def guards_between(
    before: Reading, after: Reading, tallies: Sequence[Tally], calibration_ms: float
) -> Guards:
    """Of the time between two readings, in which these windows of the load lie end to end."""
    elapsed_s = after.at_s - before.at_s
    busy_s = after.usage.busy_s - before.usage.busy_s
    ours_s = after.run_cpu_s - before.run_cpu_s
    late = after.simulator.late_since(before.simulator)
    lag = Histogram()
    for tally in tallies:
        lag.merge(tally.lag_ms)
    due = sum(tally.due_tokens for tally in tallies)
    return Guards(
        load_core=sum(tally.cpu_s for tally in tallies) / elapsed_s,
        load_lag_p99_ms=lag.quantile(0.99) if lag.count else 0.0,
        simulator_core=after.simulator.core_since(before.simulator),
        simulator_late_p99_ms=late.quantile(0.99) if late.count else 0.0,
        steal=after.usage.steal_since(before.usage),
        foreign_cores=max(0.0, (busy_s - ours_s) / elapsed_s),
        pace=sum(tally.timed_tokens for tally in tallies) / due if due else 1.0,
        calibration_ms=calibration_ms,
    )
