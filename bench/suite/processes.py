"""CPU time and memory of process trees, as the kernel accounts for them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.processes import cpu_s
from bench.suite.model import Memory

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
PROCESSES_MAX: Final = 10_000
"""Of one tree: past it something forks without end."""


def tree_of(pids: Iterable[int]) -> tuple[int, ...]:
    """These processes and all that descend from them, as they are now; those gone are left out.

    Raises:
        RuntimeError: there are more than `PROCESSES_MAX`.
    """
    found: dict[int, None] = {}
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[pid] = None
        if len(found) > PROCESSES_MAX:
            raise RuntimeError(f"more than {PROCESSES_MAX:,} processes descend from one")
        for task in tasks:
            waiting += _children(task)
    return tuple(found)


def _children(task: Path) -> list[int]:
    try:
        return [int(pid) for pid in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_s_of(pids: Iterable[int]) -> float:
    """CPU time that these processes have taken, and their children that have ended.

    The difference of two is what a tree took in between: a child that ends hands what it took to
    the parent that waits for it (proc(5): cutime, cstime), so the sum neither loses nor doubles it.
    Of running processes it is exact, of ended ones to a tick (10 ms).
    """
    return sum(_cpu_s(pid) for pid in pids)


def _cpu_s(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        own_s = cpu_s(pid)
    except (FileNotFoundError, ProcessLookupError, OSError):
        return 0.0
    # Names of programs may hold spaces and parentheses; cutime is the 16th field.
    fields = stat.rpartition(")")[2].split()
    return own_s + (int(fields[13]) + int(fields[14])) / _TICKS_PER_S


def memory_of(pids: Iterable[int]) -> Memory:
    """Memory of these processes together; those that are gone count nothing."""
    rss = pss = processes = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = dict(line.split()[:2] for line in lines)
        if "Rss:" not in sizes:  # a process that has ended and is not waited for yet
            continue
        rss += int(sizes["Rss:"]) * _KIB
        pss += int(sizes["Pss:"]) * _KIB
        processes += 1
    return Memory(rss, pss, processes)
