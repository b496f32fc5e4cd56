"""The full-text index of what agents know: a SQLite file of its own, with FTS5.

It is derived: whatever is not in it is read from the files again, so a file that is damaged, or
another version's, is begun anew. Each agent has a table of its own: what is rare in one is judged
by that one alone, and no question of one account reads what is another's.

Called in threads: one writes, several read.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.agents.extracting import Passage

_VERSION: Final = 1
_TERMS_MAX: Final = 48
_TERM: Final = re.compile(r"\w{2,64}")
_BUSY_S: Final = 5.0
_IDLE_MAX: Final = 4
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS agents (seq INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER NOT NULL REFERENCES agents (seq), file_id TEXT NOT NULL,
    PRIMARY KEY (seq, file_id)) WITHOUT ROWID;
"""
_STOP_WORDS: Final = frozenset(
    {
        "a", "about", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "could",
        "did", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "is",
        "it", "its", "me", "my", "no", "not", "of", "on", "or", "our", "please", "so", "tell",
        "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "to",
        "us", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will", "with",
        "would", "you", "your",
    }
)  # fmt: skip
"""Of English; a question of nothing else is looked up as it is."""


@dataclass(frozen=True, slots=True)
class Found:
    """A passage of a file that a question has led to. A lower `rank` is better."""

    file_id: str
    passage: Passage
    rank: float


class Index:
    """Of one gateway. There is no file before something is put into it, or asked for. What it
    raises is `sqlite3.Error` or `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._closed = False

    def _open(self) -> sqlite3.Connection:
        """The connection that writes; called by who has the lock."""
        if self._writer is None:
            if self._closed:
                raise sqlite3.ProgrammingError("it is closed")
            try:
                self._writer = self._begin()
            except sqlite3.DatabaseError:  # it is none, or not one that can be used
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._writer = self._begin()
        return self._writer

    def _begin(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError("of another version")
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
        except BaseException:
            connection.close()
            raise
        self._path.chmod(0o600)
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Nothing is asked any more."""
        with self._writing:
            self._closed = True
            if self._writer is not None:
                self._writer.close()
        while self._idle:
            self._idle.pop().close()

    # ---- what is in it ------------------------------------------------------------------------

    def files_of(self, agent_id: str) -> frozenset[str]:
        """The files that an agent's table has, by bare id."""
        sql = "SELECT file_id FROM files JOIN agents USING (seq) WHERE agent_id = ?"
        with self._reading() as db:
            return frozenset(file_id for (file_id,) in db.execute(sql, (agent_id,)))

    def add(self, agent_id: str, file_id: str, passages: Iterable[Passage]) -> None:
        """Put a file into an agent's table; nothing happens where it is there."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO agents (agent_id) VALUES (?)", (agent_id,))
            seq = _seq_of(db, agent_id)
            assert seq is not None, "it was put there"
            db.execute(
                f"CREATE VIRTUAL TABLE IF NOT EXISTS passages_{seq} USING fts5(text, "
                "file_id UNINDEXED, number UNINDEXED, start UNINDEXED, stop UNINDEXED, "
                "tokenize = 'porter unicode61 remove_diacritics 2')"
            )
            known = db.execute("INSERT OR IGNORE INTO files VALUES (?, ?)", (seq, file_id))
            if known.rowcount:
                db.executemany(
                    f"INSERT INTO passages_{seq} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - a number
                    ((p.text, file_id, p.number, p.start, p.end) for p in passages),
                )

    def drop(self, agent_id: str, file_ids: Iterable[str]) -> None:
        """Take files out of an agent's table."""
        with self._transaction() as db:
            seq = _seq_of(db, agent_id)
            if seq is None:
                return
            for file_id in file_ids:
                db.execute(f"DELETE FROM passages_{seq} WHERE file_id = ?", (file_id,))  # noqa: S608
                db.execute("DELETE FROM files WHERE seq = ? AND file_id = ?", (seq, file_id))

    def forget(self, agent_id: str) -> None:
        """Remove an agent's table, if it has one."""
        with self._transaction() as db:
            seq = _seq_of(db, agent_id)
            if seq is not None:
                db.execute(f"DROP TABLE IF EXISTS passages_{seq}")
                db.execute("DELETE FROM files WHERE seq = ?", (seq,))
                db.execute("DELETE FROM agents WHERE seq = ?", (seq,))

    def agents(self) -> list[str]:
        """Whoever has a table."""
        if not self._path.exists():
            return []
        with self._reading() as db:
            return [agent_id for (agent_id,) in db.execute("SELECT agent_id FROM agents")]

    # ---- looking up ---------------------------------------------------------------------------

    def search(self, agent_id: str, question: str, limit: int) -> list[Found]:
        """The passages that have most to do with a question, the best first."""
        terms = terms_of(question)
        if not terms:
            return []
        with self._reading() as db:
            seq = _seq_of(db, agent_id)
            if seq is None:
                return []
            rows = db.execute(
                f"SELECT file_id, number, start, stop, text, rank FROM passages_{seq} "  # noqa: S608
                f"WHERE passages_{seq} MATCH ? ORDER BY rank LIMIT ?",
                (" OR ".join(f'"{term}"' for term in terms), limit),
            ).fetchall()
        return [Found(row[0], Passage(row[1], row[2], row[3], row[4]), row[5]) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            with self._writing:
                self._open()
            connection = self._connect()
        try:
            yield connection
        finally:
            if self._closed or len(self._idle) >= _IDLE_MAX:
                connection.close()
            else:
                self._idle.append(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            writer = self._open()
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    writer.execute("ROLLBACK")
                raise


def terms_of(question: str) -> Sequence[str]:
    """The words of a question that are worth looking up: the last ones of a long text.

    >>> terms_of("What is the refund policy? The REFUND!")
    ['policy', 'refund']
    """
    words = [word.lower() for word in _TERM.findall(question)]
    told = [word for word in words if word not in _STOP_WORDS] or words
    return list(dict.fromkeys(reversed(told)))[:_TERMS_MAX][::-1]


def _seq_of(db: sqlite3.Connection, agent_id: str) -> int | None:
    row = db.execute("SELECT seq FROM agents WHERE agent_id = ?", (agent_id,)).fetchone()
    return None if row is None else int(row[0])
