"""A connection that reads is kept while its database is owned, and sees what is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from engine.errors import UnavailableError
from engine.ledger.queries import reading
from engine.ledger.readers import keep_reader
from engine.ledger.sqlite import connect

COUNT = "SELECT count(*) FROM kept"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.db"


@pytest.fixture
def owner(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, 1.0)) as connection:
        connection.execute("CREATE TABLE kept (number INTEGER)")
        connection.execute("INSERT INTO kept VALUES (1), (2), (3)")
        yield connection


def asked(path: Path) -> sqlite3.Connection:
    """The connection that a question was asked on."""
    with reading(path) as db:
        assert db.execute(COUNT).fetchone() is not None
        return db.conn


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_one_connection_serves_one_question_after_another(
    path: Path, owner: sqlite3.Connection
) -> None:
    with keep_reader(path):
        first = asked(path)
        assert asked(path) is first

    assert not is_open(first)
    assert asked(path) is not first


def test_nobody_shares_one(path: Path, owner: sqlite3.Connection) -> None:
    with keep_reader(path):
        with reading(path) as outer:
            second = asked(path)
            assert second is not outer.conn
        assert not is_open(outer.conn), "one is kept"
        assert asked(path) is second


def test_without_an_owner_none_is_kept(path: Path, owner: sqlite3.Connection) -> None:
    assert not is_open(asked(path))


def left_off(db: Database) -> object:
    return db.execute("SELECT * FROM kept"), db.query("SELECT * FROM kept")


def begun(db: Database) -> object:
    db.execute("BEGIN")
    return db.execute(COUNT).fetchone()


@pytest.mark.parametrize("asks", [left_off, begun])
def test_what_was_left_off_shows_the_next_nothing_old(
    path: Path, owner: sqlite3.Connection, asks: object
) -> None:
    assert callable(asks)
    with keep_reader(path):
        with reading(path) as db:
            held = asks(db)
        owner.execute("INSERT INTO kept VALUES (4)")

        with reading(path) as again:
            assert again.conn is db.conn
            assert again.execute(COUNT).fetchone() == (4,)
        assert held is not None


def test_the_log_is_taken_in_when_the_owner_leaves(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    with closing(connect(path, 1.0)) as owner:
        owner.execute("CREATE TABLE kept (number INTEGER)")
        with keep_reader(path):
            asked(path)
            assert log.exists()

    assert not log.exists()


def test_one_that_has_failed_is_not_used_again(path: Path, owner: sqlite3.Connection) -> None:
    with keep_reader(path):
        first = asked(path)
        with pytest.raises(UnavailableError, match="no such table"), reading(path) as db:
            db.execute("SELECT * FROM missing")

        assert not is_open(first)
        assert is_open(asked(path))


def test_what_is_to_be_read_from_disk_is_not_asked_of_it(
    path: Path, owner: sqlite3.Connection
) -> None:
    with keep_reader(path):
        first = asked(path)
        with reading(path, from_disk=True) as db:
            assert db.conn is not first
            assert db.execute(COUNT).fetchone() == (3,)

        assert asked(path) is first


def test_it_cannot_write(path: Path, owner: sqlite3.Connection) -> None:
    with keep_reader(path):
        asked(path)
        with pytest.raises(UnavailableError, match="readonly"), reading(path) as db:
            db.execute("INSERT INTO kept VALUES (4)")


def test_a_change_of_the_schema_is_seen(path: Path, owner: sqlite3.Connection) -> None:
    with keep_reader(path):
        asked(path)
        owner.execute("ALTER TABLE kept ADD COLUMN name TEXT DEFAULT 'a'")

        with reading(path) as db:
            assert db.execute("SELECT name FROM kept").fetchone() == ("a",)
