"""Which page of files is asked for, in the words of each protocol."""

from __future__ import annotations

from typing import Final, cast, get_args

from engine.errors import InvalidRequestError
from engine.file_ids import bare_file_id
from engine.ledger.file_rows import FileOrder, FileQuery
from frontends.ingress import query_value

_OPENAI_MAX: Final = 10_000
_ANTHROPIC_MAX: Final = 1_000
_ANTHROPIC_DEFAULT: Final = 20
_GEMINI_MAX: Final = 100
_GEMINI_DEFAULT: Final = 10
_NUMBER_MAX_CHARS: Final = 9


def openai_query() -> FileQuery:
    """`after`, `limit`, `order`, `purpose`; all that one page takes unless it says so.

    Raises:
        InvalidRequestError: one of them is wrong.
    """
    order = query_value("order") or "desc"
    if order not in get_args(FileOrder):
        raise InvalidRequestError("'order' is 'asc' or 'desc'.", param="order")
    purpose = query_value("purpose")
    return FileQuery(
        limit=_number("limit", _OPENAI_MAX, _OPENAI_MAX),
        order=cast(FileOrder, order),
        after=_cursor("after"),
        purposes=(purpose,) if purpose else None,
    )


def anthropic_query() -> FileQuery:
    """`after_id` or `before_id`, and `limit`. Raises as `openai_query`."""
    after, before = _cursor("after_id"), _cursor("before_id")
    if after is not None and before is not None:
        raise InvalidRequestError("One of 'after_id' and 'before_id' is said.", param="before_id")
    limit = _number("limit", _ANTHROPIC_DEFAULT, _ANTHROPIC_MAX)
    return FileQuery(limit=limit, after=after, before=before)


def gemini_query() -> FileQuery:
    """`pageSize`, which is lowered to what a page has at most, and `pageToken`. Raises as
    `openai_query`."""
    size = _number("pageSize", _GEMINI_DEFAULT, 10**_NUMBER_MAX_CHARS, "page_size")
    return FileQuery(limit=min(size, _GEMINI_MAX), after=_cursor("pageToken", "page_token"))


def _number(name: str, default: int, most: int, *more_names: str) -> int:
    text = query_value(name, *more_names)
    if not text:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= _NUMBER_MAX_CHARS:
        number = int(text)
        if 1 <= number <= most:
            return number
    raise InvalidRequestError(f"'{name}' is a number from 1 to {most:,}.", param=name)


def _cursor(*names: str) -> str | None:
    text = query_value(*names)
    if not text:
        return None
    bare = bare_file_id(text)
    if bare is None:
        raise InvalidRequestError(f"'{names[0]}' names no file.", param=names[0])
    return bare
