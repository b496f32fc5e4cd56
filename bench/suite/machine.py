"""The machine that is measured on: what it is, how fast it is now, and who else takes its time."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.suite.model import Machine

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CALIBRATION_STEPS: Final = 200_000
_CALIBRATIONS: Final = 3


def read_machine() -> Machine:
    """Where this runs; nothing that names the machine or its owner."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return Machine(
        cpu=_cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        system=system,
        python=platform.python_version(),
    )


def _cpu_model(cpuinfo: str) -> str:
    """The name where the architecture has one (ARM has none), else the architecture."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core runs what; None: wherever the system puts it.

    A gateway has a core of its own. The load and the provider share one where there are only two,
    and what both take of it is added up then.
    """

    gateway: int | None
    simulator: int | None
    load: int | None

    @property
    def shared(self) -> bool:
        """Whether the load and the provider have one core between them."""
        return self.simulator == self.load


def place(available: frozenset[int] | None = None) -> Cores:
    """The cores of this process, dealt out; fewer than two are not dealt."""
    cores = sorted(os.sched_getaffinity(0) if available is None else available)
    if len(cores) < 2:
        return Cores(None, None, None)
    gateway, simulator, *others = cores
    return Cores(gateway, simulator, others[0] if others else simulator)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """This thread on one core, and back."""
    before = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, before)


def calibration_ms(core: int | None) -> float:
    """CPU time of a fixed loop of Python on a core, the least of a few: the machine's speed now."""
    with on_core(core):
        return min(_loop_ms() for _ in range(_CALIBRATIONS))


def _loop_ms() -> float:
    started_s, total = time.thread_time(), 0
    for number in range(_CALIBRATION_STEPS):
        total += number & 7
    assert total == _CALIBRATION_STEPS * 7 // 2
    return (time.thread_time() - started_s) * 1e3


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of all cores since the machine's start, from the first line of /proc/stat.

    Attributes:
        busy_s: user, system and interrupts, of all processes, also those of other containers.
        steal_s: that this machine was ready to run and its host ran something else.
        all_s: of everything, idle too.
    """

    busy_s: float
    steal_s: float
    all_s: float

    def steal_since(self, earlier: Usage) -> float:
        """The share of all CPU time that was taken away since; 0 within one tick."""
        passed_s = self.all_s - earlier.all_s
        return (self.steal_s - earlier.steal_s) / passed_s if passed_s > 0 else 0.0


def read_usage(stat: str | None = None) -> Usage:
    """The figures of now; `stat` is the text of /proc/stat, proc(5)."""
    text = Path("/proc/stat").read_text() if stat is None else stat
    fields = [int(word) / _TICKS_PER_S for word in text.split("\n", 1)[0].split()[1:]]
    user, nice, system, idle, iowait, irq, softirq, steal = fields[:8]
    # What guests took (the fields after these) is in user and nice already.
    busy = user + nice + system + irq + softirq
    return Usage(busy, steal, busy + idle + iowait + steal)
