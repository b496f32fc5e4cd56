"""One process at a time owns a database: a lock file beside it, held while the process lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.ledger.records import LedgerError, LedgerLockedError


def lock_path(database: Path) -> Path:
    """The lock of a database, by whatever path it is reached: symlinks are followed first."""
    database = database.resolve()
    return database.with_name(database.name + ".lock")


@contextmanager
def own_database(database: Path) -> Iterator[None]:
    """Own the database within the block. The kernel gives the lock back however the process ends.

    The file stays: unlinking a locked file would let a third process lock a new one.

    Raises:
        LedgerLockedError: another process owns it.
        LedgerError: the lock file cannot be made.
    """
    path = lock_path(database)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerError(f"cannot open the lock file {path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked_error(database, descriptor) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _locked_error(database: Path, descriptor: int) -> LedgerLockedError:
    pid = None
    with suppress(ValueError):
        pid = int(os.pread(descriptor, 32, 0))
    owner = "another process" if pid is None else f"process {pid}"
    return LedgerLockedError(
        f"{database} is in use by {owner}. While a server runs, reach the ledger through that"
        " server's control socket, or stop it first.",
        pid=pid,
    )
