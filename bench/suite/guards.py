"""Whether a sample can be believed: what else than the gateway it may have measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench.suite.model import Guards

LOAD_CORE_MAX: Final = 0.7
"""Of a core. Past it the load generator or the provider answers late for reasons of its own."""
SHARED_CORE_MAX: Final = 0.85
"""Of both together, where they have one core between them."""
LOAD_LAG_MAX_MS: Final = 5.0
SIMULATOR_LATE_MAX_MS: Final = 10.0
"""p99: two ticks of the simulator's wheel."""
STEAL_MAX: Final = 0.1
"""Of all CPU time. CPU time of processes is without it, but everything comes later by it."""
FOREIGN_CORES_MAX: Final = 0.15
DIRECT_PACE_MIN: Final = 0.98

Check = tuple[Callable[[Guards, bool, bool], bool], Callable[[Guards], str]]

_CHECKS: Final[tuple[Check, ...]] = (
    (
        lambda it, shared, _: not shared and it.load_core > LOAD_CORE_MAX,
        lambda it: f"the load generator was at its limit: {it.load_core:.2f} of its core",
    ),
    (
        lambda it, shared, _: not shared and it.simulator_core > LOAD_CORE_MAX,
        lambda it: f"the simulated provider was at its limit: {it.simulator_core:.2f} of its core",
    ),
    (
        lambda it, shared, _: shared and it.load_core + it.simulator_core > SHARED_CORE_MAX,
        lambda it: (
            "load generator and simulated provider were at the limit of the core they share: "
            f"{it.load_core:.2f} + {it.simulator_core:.2f}"
        ),
    ),
    (
        lambda it, _, __: it.load_lag_p99_ms > LOAD_LAG_MAX_MS,
        lambda it: f"the load generator itself was late: p99 {it.load_lag_p99_ms:.1f} ms",
    ),
    (
        lambda it, _, __: it.simulator_late_p99_ms > SIMULATOR_LATE_MAX_MS,
        lambda it: f"the simulated provider was late: p99 {it.simulator_late_p99_ms:.1f} ms",
    ),
    (
        lambda it, _, __: it.steal > STEAL_MAX,
        lambda it: f"the machine's host took {it.steal:.0%} of the CPU time away",
    ),
    (
        lambda it, _, __: it.foreign_cores > FOREIGN_CORES_MAX,
        lambda it: f"the machine is busy: other processes took {it.foreign_cores:.2f} of a core",
    ),
    (
        lambda it, _, direct: direct and it.pace < DIRECT_PACE_MIN,
        lambda it: f"without a gateway only {it.pace:.0%} of the due tokens came",
    ),
)
"""(whether it is broken: of the guards, of a shared core, of the peer `direct`; the reason)."""


def refusal(guards: Guards, *, shared_core: bool, direct: bool) -> str:
    """Why a sample must not become a figure; empty if it may."""
    reasons = [say(guards) for broken, say in _CHECKS if broken(guards, shared_core, direct)]
    return "; ".join(reasons)
