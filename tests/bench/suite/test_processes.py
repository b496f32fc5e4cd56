"""A tree of processes is measured as one, whoever of it has come or gone in between."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.suite.processes import cpu_s_of, memory_of, tree_of

# Two generations; each line it is sent makes it do something and answer.
PARENT = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.1: pass"
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
for line in sys.stdin:
    if line == "burn in a child\\n":
        subprocess.run([sys.executable, "-c", burn])
    else:
        child.communicate(b"end\\n")
    print("done", flush=True)
"""


@contextmanager
def parent() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.communicate()


def ask(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_the_time_of_a_child_that_ended_in_between_is_its_parents() -> None:
    with parent() as (process, child):
        assert set(tree_of([process.pid])) == {process.pid, child}
        before_s = cpu_s_of(tree_of([process.pid]))
        ask(process, "burn in a child")
        assert cpu_s_of(tree_of([process.pid])) - before_s >= 0.09

        memory = memory_of(tree_of([process.pid]))
        assert memory.processes == 2
        assert 0 < memory.pss_bytes <= memory.rss_bytes

        before_s = cpu_s_of(tree_of([process.pid]))
        ask(process, "end the child")
        assert tree_of([process.pid]) == (process.pid,)
        # The child's time went to its parent; the sum loses no more than two ticks.
        assert cpu_s_of(tree_of([process.pid])) >= before_s - 0.02


def test_processes_that_are_gone_count_nothing() -> None:
    with parent() as (process, _):
        pid = process.pid
    assert tree_of([pid]) == ()
    assert cpu_s_of([pid]) == 0
    assert memory_of([pid]).processes == 0
