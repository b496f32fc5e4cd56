"""Who ordered what: a row of the log, written in the transaction that carries the order out.

An order stands for as long as its block runs. The first job that the ledger runs meanwhile takes
the row along: either both are durable, or neither is. What is refused leaves no row: strangers
must not fill the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from sqlite_utils import Database

from engine.errors import InvalidRequestError
from engine.ledger.queries import reading
from engine.ledger.records import LogPage, LogRow

DETAIL_MAX_BYTES = 4_096
_CUT_BYTES = 1_500

_ROWS = "SELECT log_id, at_ms, actor, peer, action, subject, detail FROM admin_log"
_ABOUT: Final = """
subject IN (?1, (SELECT account_id FROM accounts WHERE name = ?1 AND kind = 'customer'))
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for.

    Attributes:
        actor: e.g. "cli:uid=1000", "admin:alice", "key:key_…", "signal:SIGHUP".
        peer: the address it came from, where it came over a network.
        action: the command's name.
        subject: what it is about; None leaves it to the job, which knows what it has made.
        detail: the parameters as given, without secrets; JSON types.
    """

    actor: str
    peer: str | None
    action: str
    subject: str | None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Standing:
    """An order that is being carried out, and whether it is in the log."""

    __slots__ = ("logged", "open", "order")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.open = True
        self.logged = False


_standing: ContextVar[Standing | None] = ContextVar("parshall_order", default=None)


@contextmanager
def ordered_by(order: Order) -> Iterator[None]:
    """What the ledger does in the block is done by this order."""
    standing = Standing(order)
    token = _standing.set(standing)
    try:
        yield
    finally:
        standing.open = False  # a task that was begun in the block may outlive it
        _standing.reset(token)


def standing_order() -> Standing | None:
    """The order whose block runs now, if one does."""
    standing = _standing.get()
    return standing if standing is not None and standing.open else None


def insert_order(db: Database, order: Order, made: str | None, at_ms: int) -> None:
    """Add the row, within a job's transaction. `made` is what the job was about."""
    db.execute(
        "INSERT INTO admin_log (at_ms, actor, peer, action, subject, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            at_ms,
            _text(order.actor),
            None if order.peer is None else _text(order.peer),
            _text(order.action),
            made if order.subject is None else _text(order.subject),
            _detail_json(order.detail),
        ),
    )


def _text(text: str) -> str:
    """As it can be stored: what came by the command line may be no Unicode text."""
    return text.encode("utf-8", "replace").decode()


def _detail_json(detail: Mapping[str, Any]) -> str:
    try:
        shown = orjson.dumps(dict(detail), default=str)
    except TypeError:  # of a string that is no Unicode text
        shown = orjson.dumps({"given": ascii(dict(detail))})
    if len(shown) > DETAIL_MAX_BYTES:
        shown = orjson.dumps({"cut": shown[:_CUT_BYTES].decode("utf-8", "ignore")})
    return shown.decode()


def read_log(
    path: Path, *, subject: str | None, actor: str | None, limit: int, cursor: str | None
) -> LogPage:
    """A page of the log, newest first. `subject` may be the name of an account, too: rows have
    its id.

    Raises:
        InvalidRequestError: the cursor is none.
        UnavailableError: the database cannot be read now.
    """
    conditions, parameters = ["true"], []
    for condition, value in (
        (_ABOUT, subject),
        ("actor = ?", actor),
        ("log_id < ?", _log_id(cursor)),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    sql = f"{_ROWS} WHERE {' AND '.join(conditions)} ORDER BY log_id DESC LIMIT ?"
    with reading(path) as db:
        found = list(db.query(sql, [*parameters, limit + 1]))
    rows = tuple(LogRow(**(row | {"detail": orjson.loads(row["detail"])})) for row in found[:limit])
    return LogPage(rows, str(rows[-1].log_id) if len(found) > limit else None)


def _log_id(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidRequestError("'cursor' is not the cursor of a page.", param="cursor")
    return int(cursor)
