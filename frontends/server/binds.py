"""Addresses to listening sockets: `host:port` (port 0 takes a free one) and `unix:/path`."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Protocol

import trio

BACKLOG = 4_096


_HINTS = {
    errno.EADDRINUSE: "; stop what listens there, or choose another address",
    errno.EADDRNOTAVAIL: "; it is not an address of this machine",
}


class BindError(Exception):
    """An address cannot be listened on; the message names it and says why."""


class SocketHolder(Protocol):
    """Another process, in which listening sockets outlive this one."""

    def take(self, bind: str) -> list[socket.socket]:
        """Sockets that listen there already, each given once; empty if there are none."""

    def hold(self, opened: Mapping[str, Sequence[socket.socket]]) -> bool:
        """Hold what this process has opened, by bind; it never unlinks Unix paths. False where
        nothing can be held."""


class NoHolder:
    """Nobody: the sockets end with this process."""

    def take(self, bind: str) -> list[socket.socket]:
        """None."""
        return []

    def hold(self, opened: Mapping[str, Sequence[socket.socket]]) -> bool:
        """Refused."""
        return False


@contextmanager
def listening(
    binds: Sequence[str], holder: SocketHolder | None = None
) -> Iterator[list[trio.SocketListener]]:
    """Listeners on all of `binds`: those that `holder` has, and new ones for the rest. Closed when
    the block is left; Unix paths are removed unless the holder keeps them.

    Raises:
        BindError: one of them cannot be had; none is held then.
    """
    holder = holder or NoHolder()
    with ExitStack() as stack, ExitStack() as paths:
        opened: dict[str, list[socket.socket]] = {}
        every: list[socket.socket] = []
        for bind in binds:
            sockets = holder.take(bind)
            if not sockets:
                sockets = opened[bind] = _open(bind, paths)
            every += sockets
            for sock in sockets:
                stack.callback(sock.close)
                sock.listen(BACKLOG)
                sock.setblocking(False)
        if holder.hold(opened):
            paths.pop_all()
        yield [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in every]


def is_unix(bind: str) -> bool:
    return bind.startswith("unix:")


def address_of(listener: trio.SocketListener) -> str:
    """The bound address, written as a bind: `127.0.0.1:8787`, `[::1]:8787`, `unix:/run/p.sock`."""
    return address_of_socket(listener.socket)


def address_of_socket(sock: socket.socket | trio.socket.SocketType) -> str:
    """As `address_of`."""
    name = sock.getsockname()
    match sock.family:
        case socket.AF_UNIX:
            return f"unix:{name}"
        case socket.AF_INET6:
            return f"[{name[0]}]:{name[1]}"
        case _:
            return f"{name[0]}:{name[1]}"


def _open(bind: str, paths: ExitStack) -> list[socket.socket]:
    """Bound sockets; what `paths` is given removes those of Unix from the file system."""
    try:
        return _open_unix(bind[5:], paths) if is_unix(bind) else _open_tcp(bind)
    except OSError as error:
        raise BindError(f"cannot listen on {bind}: {reason(error)}") from error


def _open_tcp(bind: str) -> list[socket.socket]:
    host, _, port = bind.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    if int(port) == 0:  # a name with two addresses would get two ports
        found = found[:1]
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
        except OSError:
            for opened in (*sockets, sock):
                opened.close()
            raise
        sockets.append(sock)
    return sockets


def _open_unix(path: str, paths: ExitStack) -> list[socket.socket]:
    remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    paths.callback(_remove, path, os.stat(path).st_ino)
    return [sock]


def remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on.

    Raises:
        OSError: EADDRINUSE when somebody does, or when the path is not a socket.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, "the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove(path: str, inode: int) -> None:
    """Unlink our socket file, unless another server has put its own there."""
    with suppress(FileNotFoundError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)


def reason(error: OSError) -> str:
    """Why an address cannot be had, and what to do where that is known."""
    reason = error.strerror or str(error)
    return f"{reason}{_HINTS.get(error.errno or 0, '')}"
