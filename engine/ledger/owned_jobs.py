"""Ids that accounts own, in the database: jobs of the journal's thread, and what readers ask."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import orjson
from sqlite_utils import Database

from engine.ledger.groups import OWNED_COLUMNS
from engine.ledger.owned_rows import OwnedPage, OwnedQuery, OwnedRow
from engine.ledger.paging import read_page
from engine.ledger.queries import reading
from engine.ledger.sqlite import Store

PRUNED_AT_ONCE: Final = 1_000

_COLUMNS: Final = ", ".join(OWNED_COLUMNS)
_FIND: Final = f"""
SELECT {_COLUMNS} FROM owned_ids WHERE object_id IN (SELECT value FROM json_each(:ids))
    AND account_id = :account AND disowned_at_ms IS NULL
"""  # noqa: S608 - a constant
_PAGE: Final = f"""
SELECT {_COLUMNS} FROM owned_ids WHERE account_id = :account AND kind = :kind
    AND disowned_at_ms IS NULL
"""  # noqa: S608 - a constant
_PLACE: Final = """
SELECT seq FROM owned_ids
WHERE object_id = :cursor AND account_id = :account AND kind = :kind
"""
_STORES: Final = f"""
SELECT seq, {_COLUMNS} FROM owned_ids WHERE kind = 'vector_store' AND disowned_at_ms IS NULL
    AND created_at_ms < :before AND (account_id, seq) > (:account, :place)
ORDER BY account_id, seq LIMIT :rows
"""  # noqa: S608 - a constant
_DISOWN: Final = """
UPDATE owned_ids SET disowned_at_ms = :now
WHERE disowned_at_ms IS NULL AND account_id = :account AND (object_id = :id OR parent_id = :id)
"""
_OLD: Final = """
SELECT seq FROM owned_ids WHERE kind IN ('response', 'item') AND created_at_ms < ?
    AND (parent_id IS NULL OR substr(parent_id, 1, 5) <> 'conv_') LIMIT ?
"""
"""Items of conversations stay as long as these do."""
_DISOWNED: Final = "SELECT seq FROM owned_ids WHERE disowned_at_ms < ? LIMIT ?"


def find_owned(path: Path, account_id: str, ids: Collection[str]) -> dict[str, OwnedRow]:
    """Those of the ids that the account has, by id. Raises UnavailableError."""
    with reading(path) as db:
        said = {"ids": orjson.dumps(list(ids)).decode(), "account": account_id}
        rows = [OwnedRow(*row) for row in db.execute(_FIND, said)]
    return {row.object_id: row for row in rows}


def page_owned(path: Path, account_id: str, query: OwnedQuery) -> OwnedPage:
    """A page of what an account has. A cursor may name what it had not long ago.

    Raises:
        InvalidRequestError: a cursor is none.
        UnavailableError: the database cannot be read now.
    """
    select = _PAGE
    if query.parent_id is not None:
        select += " AND parent_id = :parent"
    if query.provider is not None:
        select += " AND provider = :provider"
    said = {
        "account": account_id,
        "kind": query.kind,
        "parent": query.parent_id,
        "provider": query.provider,
    }
    rows, more = read_page(
        path, query, select=select, place=_PLACE, of=said, noun="thing", make=OwnedRow
    )
    return OwnedPage(rows, more)


def stores_from_before(
    path: Path, before_ms: int, after: tuple[str, int], limit: int
) -> list[tuple[int, OwnedRow]]:
    """Vector stores of all accounts that were there before a moment, by account, behind one of an
    account at a place; each with its place. Raises UnavailableError."""
    said = {"before": before_ms, "account": after[0], "place": after[1], "rows": limit}
    with reading(path) as db:
        return [(seq, OwnedRow(*row)) for seq, *row in db.execute(_STORES, said)]


def count_owned(path: Path, account_id: str) -> int:
    """How many ids of an account are kept, those that it disowned not long ago included."""
    with reading(path) as db:
        sql = "SELECT count(*) FROM owned_ids WHERE account_id = ?"
        return int(db.execute(sql, (account_id,)).fetchone()[0])


def disown(store: Store, account_id: str, object_id: str) -> None:
    """The account has this no more, nor its parts. May be done twice."""
    said = {"now": store.clock(), "account": account_id, "id": object_id}
    store.run(lambda db: db.execute(_DISOWN, said))


def prune_owned(store: Store, before_ms: int) -> int:
    """Forget a slice of the responses and items from before a moment, and of what was disowned
    before it; how many."""

    def remove(db: Database) -> int:
        most = (before_ms, PRUNED_AT_ONCE)
        old = [seq for sql in (_OLD, _DISOWNED) for (seq,) in db.execute(sql, most).fetchall()]
        if old:
            db.execute(
                "DELETE FROM owned_ids WHERE seq IN (SELECT value FROM json_each(?))",
                (orjson.dumps(old).decode(),),
            )
        return len(old)

    return store.run(remove)
