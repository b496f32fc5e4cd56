"""Who is above the serving process: our supervisor, systemd, both or nobody.

They hold the listening sockets, which outlive this process. Between the supervisor and this
process is a socket pair, the channel. Lines of JSON go up, with the sockets that are to be held;
nothing comes down but its end, when the supervisor has died.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress

import trio

from frontends.notify import READY, STOPPING, WATCHDOG, notify, watchdog_interval_s
from frontends.server.binds import address_of_socket
from frontends.supervisor import SUPERVISED

_PR_SET_PDEATHSIG = 1
_LISTEN_FDS_START = 3
"""Where systemd's sockets begin (sd_listen_fds(3))."""


class Superior:
    """What is above this process. `open_superior` makes it."""

    def __init__(
        self,
        channel: socket.socket | None,
        held: Mapping[str, list[socket.socket]],
        activated: Mapping[str, list[socket.socket]],
        watchdog_s: float | None,
    ) -> None:
        self._channel = channel
        self._held = dict(held)
        self._activated = dict(activated)
        self._taken: list[str] = []
        self._watchdog_s = watchdog_s

    def binds(self, configured: Sequence[str]) -> tuple[str, ...]:
        """Where to listen: on systemd's sockets if there are any, else as configured."""
        return tuple(self._activated) or tuple(configured)

    def take(self, bind: str) -> list[socket.socket]:
        """Sockets that listen there already, each given once; empty if there are none."""
        if bind in self._activated:
            return self._activated.pop(bind)
        if bind in self._held:
            self._taken.append(bind)
        return self._held.pop(bind, [])

    def hold(self, opened: Mapping[str, Sequence[socket.socket]]) -> bool:
        """Have the supervisor hold these, and let go of what was not taken."""
        self._close_untaken()
        if self._channel is None:
            return False
        files = [sock.fileno() for sockets in opened.values() for sock in sockets]
        counts = {bind: len(sockets) for bind, sockets in opened.items()}
        return self._say({"hold": counts, "keep": self._taken}, files)

    def ready(self) -> None:
        """It serves."""
        self._say({"state": "ready"})
        notify(READY)

    def stopping(self) -> None:
        """It ends of its own will: what is held may be let go."""
        self._say({"state": "stopping"})
        notify(STOPPING)

    async def wait_gone(self) -> None:
        """Return when the supervisor has died."""
        if self._channel is None:
            await trio.sleep_forever()
        _die_with_parent(0)  # the channel says it once; Linux, for each thread that the parent had
        await trio.lowlevel.wait_readable(self._channel)

    async def reassure(self) -> None:
        """Tell systemd's watchdog for ever that the event loop turns, where it wants to know."""
        if self._watchdog_s is None:
            return
        while True:
            notify(WATCHDOG)
            await trio.sleep(self._watchdog_s)

    def close(self) -> None:
        """Let go of the channel and of sockets that nobody took."""
        self._close_untaken()
        if self._channel is not None:
            self._channel.close()

    def _close_untaken(self) -> None:
        for sockets in (*self._held.values(), *self._activated.values()):
            for sock in sockets:
                sock.close()
        self._held.clear()
        self._activated.clear()

    def _say(self, message: object, files: Sequence[int] = ()) -> bool:
        """False where nobody hears; a dead supervisor ends this process by itself."""
        if self._channel is None:
            return False
        with suppress(OSError):
            socket.send_fds(self._channel, [json.dumps(message).encode() + b"\n"], files)
        return True


@contextmanager
def open_superior(environ: MutableMapping[str, str]) -> Iterator[Superior]:
    """Take over what `environ` says that this process was given; no child of it will again."""
    given = json.loads(environ.pop(SUPERVISED, "{}"))
    channel = None
    if "channel" in given:
        channel = _adopt(given["channel"])
        channel.setblocking(False)
        _die_with_parent(signal.SIGTERM)
    pids = {os.getpid(), os.getppid()} if channel is not None else {os.getpid()}
    held = {bind: [_adopt(file) for file in files] for bind, files in given.get("held", {}).items()}
    superior = Superior(
        channel, held, _activated(environ, pids), watchdog_interval_s(environ, pids)
    )
    try:
        yield superior
    finally:
        superior.close()


def _activated(environ: MutableMapping[str, str], pids: set[int]) -> dict[str, list[socket.socket]]:
    """Systemd's sockets (LISTEN_FDS), by address; a supervisor passes its own on."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not (pid.isdecimal() and int(pid) in pids and count.isdecimal()):
        return {}
    activated: dict[str, list[socket.socket]] = {}
    for file in range(_LISTEN_FDS_START, _LISTEN_FDS_START + int(count)):
        sock = _adopt(file)
        activated.setdefault(address_of_socket(sock), []).append(sock)
    return activated


def _adopt(file: int) -> socket.socket:
    os.set_inheritable(file, False)
    return socket.socket(fileno=file)


def _die_with_parent(number: int) -> None:
    """Ask Linux for a signal when the parent dies: who does not read the channel yet ends, too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
