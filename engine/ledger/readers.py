"""Connections that cannot write; one is kept for the next question while its database is owned.

Opening one costs 2 ms of a core, in which SQLite reads the whole schema.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database

_BUSY_TIMEOUT_S: Final = 5.0


class _Connection(sqlite3.Connection):
    """Knows its cursors: one that is not read to its end goes on seeing what it saw first, and so
    would whoever asks on this connection next."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().execute(*arguments)
        self._cursors.add(cursor)
        return cursor

    def end_reads(self) -> None:
        """See what is committed from now on."""
        for cursor in list(self._cursors):
            cursor.close()
        self.rollback()


@dataclass(slots=True, eq=False)
class _Keeper:
    idle: _Connection | None = None


_lock: Final = threading.Lock()
_keepers: Final[dict[Path, _Keeper]] = {}
"""Of the databases that this process owns, by the paths that it names them by."""


@contextmanager
def keep_reader(path: Path) -> Iterator[None]:
    """Keep a connection to this database from one `open_reader` to the next, within the block.

    Leave it before the owner's own connection is closed: only one that may write, as the last,
    takes the write-ahead log in.
    """
    keeper = _Keeper()
    with _lock:
        _keepers[path] = keeper
    try:
        yield
    finally:
        with _lock:
            del _keepers[path]
            left, keeper.idle = keeper.idle, None
        if left is not None:
            left.close()


@contextmanager
def open_reader(path: Path, *, from_disk: bool = False) -> Iterator[Database]:
    """A connection for the block and for nobody else; one that has failed is not used again. With
    `from_disk` it is a new one: another has pages in memory that it would not read again.

    Raises:
        sqlite3.OperationalError: it cannot be opened, or whatever it is asked for cannot be read.
    """
    connection = (None if from_disk else _taken(path)) or _connected(path)
    try:
        yield Database(connection, execute_plugins=False)
        connection.end_reads()
    except BaseException:
        connection.close()
        raise
    if not _kept(path, connection):
        connection.close()


def _connected(path: Path) -> _Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )


def _taken(path: Path) -> _Connection | None:
    with _lock:
        keeper = _keepers.get(path)
        if keeper is None:
            return None
        taken, keeper.idle = keeper.idle, None
        return taken


def _kept(path: Path, connection: _Connection) -> bool:
    """Keep it, if it is the only one."""
    with _lock:
        keeper = _keepers.get(path)
        if keeper is None or keeper.idle is not None:
            return False
        keeper.idle = connection
        return True
