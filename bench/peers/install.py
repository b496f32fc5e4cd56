"""Puts a peer's program into an environment of its own, under the home of the benchmark.

Idempotent: a stamp beside it holds a digest of everything it was made from. What is half done is
thrown away. Where packages come from is for uv and npm to know: they see the caller's environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from bench.peers.row import (
    NodePackages,
    Nothing,
    PeerError,
    PeerRow,
    PythonPackages,
    Source,
    SystemProgram,
)
from bench.peers.source import copy_source

_INSTALL_TIMEOUT_S: Final = 600.0
_ASK_TIMEOUT_S: Final = 10.0
_TAIL_LINES: Final = 12
_STAMP: Final = "stamp"

_UV_NAMES: Final = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}
"""What a machine says to pip about where packages come from, said to uv."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A peer's program.

    Attributes:
        program: None where there is nothing to start.
        folder: where it stands.
        version, revision: as in `Peer`.
    """

    program: Path | None
    folder: Path
    version: str
    revision: str = ""


def install_peer(row: PeerRow, home: Path, say: Callable[[str], None]) -> Installed:
    """Install what a row names, unless it is there; `say` is given a line when it takes long.

    Parshall's own source is copied once a process, so that a run measures one and the same.

    Raises:
        PeerError: something is missing or cannot be reached; says what to do.
    """
    home = home.expanduser().absolute()
    match row.install:
        case PythonPackages() | NodePackages():
            with _one_at_a_time(home):
                if _installed_packages(row, home) is None:
                    say(f"installing {row.name} {row.version} into {home} (this happens once)")
                    _install_packages(row, home)
        case Source(revision):
            copy = copy_source(revision, home)
            version = importlib.metadata.version("parshall")
            return Installed(Path(sys.executable), copy.folder, version, copy.revision)
        case SystemProgram() | Nothing():
            pass
    return find_installed(row, home)


def find_installed(row: PeerRow, home: Path) -> Installed:
    """What `install_peer` has installed. Parshall is always there.

    Raises:
        PeerError: it is not there.
    """
    home = home.expanduser().absolute()
    match row.install:
        case Nothing():
            return Installed(None, home, row.version)
        case SystemProgram():
            return _find_program(row, row.install)
        case Source():
            return install_peer(row, home, lambda _: None)
        case _:
            found = _installed_packages(row, home)
    if found is None:
        raise PeerError(
            f"{row.name} {row.version} is not installed; `parshall bench peers install {row.name}` "
            "does it"
        )
    return found


# -- packages ---------------------------------------------------------------------------------


def _folder_of(row: PeerRow, home: Path) -> Path:
    return home / "peers" / row.name


def _installed_packages(row: PeerRow, home: Path) -> Installed | None:
    assert isinstance(row.install, PythonPackages | NodePackages)
    folder = _folder_of(row, home)
    program = folder / row.install.program
    try:
        current = (folder / _STAMP).read_text() == _digest(row, folder)
    except OSError:
        return None
    return Installed(program, folder, row.version) if current and program.exists() else None


def _digest(row: PeerRow, folder: Path) -> str:
    """Of what it is made from and where it stands: environments cannot be moved."""
    state = hashlib.sha256(f"{folder}\0{sys.version}\0{row.install}\0".encode())
    match row.install:
        case PythonPackages(lock=lock):
            state.update(_data(lock))
        case NodePackages(manifests=manifests):
            for name in manifests:
                state.update(_data(name))
    return state.hexdigest()


def _data(name: str) -> bytes:
    return files("bench.peers").joinpath(name).read_bytes()


def _install_packages(row: PeerRow, home: Path) -> None:
    folder = _folder_of(row, home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        match row.install:
            case PythonPackages(lock=lock):
                _install_python(lock, folder)
            case NodePackages(manifests=manifests):
                _install_node(manifests, folder)
        (folder / _STAMP).write_text(_digest(row, folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _install_python(lock: str, folder: Path) -> None:
    beside = os.path.dirname(sys.executable)
    uv = shutil.which("uv", path=f"{beside}:{os.environ.get('PATH', os.defpath)}")
    if uv is None:
        raise PeerError("uv is not installed, which installs Python peers: `pip install uv`")
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never")
    for pip_name, uv_name in _UV_NAMES.items():
        if pip_name in os.environ:
            environment.setdefault(uv_name, os.environ[pip_name])
    environment.pop("VIRTUAL_ENV", None)
    path = folder / "requirements.lock"
    path.write_bytes(_data(lock))
    _run(
        [uv, "venv", "-q", "--clear", "--python", sys.executable, "environment"],
        folder,
        environment,
    )
    arguments = [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--compile-bytecode",
        "-r",
        str(path),
    ]
    python = str(folder / "environment" / "bin" / "python")
    _run([uv, "pip", "install", "-q", "--python", python, *arguments], folder, environment)


def _install_node(manifests: Sequence[str], folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise PeerError(
            "Node with npm is not installed, which this peer runs on (Debian and Ubuntu: "
            "`apt install nodejs npm`)"
        )
    for name in manifests:
        (folder / os.path.basename(name)).write_bytes(_data(name))
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([npm, "ci", *options], folder, dict(os.environ))


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    """Raises PeerError with what it said last."""
    what = " ".join(os.path.basename(word) if at == 0 else word for at, word in enumerate(command))
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(  # noqa: S603 - uv and npm, with arguments of ours
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=_INSTALL_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PeerError(f"`{what}` takes longer than {_INSTALL_TIMEOUT_S:.0f} s") from None
        if done.returncode == 0:
            return
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    raise PeerError(
        f"`{what}` failed:\n"
        + "".join(f"    {line}\n" for line in lines)
        + "Packages come from where uv and npm are configured to look: is it reachable?"
    )


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# -- programs of the machine ------------------------------------------------------------------


def _find_program(row: PeerRow, wanted: SystemProgram) -> Installed:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin:/sbin"
    found = shutil.which(wanted.name, path=path)
    if found is None:
        raise PeerError(f"{wanted.name} is not installed: {wanted.remedy}")
    said = subprocess.run(  # noqa: S603
        [found, wanted.version_argument],
        capture_output=True,
        text=True,
        timeout=_ASK_TIMEOUT_S,
        check=False,
    )
    version = (said.stdout + said.stderr).strip().rpartition("/")[2]
    return Installed(Path(found), Path(found).parent, version)
