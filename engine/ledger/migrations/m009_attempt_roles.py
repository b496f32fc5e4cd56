"""What each attempt is to its request, and for which model it is made."""

from __future__ import annotations

from sqlite_utils import Database

_STATEMENTS = (
    "ALTER TABLE attempts ADD COLUMN role TEXT NOT NULL DEFAULT 'first'",
    "ALTER TABLE attempts ADD COLUMN model TEXT NOT NULL DEFAULT ''",
)
"""There was one attempt a request before, but for what no provider had acted on. A model of '' is
the one that was asked for."""


def apply(db: Database) -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        db.execute(statement)
