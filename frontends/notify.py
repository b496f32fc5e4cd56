"""What systemd is told of this process, in the words of sd_notify(3); nothing without systemd.

Standard library only: the supervisor stays small.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

_MESSAGE_MAX_BYTES = 4_096


def notify(*lines: str) -> None:
    """Send lines, as one message, to the socket that NOTIFY_SOCKET names. Never waits or raises:
    whom nobody hears goes on all the same."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    message = "\n".join(lines).encode()[:_MESSAGE_MAX_BYTES]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message, address)


def reloading() -> str:
    """That the configuration is being read again; READY ends it (Type=notify-reload)."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}"


def watchdog_interval_s(environ: Mapping[str, str], pids: Collection[int]) -> float | None:
    """How often WATCHDOG has to be said: twice in the time that systemd allows. None: never, as
    nobody waits for it, or for another process than those of `pids`."""
    allowed_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not allowed_us.isdecimal() or int(allowed_us) == 0:
        return None
    if pid and not (pid.isdecimal() and int(pid) in pids):
        return None
    return int(allowed_us) / 2e6
