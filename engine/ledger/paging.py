"""A page of an account's rows: from a place in their order, forwards or backwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from engine.errors import InvalidRequestError
from engine.ledger.queries import reading

Row = TypeVar("Row")


class Paged(Protocol):
    """What chooses a page: it begins behind the row `after`, or ends before the row `before`."""

    @property
    def limit(self) -> int: ...
    @property
    def order(self) -> Literal["asc", "desc"]: ...
    @property
    def after(self) -> str | None: ...
    @property
    def before(self) -> str | None: ...


def read_page(
    path: Path,
    query: Paged,
    *,
    select: str,
    place: str,
    of: Mapping[str, Any],
    noun: str,
    make: Callable[..., Row],
) -> tuple[tuple[Row, ...], bool]:
    """The rows in the order that was asked for, and whether there are more in that direction.

    Args:
        select: of the rows, with a `WHERE`; their order is that of `seq`.
        place: selects the `seq` of the row that is named `:cursor`.
        of: values of both.
        noun: what a row is, for whoever names one that is none.
        make: makes one of its columns.

    Raises:
        InvalidRequestError: a cursor is none.
    """
    backwards = query.before is not None
    rising = (query.order == "asc") is not backwards
    cursor = query.before if backwards else query.after
    said = {**of, "cursor": cursor, "rows": query.limit + 1}
    with reading(path) as db:
        if cursor is not None:
            found = db.execute(place, said).fetchone()
            if found is None:
                name = "before" if backwards else "after"
                raise InvalidRequestError(f"'{name}' names no {noun} of a page.", param=name)
            said["place"] = found[0]
            select += f" AND seq {'>' if rising else '<'} :place"
        select += f" ORDER BY seq {'ASC' if rising else 'DESC'} LIMIT :rows"
        rows = [make(*row) for row in db.execute(select, said)]
    shown = rows[: query.limit]
    return tuple(reversed(shown) if backwards else shown), len(rows) > query.limit
