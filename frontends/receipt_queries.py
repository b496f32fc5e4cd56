"""Lists of receipts, as they are asked for by named texts and shown as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from engine.errors import InvalidRequestError
from engine.events import Outcome
from engine.ledger.receipt_lists import PAGE_MAX, ReceiptPage, ReceiptQuery
from engine.ledger.receipts import State

FIELDS = ("key_id", "model", "outcome", "state", "from", "to", "limit", "cursor")
"""What a list can be asked for by."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES: tuple[State, ...] = get_args(State)
_LIMIT_DEFAULT = 50


def read_receipt_query(parameters: Iterable[tuple[str, str]]) -> ReceiptQuery:
    """The parameters of a URL; what is not of a list is passed over, as keys are among them.

    Raises:
        InvalidRequestError: a value is none of its parameter; `param` names it.
    """
    return receipt_query({name: value for name, value in parameters if name in FIELDS})


def receipt_query(given: Mapping[str, str | None]) -> ReceiptQuery:
    """The values of `FIELDS`; None and what is left out choose nothing.

    Raises:
        InvalidRequestError: as `read_receipt_query`.
    """
    state = _one_of("state", given.get("state"), _STATES)
    outcome = _one_of("outcome", given.get("outcome"), tuple(str(each) for each in Outcome))
    return ReceiptQuery(
        key_id=given.get("key_id"),
        model=given.get("model"),
        outcome=outcome,
        state=next((each for each in _STATES if each == state), None),
        from_ms=_moment("from", given.get("from")),
        to_ms=_moment("to", given.get("to")),
        limit=_limit(given.get("limit")),
        cursor=given.get("cursor"),
    )


def page_json(page: ReceiptPage) -> dict[str, Any]:
    """A page as clients see it."""
    return {
        "object": "list",
        "data": list(page.receipts),
        "has_more": page.cursor is not None,
        "next_cursor": page.cursor,
    }


def _one_of(name: str, value: str | None, values: tuple[str, ...]) -> str | None:
    if value is not None and value not in values:
        raise InvalidRequestError(f"'{name}' must be one of {', '.join(values)}.", param=name)
    return value


def _moment(name: str, value: str | None) -> int | None:
    """A day or a time, in UTC where it does not say; milliseconds since 1970."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"'{name}' must be a day such as 2026-05-01, or a time such as 2026-05-01T12:00:00Z.",
            param=name,
        ) from None
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _limit(value: str | None) -> int:
    if value is None:
        return _LIMIT_DEFAULT
    if not value.isdecimal() or len(value) > 9 or not 1 <= int(value) <= PAGE_MAX:
        raise InvalidRequestError(f"'limit' must be from 1 to {PAGE_MAX}.", param="limit")
    return int(value)
