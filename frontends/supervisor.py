"""The supervisor: holds the listening sockets, and replaces a serving process that has died.

    python -P -m frontends.supervisor COMMAND…        as `parshall serve --supervised` starts it

While nobody serves, the kernel queues connections. It is small and does little, so that there is
little to die of: standard library only, one thread, no configuration. The serving process opens
the sockets and hands them up through the channel (`frontends/supervised.py` is its end of it).
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from frontends.logs import logging_to
from frontends.notify import WATCHDOG, notify

log = logging.getLogger("parshall.supervisor")

SUPERVISED = "PARSHALL_SUPERVISED"
"""The variable that tells a serving process of its supervisor: its end of the channel, and the
sockets that are held for it by bind; numbers of open files, in JSON."""

BACKOFF_S = (0.1, 0.5, 2.0, 5.0)
"""Before the first replacement, the second …; failures that are long past do not count."""
FAILURES_MAX = 5
FAILURES_WINDOW_S = 60.0
FAILED = 1
NOT_STARTED = 126
"""What shells say of a program that cannot be run."""
REFUSED = frozenset({2, 3})
"""Wrong usage, and a configuration that is refused: another process would end so, too."""

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MESSAGE_MAX_BYTES = 65_536
_SOCKETS_MAX = 253
"""What one message may carry on Linux (SCM_MAX_FD)."""


class Supervisor:
    """Runs one serving process at a time."""

    def __init__(self, command: Sequence[str], backoff_s: Sequence[float] = BACKOFF_S) -> None:
        self._command = list(command)
        self._backoff_s = backoff_s
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._received = b""
        self._arrived: deque[socket.socket] = deque()
        self._held: dict[str, list[socket.socket]] = {}
        self._paths: dict[str, int] = {}
        """Unix paths of held sockets, and their inodes."""
        self._served = False
        self._stopping = False
        self._failed_at: deque[float] = deque(maxlen=FAILURES_MAX)

    def run(self) -> int:
        """Until the serving process has ended for good; the exit code."""
        with ExitStack() as stack:
            stack.callback(self._let_go)
            stack.callback(self._remove_paths)
            woken, waker = socket.socketpair()
            for end in (woken, waker):
                stack.enter_context(end)
                end.setblocking(False)
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(waker.fileno()))
            for number in (*_FORWARDED, signal.SIGCHLD):
                stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))
            while True:
                code = self._wait_ended(woken) if self._start() else NOT_STARTED
                if (ended := self._exit_code(code)) is not None:
                    return ended
                if not self._wait_backoff(woken):
                    return 0

    def _start(self) -> bool:
        """Start a serving process, with what is held for it; False where the system does not."""
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        self._received = b""
        held = {bind: [sock.fileno() for sock in each] for bind, each in self._held.items()}
        given = json.dumps({"channel": theirs.fileno(), "held": held})
        files = [theirs.fileno(), *(file for each in held.values() for file in each)]
        notify(WATCHDOG)  # it has a whole period to come up in
        with theirs:
            # In a group of its own: a terminal's interrupt comes once, through us.
            try:
                self._process = subprocess.Popen(  # noqa: S603 - it is our own command line
                    self._command,
                    env={**os.environ, SUPERVISED: given},
                    pass_fds=[*files, *_activated_files()],
                    process_group=0,
                )
            except OSError as error:
                log.error("no serving process can be started: %s", error.strerror)
                self._channel.close()
                return False
        log.info("the serving process is %d", self._process.pid)
        return True

    def _wait_ended(self, woken: socket.socket) -> int:
        """Forward signals and take messages until the process has ended; its return code."""
        assert self._process is not None
        assert self._channel is not None
        with selectors.DefaultSelector() as selector, self._channel:
            selector.register(woken, selectors.EVENT_READ)
            selector.register(self._channel, selectors.EVENT_READ)
            while self._process.poll() is None:
                for key, _ in selector.select():
                    if key.fileobj is woken:
                        self._forward(_read_signals(woken))
                    elif not self._take_messages():
                        selector.unregister(self._channel)
            while self._take_messages():
                pass
        return self._process.returncode

    def _forward(self, numbers: Sequence[int]) -> None:
        assert self._process is not None
        for number in numbers:
            if number in _FORWARDED:
                self._stopping |= number != signal.SIGHUP
                with suppress(ProcessLookupError):
                    self._process.send_signal(number)

    def _take_messages(self) -> bool:
        """What the process says; False when there is no more of it."""
        assert self._channel is not None
        try:
            data, files, _, _ = socket.recv_fds(self._channel, _MESSAGE_MAX_BYTES, _SOCKETS_MAX)
        except BlockingIOError:
            return self._process is not None and self._process.returncode is None
        except OSError:
            return False
        for file in files:
            os.set_inheritable(file, False)
            self._arrived.append(socket.socket(fileno=file))
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, message: dict[str, Any]) -> None:
        if "hold" in message:
            for bind in self._held.keys() - set(message["keep"]):
                _close(self._held.pop(bind))
            for bind, count in message["hold"].items():
                self._held[bind] = [self._arrived.popleft() for _ in range(count)]
                self._note_paths(self._held[bind])
        match message.get("state"):
            case "ready":
                self._served = True
            case "stopping":
                self._stopping = True
                self._let_go()

    def _exit_code(self, code: int) -> int | None:
        """What to end with now that the process has; None: it is to be replaced."""
        how = f"was killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if self._stopping or code == 0 or (code > 0 and not self._served):
            return code if code >= 0 else 128 - code
        if code in REFUSED:
            log.error("the serving process %s: it is not replaced", how)
            return code
        now = time.monotonic()
        self._failed_at.append(now)
        if len(self._failed_at) == FAILURES_MAX and now - self._failed_at[0] < FAILURES_WINDOW_S:
            log.error(
                "the serving process %s, %d times within %g s: giving up",
                how,
                FAILURES_MAX,
                FAILURES_WINDOW_S,
            )
            return FAILED
        log.error("the serving process %s: it is replaced", how)
        return None

    def _wait_backoff(self, woken: socket.socket) -> bool:
        """False if it is to stop meanwhile."""
        now = time.monotonic()
        recent = sum(now - at < FAILURES_WINDOW_S for at in self._failed_at)
        until = now + self._backoff_s[min(recent, len(self._backoff_s)) - 1]
        with selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            while (left_s := until - time.monotonic()) > 0:
                selector.select(left_s)
                if {signal.SIGTERM, signal.SIGINT} & set(_read_signals(woken)):
                    return False
        return True

    def _let_go(self) -> None:
        """Hold nothing: who connects from now on is refused, not queued for nobody."""
        _close(self._arrived)
        for sockets in self._held.values():
            _close(sockets)
        self._arrived.clear()
        self._held.clear()

    def _note_paths(self, sockets: Iterable[socket.socket]) -> None:
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                with suppress(OSError):  # somebody has removed it already
                    path = sock.getsockname()
                    self._paths[path] = os.stat(path).st_ino

    def _remove_paths(self) -> None:
        for path, inode in self._paths.items():
            with suppress(OSError):
                if os.stat(path).st_ino == inode:
                    os.unlink(path)


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _read_signals(woken: socket.socket) -> bytes:
    """The numbers of the signals that have come."""
    try:
        return woken.recv(4_096)
    except BlockingIOError:
        return b""


def _activated_files() -> range:
    """Systemd's sockets, if it has given us any (sd_listen_fds(3)); the process gets them too."""
    count = os.environ.get("LISTEN_FDS", "")
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    return range(3, 3 + int(count)) if ours and count.isdecimal() else range(0)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def become_supervisor(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by a supervisor of `python ARGUMENTS…`, which takes up less."""
    command = [sys.executable, "-P", "-m", "frontends.supervisor", *arguments]
    os.execv(sys.executable, command)  # noqa: S606


def main() -> NoReturn:
    """Supervise what the command line says."""
    with logging_to(sys.stderr, "info"):
        code = Supervisor([sys.executable, *sys.argv[1:]]).run()
    sys.exit(code)


if __name__ == "__main__":
    main()
