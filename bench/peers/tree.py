"""Processes as /proc shows them: who is of a session, and who listens where."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""
_ORDER: Final = sys.byteorder
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def born(pid: int) -> int:
    """When it began, in ticks since the machine did, so that a later process of the same number
    is told apart; 0 once it has ended (proc_pid_stat(5): fields 3 and 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def session_of(leader: int) -> tuple[int, ...]:
    """The processes that run in a session, whoever is their parent now."""
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdecimal() and os.getsid(int(name)) == leader and born(int(name)):
                found.append(int(name))
    return tuple(found)


def listens_on(pids: Iterable[int]) -> frozenset[tuple[str, int]]:
    """The addresses (IP, port) of TCP on which these processes accept connections."""
    ours = {inode for pid in pids for inode in _sockets(pid)}
    return frozenset(address for inode, address in _listening() if inode in ours)


def listener_of(port: int) -> int:
    """The process that accepts connections at a port of loopback; 0 if none that we may see."""
    inodes = {inode for inode, (_, each) in _listening() if each == port}
    for name in os.listdir("/proc"):
        if name.isdecimal() and inodes.intersection(_sockets(int(name))):
            return int(name)
    return 0


def is_loopback(host: str) -> bool:
    """An IP address that no other machine reaches, or the name `localhost`."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _sockets(pid: int) -> list[str]:
    """Inodes of its open sockets."""
    found = []
    with suppress(OSError):  # it has ended, or is another user's
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if match := _SOCKET.fullmatch(os.readlink(entry.path)):
                    found.append(match[1])
    return found


def _listening() -> list[tuple[str, tuple[str, int]]]:
    """Inode and address of every listening TCP socket (proc_pid_net(5))."""
    found = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):  # a kernel without IPv6
            for line in Path("/proc/net", name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found.append((fields[9], _address(fields[1])))
    return found


def _address(text: str) -> tuple[str, int]:
    """`0100007F:1F90` is 127.0.0.1, port 8080: words of 32 bits in the machine's order."""
    digits, _, port = text.partition(":")
    words = [digits[at : at + 8] for at in range(0, len(digits), 8)]
    raw = b"".join(int(word, 16).to_bytes(4, _ORDER) for word in words)
    return str(ipaddress.ip_address(raw)), int(port, 16)
