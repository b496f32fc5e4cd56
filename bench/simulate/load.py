"""What the simulator itself costs and how late it is: whoever measures with it has to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.load.histogram import Histogram


@dataclass(frozen=True, slots=True)
class SimulatorLoad:
    """Of a simulator's process, since its start; two of them give what was in between.

    Attributes:
        cpu_s: CPU time of the process, all threads.
        clock_s: the monotonic clock of the machine at this moment.
        late_ms: of everything the timer wheel woke, how long after its tick. What was due in a
            tick that was over already counts from the next one, so an overload shows as the length
            of its turns, not as all the delay that has piled up.
        requests: for answers, so far; `running` of them have not ended, `lost` are no longer in
            the truth log.
        connections: open now.
        crashes: exceptions contained so far, faults of the simulator's own.
    """

    cpu_s: float
    clock_s: float
    late_ms: Histogram
    requests: int
    running: int
    lost: int
    connections: int
    crashes: int

    def core_since(self, earlier: SimulatorLoad) -> float:
        """The share of a core that was used since: 1.0 is one core all the time."""
        return (self.cpu_s - earlier.cpu_s) / (self.clock_s - earlier.clock_s)

    def late_since(self, earlier: SimulatorLoad) -> Histogram:
        """How late the wheel was since."""
        return self.late_ms.since(earlier.late_ms)

    def to_json(self) -> dict[str, Any]:
        """As `GET /_load` shows it; `late_p99_ms` is for people."""
        late = self.late_ms
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "late_ms": late.to_json(),
            "late_p99_ms": late.quantile(0.99) if late.count else None,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SimulatorLoad:
        """What `to_json` made.

        Raises:
            KeyError: a figure is missing.
            ValueError: a histogram that is none.
        """
        values = {name: document[name] for name in cls.__slots__}
        return cls(**{**values, "late_ms": Histogram.from_json(values["late_ms"])})
