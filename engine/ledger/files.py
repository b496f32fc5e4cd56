"""Files that are there whole or not at all, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.ledger.records import LedgerError


@contextmanager
def partial_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target, its owner's alone, that does not outlive the block.

    What a process that was killed has left is in nobody's way: in containers process ids recur.

    Raises:
        LedgerError: it cannot be made.
    """
    partial = target.with_name(f"{target.name}.partial-{secrets.token_hex(4)}")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(f"cannot write {partial}: {error.strerror}") from error
    try:
        yield partial
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def keep(partial: Path, target: Path) -> None:
    """Make a finished file durable under its name.

    Raises:
        LedgerError: it cannot be written, or not renamed.
    """
    try:
        _sync(partial)
        partial.rename(target)
        _sync(target.absolute().parent)
    except OSError as error:
        raise LedgerError(f"cannot write {target}: {error.strerror}") from error


def _sync(path: Path) -> None:
    """A file, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
