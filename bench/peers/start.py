"""Starts a peer, waits until it serves, and leaves nothing of it behind.

A peer gets a clean environment, a session of its own, and a folder that goes with it. Its log stays
in the home, under `logs/`, until the next start. It is ended by SIGKILL, process by process: what
it wrote goes with its folder, and a graceful end would wait for the streams of the load.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Final, TypeVar
from urllib.parse import urlsplit

from bench.peers.install import Installed, find_installed
from bench.peers.row import PeerError, PeerRow, Program
from bench.peers.tree import born, is_loopback, listener_of, listens_on, session_of
from bench.suite.model import Peer
from bench.suite.processes import tree_of

_STARTS_MAX: Final = 3
"""Ports are free when they are chosen, and may be taken when they are bound."""
_PORT_TAKEN: Final = "in use"
"""In a log: how every one of them says EADDRINUSE."""
_ADMIN_TIMEOUT_S: Final = 30.0
_END_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.02
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 8_192

_LAUNCH: Final = """
import os, resource, sys
if sys.argv[1]:
    os.sched_setaffinity(0, {int(sys.argv[1])})
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Pins the process that becomes the peer, and lets it open as many files as it may."""


@dataclass(frozen=True, slots=True)
class StartedPeer(Peer):
    """One that was started here, and runs as long as it has processes."""


@contextmanager
def running_peer(
    row: PeerRow,
    provider: str,
    core: int | None,
    home: Path,
    installed: Installed | None = None,
) -> Iterator[Peer]:
    """A peer that serves, in front of the simulated provider at the URL `provider`.

    It is pinned to `core`, if one is named. What runs already is only described. `installed` is
    what was found before: of Parshall's source a later copy may be another.

    Raises:
        PeerError: it is not installed, does not start, or listens beyond loopback.
    """
    home = home.expanduser().absolute()
    given = {"provider": provider, "provider_address": urlsplit(provider).netloc}
    installed = installed or find_installed(row, home)
    if row.program is None:
        yield _describe(Peer, row, given, installed, row.pid or _pid_behind(row, provider))
        return
    for name in ("home", "logs", "running"):
        (home / name).mkdir(parents=True, exist_ok=True)
    log = home / "logs" / f"{row.name.replace('/', '_')}.log"
    with TemporaryDirectory(dir=home / "running", prefix="peer-") as folder:
        values = given | {
            "folder": folder,
            "installed": str(installed.folder),
            "program": str(installed.program),
            "python": sys.executable,
            "prelude": row.prelude,
        }
        start = _Start(row, row.program, values, core, home, log)
        with start.running() as process:
            values["key"] = start.administer()
            yield _describe(StartedPeer, row, values, installed, process.pid)


_P = TypeVar("_P", bound=Peer)


def _describe(
    kind: type[_P], row: PeerRow, values: Mapping[str, str], installed: Installed, pid: int
) -> _P:
    return kind(
        name=row.name,
        version=installed.version,
        revision=installed.revision,
        base_url=_fill(row.base_url, values),
        headers=tuple((name, _fill(value, values)) for name, value in row.headers),
        pids=lambda: tree_of([pid] if pid else []),
        models=row.models,
        protocols=row.protocols,
        http=row.http,
        translates=row.translates,
        tokens_per_s_max=row.tokens_per_s_max,
        notes=row.notes,
    )


def _pid_behind(row: PeerRow, provider: str) -> int:
    """Of `direct`: the simulated provider's. 0 where it is not on this machine."""
    parts = urlsplit(provider)
    direct = row.base_url == "$provider" and is_loopback(parts.hostname or "")
    return listener_of(parts.port) if direct and parts.port is not None else 0


def _fill(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)


