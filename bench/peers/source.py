"""Parshall's own source, frozen: what runs does not change while somebody edits.

A helper process that is started from newer files than its gateway does not understand it; so a run
has a copy, named by what is in it. `git archive` gives a revision's, without a trace in the
repository; the copy of what stands there now says whether all of it is committed.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.peers.row import PeerError

_PACKAGES: Final = ("engine", "frontends", "bench")
_KEPT_MAX: Final = 16
"""Copies under one home; those that were not used for longest go."""
_GIT_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Copy:
    """A folder for PYTHONPATH, and what it holds: a short revision, `-dirty` if changed since."""

    folder: Path
    revision: str


@functools.lru_cache(maxsize=_KEPT_MAX)
def copy_source(revision: str, home: Path) -> Copy:
    """The packages at a revision of git; as they stand at the first call, if it is empty.

    Raises:
        PeerError: there is no such revision, or no git that would know.
    """
    sources = home / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    if revision:
        commit = _commit_of(revision)
        copy = Copy(sources / commit[:16], commit[:10])
        if not copy.folder.exists():
            with _new_folder(sources) as folder:
                _archive(commit, folder)
                _keep(folder, copy.folder)
    else:
        copy = _copy_now(sources)
    os.utime(copy.folder)
    _prune(sources)
    return copy


def _commit_of(revision: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--end-of-options", revision + "^{commit}")
    except PeerError as error:
        raise PeerError(f"there is no revision {revision} of Parshall here ({error})") from None


def _root() -> Path:
    """Where the packages are imported from."""
    spec = find_spec("engine")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _copy_now(sources: Path) -> Copy:
    root = _root()
    revision = ""
    if (root / ".git").exists():
        revision = _git("rev-parse", "--short=10", "HEAD")
        if _git("status", "--porcelain", "--", *_PACKAGES):
            revision += "-dirty"
    with _new_folder(sources) as folder:
        for name in _PACKAGES:
            shutil.copytree(root / name, folder / name)  # times too: what is compiled holds
        final = sources / f"now-{_digest(folder)}"
        _keep(folder, final)
    return Copy(final, revision)


@contextmanager
def _new_folder(sources: Path) -> Iterator[Path]:
    """Thrown away if it is still there, half done, at the end."""
    folder = Path(tempfile.mkdtemp(dir=sources, prefix="new-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _digest(folder: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        if path.is_file() and path.suffix != ".pyc":
            state.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def _archive(commit: str, folder: Path) -> None:
    packed = _run_git("archive", "--format=tar", commit, "--", *_PACKAGES).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def _keep(made: Path, final: Path) -> None:
    """Give it its name, unless another run was first."""
    try:
        made.rename(final)
    except OSError:
        if not final.exists():
            raise


def _prune(sources: Path) -> None:
    folders = sorted(sources.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[_KEPT_MAX:]:
        shutil.rmtree(folder, ignore_errors=True)


def _git(*arguments: str) -> str:
    return _run_git(*arguments).stdout.decode().strip()


def _run_git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git")
    if git is None or not (_root() / ".git").exists():
        raise PeerError(
            "revisions of Parshall can be had only where it runs from a checkout of git, and git "
            "is installed; `parshall` without @ is what is installed here"
        )
    command = [git, "-C", str(_root()), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - git, on our own repository
            command, capture_output=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"git {arguments[0]} takes longer than {_GIT_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PeerError(f"git {arguments[0]}: {said[0] if said else 'failed'}")
    return done
