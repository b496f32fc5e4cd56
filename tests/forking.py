"""Python processes that begin with everything imported: each is forked off one that did that once.

`parshall serve` imports for a second of CPU, and so does a script that uses the SDKs; tests start
dozens of both. What begins here is a process like any other: it has its own pid, folder,
environment and descriptors, and takes signals. tests/test_forking.py holds it against a real start.

    the test's process  ──argv, environment, folder, descriptors──▶  one that has imported
                                                                          │ forks
    trio.Process  ◀── pid, later its status through a pipe ──  the process that was asked for
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import orjson
import trio

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "parshall": ("frontends.cli", "frontends.serving", "frontends.demo", "engine.checking"),
    "python": ("openai", "anthropic", "google.genai"),
}
"""What processes of each program have imported when they begin."""
_ROOT = Path(__file__).parent.parent
_ORDER_MAX_BYTES = 2**20
_STATUS = struct.Struct("i")
_PLAIN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)


@dataclass(frozen=True)
class Order:
    """What is to be run. `arguments` of `python` are one: the script."""

    program: str
    arguments: Sequence[str]
    environ: Mapping[str, str]
    folder: str


# ---- whoever asks --------------------------------------------------------------------------------


class _Forked(subprocess.Popen[bytes]):
    """As a child of ours, but that another process is its parent, which says how it has ended."""

    def __init__(self, args: Sequence[str], pid: int, status: int) -> None:
        self.args, self.pid = args, pid
        self.returncode: int | None = None
        self.stdin = self.stdout = self.stderr = None
        self._status = status

    def poll(self) -> int | None:
        return self._read(block=False)

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is None, "nobody asks for that"
        code = self._read(block=True)
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def __del__(self) -> None:
        if self.returncode is None:
            os.close(self._status)

    def _read(self, *, block: bool) -> int | None:
        if self.returncode is None:
            os.set_blocking(self._status, block)
            try:
                said = os.read(self._status, _STATUS.size)
            except BlockingIOError:
                return None
            os.close(self._status)
            assert said, "whoever has forked it has died"
            self.returncode = os.waitstatus_to_exitcode(*_STATUS.unpack(said))
        return self.returncode


def start(
    program: str,
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> trio.Process:
    """Begin a process; `stdout` and `stderr` are descriptors, `PIPE`, or ours."""
    environ = dict(os.environ if env is None else env)
    order = Order(program, arguments, environ, str(cwd or Path.cwd()))
    status, status_end = os.pipe()
    ours: list[trio.lowlevel.FdStream | None] = []
    given, to_close = [os.open(os.devnull, os.O_RDONLY)], [status_end]
    to_close += given
    for wanted, default in ((stdout, 1), (stderr, 2)):
        if wanted == subprocess.PIPE:
            reading, writing = os.pipe()
            ours.append(trio.lowlevel.FdStream(reading))
            given.append(writing)
            to_close.append(writing)
        else:
            ours.append(None)
            given.append(default if wanted is None else wanted)
    with _forker(program).lock:
        pid = _forker(program).ask(order, [*given, status_end])
    for descriptor in to_close:
        os.close(descriptor)
    popen = _Forked([program, *arguments], pid, status)
    return trio.Process._create(popen, None, *ours)


async def wait_output(
    script: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """What Python prints of a script, which has to end well."""
    process = start("python", [script], cwd=cwd, env=env, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        printed = b"".join([bytes(piece) async for piece in process.stdout])
    assert await process.wait() == 0, printed.decode()
    return printed.decode()


class _Forker:
    """The process that forks the ones of a program, as those see it who ask."""

    def __init__(self, program: str) -> None:
        self.lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ORDER_MAX_BYTES)
        command = [sys.executable, "-m", __name__, str(theirs.fileno()), program]
        with theirs:
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.end)

    def ask(self, order: Order, descriptors: Sequence[int]) -> int:
        """The pid of a process that does so."""
        socket.send_fds(self._socket, [orjson.dumps(asdict(order))], descriptors)
        answer = self._socket.recv(_STATUS.size)
        assert answer, f"the process that forks those of {order.program} has died"
        pid: int = _STATUS.unpack(answer)[0]
        return pid

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _forker(program: str) -> _Forker:
    return _Forker(program)


# ---- the process that forks ----------------------------------------------------------------------


def serve(asked: socket.socket, program: str) -> Order | None:
    """Fork for as long as somebody asks; returns the order in each process that is to carry it
    out, and None where nobody asks any more."""
    for name in PROGRAMS[program]:
        import_module(name)
    assert threading.active_count() == 1, "a thread would not come along"
    gc.collect()
    gc.freeze()  # or each process would copy all of this when it looks for cycles
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the keyboard: whoever asked will end us
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    statuses: dict[int, int] = {}
    with selectors.DefaultSelector() as waiting:
        waiting.register(asked, selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in waiting.select()}
            if woken in ready:
                woken.recv(4096)
                _tell_ended(statuses)
            if asked not in ready:
                continue
            message, descriptors, _, _ = socket.recv_fds(asked, _ORDER_MAX_BYTES, 8)
            if not message:
                return None
            *standard, status = descriptors
            if pid := os.fork():
                statuses[pid] = status
                asked.send(_STATUS.pack(pid))
                for descriptor in standard:
                    os.close(descriptor)
                continue
            signal.set_wakeup_fd(-1)
            waiting.close()
            for descriptor in (*statuses.values(), status):
                os.close(descriptor)
            for end in (asked, woken, wakes):
                end.close()
            for number, descriptor in enumerate(standard):
                os.dup2(descriptor, number)
                os.close(descriptor)
            return Order(**orjson.loads(message))


def _tell_ended(statuses: dict[int, int]) -> None:
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        descriptor = statuses.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(descriptor, _STATUS.pack(status))
        os.close(descriptor)


def carry_out(order: Order) -> int:
    """As the interpreter does with a program; the exit code."""
    for number in _PLAIN_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environ)
    random.seed()
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    try:
        if order.program == "parshall":
            sys.argv = ["parshall", *order.arguments]
            import_module("frontends.cli").main(prog_name="parshall")
        else:
            sys.argv = ["-c"]
            exec(compile(order.arguments[0], "<string>", "exec"), vars(main))
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
        return 1
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - there is nobody else to tell
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> None:
    """As the interpreter ends, but for freeing what it has imported."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    found = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    if found is not None:
        _end(carry_out(found))
