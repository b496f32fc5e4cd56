"""Agents in the database: jobs of the journal's thread, and what readers ask."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from engine.errors import AgentsLimitedError, InvalidRequestError, NotFoundError
from engine.ledger.agent_rows import AgentPage, AgentQuery, AgentRow
from engine.ledger.paging import read_page
from engine.ledger.queries import is_customer, reading
from engine.ledger.sqlite import Store

_COLUMNS: Final = ", ".join(spec.name for spec in fields(AgentRow))
_FIND: Final = f"""
SELECT {_COLUMNS} FROM agents
WHERE account_id = :account AND (agent_id = :named OR name = :named)
"""  # noqa: S608 - a constant
_PAGE: Final = f"SELECT {_COLUMNS} FROM agents WHERE account_id = :account"  # noqa: S608 - a constant
_PLACE: Final = "SELECT seq FROM agents WHERE account_id = :account AND agent_id = :cursor"
_CHANGE: Final = """
UPDATE agents SET name = :name, definition = :definition, version = :version,
    updated_at_ms = :updated_at_ms
WHERE account_id = :account_id AND agent_id = :agent_id AND version = :version - 1
"""


def no_such_agent(named: str) -> NotFoundError:
    """Of an id or a name that is nobody's, or another account's; to be raised."""
    return NotFoundError(f"There is no agent '{named[:100]}'.")


def add_agent(store: Store, row: AgentRow, most: int) -> None:
    """Write an agent down, where its account has fewer than `most`.

    Raises:
        AgentsLimitedError: it has as many.
        InvalidRequestError: it has one of that name.
        NotFoundError: no such account.
    """

    def insert(db: Database) -> None:
        if not is_customer(db, row.account_id):
            raise NotFoundError("There is no such account.")
        ((has,),) = db.execute(
            "SELECT count(*) FROM agents WHERE account_id = ?", (row.account_id,)
        ).fetchall()
        if has >= most:
            raise AgentsLimitedError(
                f"The account has {most} agents, which is as many as it may have; delete one."
            )
        try:
            db.table("agents").insert(asdict(row))
        except sqlite3.IntegrityError as error:
            raise _taken(row.name) from error

    store.run(insert)


def change_agent(store: Store, row: AgentRow) -> bool:
    """Put a version in the place of the one before it; False where somebody else was faster, or it
    is gone.

    Raises:
        InvalidRequestError: its account has another one of that name.
    """

    def update(db: Database) -> bool:
        try:
            return bool(db.execute(_CHANGE, asdict(row)).rowcount)
        except sqlite3.IntegrityError as error:
            raise _taken(row.name) from error

    return store.run(update)


def remove_agent(store: Store, account_id: str, agent_id: str) -> bool:
    """Remove an account's agent; whether it was there."""
    sql = "DELETE FROM agents WHERE account_id = ? AND agent_id = ?"
    return store.run(lambda db: bool(db.execute(sql, (account_id, agent_id)).rowcount))


def find_agent(path: Path, account_id: str, named: str) -> AgentRow | None:
    """An account's agent, by its id or its name."""
    with reading(path) as db:
        row = db.execute(_FIND, {"account": account_id, "named": named}).fetchone()
        return None if row is None else AgentRow(*row)


def page_of_agents(path: Path, account_id: str, query: AgentQuery) -> AgentPage:
    """A page of an account's agents.

    Raises:
        InvalidRequestError: a cursor is none.
    """
    rows, more = read_page(
        path,
        query,
        select=_PAGE,
        place=_PLACE,
        of={"account": account_id},
        noun="agent",
        make=AgentRow,
    )
    return AgentPage(rows, more)


def all_agent_ids(path: Path) -> list[str]:
    """The ids of all agents, whosever they are."""
    with reading(path) as db:
        return [agent_id for (agent_id,) in db.execute("SELECT agent_id FROM agents")]


def _taken(name: str) -> InvalidRequestError:
    return InvalidRequestError(f"The account has an agent '{name}' already.", param="name")