@dataclass(slots=True)
class _Start:
    """One start of one program; `values` are for its templates and get the ports."""

    row: PeerRow
    program: Program
    values: dict[str, str]
    core: int | None
    home: Path
    log: Path

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process, once it serves; gone with all that it started on leaving."""
        for last in (*[False] * (_STARTS_MAX - 1), True):
            self.values.update(_free_ports())
            self._write_files()
            process = self._launch()
            try:
                if self._comes_up(process, last):
                    yield process
                    return
            finally:
                _end(process)

    def _comes_up(self, process: subprocess.Popen[bytes], last: bool) -> bool:
        """Wait for it; False if its port was taken meanwhile and it can have another."""
        try:
            self._wait_until_serving(process)
        except PeerError:
            if last or _PORT_TAKEN not in self._tail():
                raise
            return False
        return True

    def administer(self) -> str:
        """Run the commands that make accounts and keys; the key, or nothing."""
        printed = b"{}"
        for template in self.program.admin:
            command = [_fill(word, self.values) for word in template]
            try:
                done = subprocess.run(  # noqa: S603 - of a row
                    command,
                    cwd=self.values["folder"],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=_ADMIN_TIMEOUT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise PeerError(f"{self.row.name}: {type(error).__name__} of a command") from error
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()[-_TAIL_BYTES:]
                raise PeerError(f"{self.row.name}: an account cannot be made: {said}")
            printed = done.stdout
        return str(json.loads(printed)[self.program.key]) if self.program.key else ""

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home / "home"),
            "TMPDIR": self.values["folder"],
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
        } | {name: _fill(value, self.values) for name, value in self.program.environment.items()}

    def _write_files(self) -> None:
        for name, text in self.program.files.items():
            Path(self.values["folder"], name).write_text(_fill(text, self.values))

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [_fill(word, self.values) for word in self.program.command]
        found = shutil.which(command[0])
        if found is None:
            raise PeerError(f"{self.row.name}: there is no program {command[0]}")
        core = "" if self.core is None else str(self.core)
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - of a row
                [sys.executable, "-I", "-S", "-c", _LAUNCH, core, found, *command[1:]],
                cwd=self.values["folder"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is ours to obey
            )

    def _wait_until_serving(self, process: subprocess.Popen[bytes]) -> None:
        until_s = time.monotonic() + self.program.start_timeout_s
        port = int(self.values["port"])
        while not _serves(port, self.program.health):
            if process.poll() is not None:
                raise PeerError(
                    f"{self.row.name} ended at once ({process.returncode}):\n{self._tail()}"
                )
            if time.monotonic() > until_s:
                limit = f"{self.program.start_timeout_s:.0f} s"
                raise PeerError(f"{self.row.name} does not serve within {limit}:\n{self._tail()}")
            time.sleep(_POLL_S)
        addresses = listens_on(tree_of([process.pid]))
        if open_to_all := [host for host, _ in addresses if not is_loopback(host)]:
            raise PeerError(f"{self.row.name} listens on {open_to_all[0]}, not only on loopback")
        if port not in {each for _, each in addresses}:
            raise PeerError(f"{self.row.name}: port {port} is in use by another:\n{self._tail()}")

    def _tail(self) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join(f"    {line}\n" for line in lines) + f"(all of it: {self.log})"


def _free_ports() -> dict[str, str]:
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in ("port", "port2")}
    ports = {name: str(sock.getsockname()[1]) for name, sock in sockets.items()}
    for sock in sockets.values():
        sock.close()
    return ports


def _serves(port: int, path: str) -> bool:
    """Whether it answers 200 there; without a path, whether it takes connections."""
    if not path:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and all that it started; the first one first, which might start others anew."""
    known = {pid: born(pid) for pid in tree_of([process.pid])}
    process.kill()
    until_s = time.monotonic() + _END_TIMEOUT_S
    while True:
        known |= {pid: born(pid) for pid in session_of(process.pid)}
        left = [pid for pid, since in known.items() if since and born(pid) == since]
        for pid in left:
            _signal(pid, signal.SIGKILL)
        if process.poll() is not None and not left:
            return
        if time.monotonic() > until_s:
            raise PeerError(f"processes {left} do not end")
        time.sleep(_POLL_S)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
