"""Calls into what is not ours that fail at their first, second, … last time.

A socket of Trio's, SQLite, an ASGI server, an embedder's sink: what they can raise is raised at the
k-th of a scenario's calls to them, for every k until a scenario makes no k-th call any more.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import pytest
import trio
from trio._socket import _SocketType

_CALLS_MAX: Final = 2_000
"""A scenario with more calls does not end."""

_MISSES_MAX: Final = 2
"""Runs that ended before their call came: sockets make some runs shorter than others."""

ERRNOS: Final = (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOBUFS, errno.EIO)

When = Literal["before", "after"]
"""Nothing is done, or it is done and nobody hears of it."""


@dataclass(slots=True)
class FailAt:
    """Raises at the k-th call that it is told of, and at the next ones if `times` says so."""

    number: int
    when: When = "before"
    times: int = 1
    calls: int = 0
    name: str = ""

    @property
    def fired(self) -> bool:
        """There was a k-th call."""
        return self.calls >= self.number

    def due(self, name: str) -> bool:
        """Count a call; whether it is to fail."""
        self.calls += 1
        if self.calls == self.number:
            self.name = name
        return self.number <= self.calls < self.number + self.times

    def error(self) -> OSError:
        """What the operating system says; another thing at each number."""
        code = ERRNOS[self.number % len(ERRNOS)]
        return OSError(code, os.strerror(code))

    def check(self, name: str) -> None:
        """Count a call, or fail it."""
        if self.due(name):
            raise self.error()

    def __str__(self) -> str:
        return f"call {self.number} ({self.name}) failed {self.when} it was done"


async def fail_everywhere(
    scenario: Callable[[FailAt], Awaitable[None]],
    check: Callable[[FailAt], Awaitable[None]],
    *,
    when: When = "before",
    times: int = 1,
) -> int:
    """Run a scenario with its first, second, … call failing, and a check after each.

    The last runs meet no failure any more. Returns how many failures there were.
    """
    points = misses = 0
    for number in range(1, _CALLS_MAX):
        failing = FailAt(number, when, times)
        await scenario(failing)
        await check(failing)
        points += failing.fired
        misses = 0 if failing.fired else misses + 1
        if misses == _MISSES_MAX:
            return points
    raise AssertionError("the scenario does not end")


@contextmanager
def failing_sockets(
    failing: FailAt, *, local_port: int | None = None, remote_port: int | None = None
) -> Iterator[None]:
    """Sockets with this port at this end fail to connect, to receive and to send."""

    def is_ours(sock: Any) -> bool:
        try:
            if local_port is not None:
                return bool(sock.getsockname()[1] == local_port)
            return bool(sock.getpeername()[1] == remote_port)
        except OSError:  # not connected, or closed
            return False

    def failing_call(name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(_SocketType, name)

        async def wrapper(self: Any, *arguments: Any) -> Any:
            # One that is known by now may have been closed when the call is done.
            ours = arguments[0][1] == remote_port if name == "connect" else is_ours(self)
            if failing.when == "before" and ours:
                await trio.lowlevel.checkpoint()
                failing.check(name)
            result = await call(self, *arguments)
            if failing.when == "after" and ours and active:  # a reader may wait until long after
                failing.check(name)
            return result

        return wrapper

    active = False

    def failing_io(name: str, call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Of what goes to the kernel without Trio."""

        def wrapper(file: Any, argument: Any) -> Any:
            ours = active and _is_at(file, local_port, remote_port)
            if failing.when == "before" and ours:
                failing.check(name)
            result = call(file, argument)
            if failing.when == "after" and ours:
                failing.check(name)
            return result

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "recv", "send"):
            patch.setattr(_SocketType, name, failing_call(name))
        patch.setattr(os, "read", failing_io("read", os.read))
        patch.setattr(os, "write", failing_io("write", os.write))
        patch.setattr(socket.socket, "recv", failing_io("recv", socket.socket.recv))
        active = True
        yield
        active = False


def _is_at(file: int | socket.socket, local_port: int | None, remote_port: int | None) -> bool:
    """Whether it is a socket of the kernel's with this port at this end."""
    descriptor = file if isinstance(file, int) else file.fileno()
    if descriptor < 0 or not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        try:
            name = sock.getsockname() if local_port is not None else sock.getpeername()
        except OSError:  # not connected
            return False
    port = local_port if local_port is not None else remote_port
    return isinstance(name, tuple) and bool(name[1] == port)
