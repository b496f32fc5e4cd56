"""Whether a sample can be believed: what else than the gateway it may have measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from bench.suite.model import Guards

LOAD_CORE_MAX: Final = 0.7
"""Of a core. Past it the load generator or the provider answers late for reasons of its own."""
SHARED_CORE_MAX: Final = 0.85
"""Of both together, where they have one core between them."""
LOAD_LAG_MAX_MS: Final = 5.0
SIMULATOR_LATE_MAX_MS: Final = 10.0
"""p99: two ticks of the simulator's wheel."""
BUNDLED_MS: Final = 50.0
"""p99, of either. What is so late comes in bundles, and a token in a bundle costs less CPU."""
STEAL_MAX: Final = 0.1
"""Of all CPU time. CPU time of processes is without it, but everything comes later by it."""
FOREIGN_CORES_MAX: Final = 0.15
DIRECT_PACE_MIN: Final = 0.98

Check = tuple[Callable[[Guards, bool, bool], bool], Callable[[Guards], str]]


def _load_later_than(limit_ms: float) -> Check:
    return (
        lambda it, _, __: it.load_lag_p99_ms > limit_ms,
        lambda it: f"the load generator itself was late: p99 {it.load_lag_p99_ms:.1f} ms",
    )


def _simulator_later_than(limit_ms: float) -> Check:
    return (
        lambda it, _, __: it.simulator_late_p99_ms > limit_ms,
        lambda it: f"the simulated provider was late: p99 {it.simulator_late_p99_ms:.1f} ms",
    )


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
    _load_later_than(BUNDLED_MS),
    _simulator_later_than(BUNDLED_MS),
    (
        lambda it, _, __: it.steal > STEAL_MAX,
        lambda it: f"the machine's host took {it.steal:.0%} of the CPU time away",
    ),
    (
        lambda it, _, __: it.foreign_cores > FOREIGN_CORES_MAX,
        lambda it: f"the machine is busy: other processes took {it.foreign_cores:.2f} of a core",
    ),
)
"""(whether it is broken: of the guards, of a shared core, of the peer `direct`; the reason)."""

_CHECKS_OF_TIME: Final[tuple[Check, ...]] = (
    _load_later_than(LOAD_LAG_MAX_MS),
    _simulator_later_than(SIMULATOR_LATE_MAX_MS),
    (
        lambda it, _, direct: direct and it.pace < DIRECT_PACE_MIN,
        lambda it: f"without a gateway only {it.pace:.0%} of the due tokens came",
    ),
)
"""As `_CHECKS`; CPU time, memory and bills are what they are, however late a token was sent."""


class Flaws(NamedTuple):
    """Why a sample must not become a figure: `refused` any, `late` one of time; empty if it may."""

    refused: str
    late: str


def flaws(guards: Guards, *, shared_core: bool, direct: bool) -> Flaws:
    """What speaks against a sample."""

    def broken(checks: tuple[Check, ...]) -> str:
        return "; ".join(say(guards) for fails, say in checks if fails(guards, shared_core, direct))

    return Flaws(broken(_CHECKS), broken(_CHECKS_OF_TIME))
