"""Processes that are forked off one that has imported all: as those that begin from nothing."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
import trio

from tests.forking import start, wait_output
from tests.frontends.server.apps import read_until

TELLS = """
import os, sys, signal, threading
print(os.getcwd(), sorted(os.environ), sys.argv, __name__, threading.active_count())
print([signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)])
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(sorted(os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in (0, 1)))
print(len(os.listdir("/proc/self/fd")), sys.stdin.read(), signal.pthread_sigmask(0, ()))
sys.stderr.write("said aside")
sys.exit(7)
"""


async def ran(process: trio.Process) -> tuple[int, bytes, bytes]:
    """How it ended, and what it said."""
    assert process.stdout is not None
    assert process.stderr is not None
    out = b"".join([bytes(piece) async for piece in process.stdout])
    err = b"".join([bytes(piece) async for piece in process.stderr])
    return await process.wait(), out, err


async def test_it_is_as_one_that_begins_from_nothing(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "ONE": "1", "LC_CTYPE": "C.UTF-8"}
    real = await trio.lowlevel.open_process(
        [sys.executable, "-c", TELLS],
        cwd=tmp_path,
        env=environ,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    forked = start("python", [TELLS], cwd=tmp_path, env=environ, stdout=PIPE, stderr=PIPE)
    assert await ran(forked) == await ran(real)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_takes_signals(number: signal.Signals) -> None:
    forked = start("python", ["print(1, flush=True); input = __import__('time').sleep(60)"],
                   stdout=PIPE)  # fmt: skip
    assert forked.stdout is not None
    assert await read_until(forked.stdout, b"\n") == b"1\n"
    assert forked.poll() is None
    forked.send_signal(number)
    with trio.fail_after(10):
        assert await forked.wait() == -number
    assert forked.poll() == forked.returncode == -number
    forked.send_signal(number)  # nobody is there, and nobody else gets it
    await forked.stdout.aclose()


async def test_each_draws_its_own_lots() -> None:
    script = "import random; print(random.random())"
    drawn = {await wait_output(script) for _ in range(3)}
    assert len(drawn) == 3, random.getstate()[1][0]


async def test_what_fails_says_so() -> None:
    process = start("python", ["1 / 0"], stdout=PIPE, stderr=PIPE)
    code, out, err = await ran(process)
    assert (code, out) == (1, b"")
    assert b"ZeroDivisionError" in err


async def test_the_command_line(tmp_path: Path) -> None:
    code, out, err = await ran(
        start("parshall", ["serve", "--help"], cwd=tmp_path, stdout=PIPE, stderr=PIPE)
    )
    assert (code, err) == (0, b"")
    assert out.startswith(b"Usage: parshall serve ")
    code, out, err = await ran(
        start("parshall", ["serve", "--nonsense"], cwd=tmp_path, stdout=PIPE, stderr=PIPE)
    )
    assert (code, out) == (2, b"")
    assert b"No such option" in err
