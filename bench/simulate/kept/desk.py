"""What the families of kept objects share: a table of routes, lists in pages, events, errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, unquote

import orjson

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Errand, Streamed, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.kept.shelf import Call, Kept, Shelf
from bench.simulate.paths import number_of
from bench.simulate.replies import Request

T = TypeVar("T")
At = Mapping[str, str]
"""The parameters of a path."""
Act = Callable[[Visit, At], Told | Streamed]

PAGE: Final = 20
PAGE_MAX: Final = 100
METADATA_MAX: Final = 16
_PARAMETER: Final = re.compile(r"\\\{(\w+)\\\}")


@dataclass(frozen=True, slots=True)
class Way:
    """One method of one path: `{name}` stands for a parameter, `call` is what faults are told for.

    With `api` it leaves a record of that name in the truth log.
    """

    method: str
    path: str
    call: str
    act: Act
    api: str | None = None
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = _PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))


class KeptDesk:
    """A desk that is a table of its ways."""

    def __init__(self, shelf: Shelf, dialect: Dialect, ways: Iterable[Way]) -> None:
        self._shelf = shelf
        self._dialect = dialect
        self._ways = tuple(ways)
        self._prefixes = tuple({way.path.partition("{")[0] for way in self._ways})

    def errand(self, request: Request) -> Errand | None:
        if not request.path.startswith(self._prefixes) or not self.covers(request):
            return None
        found = False
        for way in self._ways:
            match = way.pattern.fullmatch(request.path)
            if match is None:
                continue
            found = True
            if way.method == request.method:
                call = Call(request.method, request.path, request.query, request.body)
                self._shelf.calls.append(call)
                at = {name: unquote(text) for name, text in match.groupdict().items()}
                return Errand(self._dialect, _doing(way, at), way.api)
        if found:
            raise not_allowed(request)
        return None

    def covers(self, request: Request) -> bool:
        """Whether a path that looks like one of its own is."""
        return True


def _doing(way: Way, at: At) -> Callable[[Visit], Told | Streamed]:
    def act(visit: Visit) -> Told | Streamed:
        visit.begin_call(way.call)
        return way.act(visit, at)

    return act


def not_found(what: str, object_id: str) -> ApiError:
    """The error for an id that is unknown, or another's."""
    return ApiError(f"{what} with id '{object_id}' not found.", status=404)


def page_told(objects: Sequence[Kept], visit: Visit) -> Told:
    """A page of objects that came in this order, as the query of the request asks for it."""
    values = [(kept.value["id"], kept.value) for kept in objects]
    return listed(values, visit)


def listed(
    values: Sequence[tuple[str, Any]], visit: Visit, *, limit: int = PAGE, **more: Any
) -> Told:
    """The same of ids and what is shown of each.

    Raises:
        ApiError: the query is not one of a list, or its cursor is not in it.
    """
    query = parse_qs(visit.request.query)
    wanted = number_of(query, "limit", limit)
    if not 1 <= wanted <= PAGE_MAX:
        raise ApiError(
            f"Invalid 'limit': expected a value between 1 and {PAGE_MAX}, but got {wanted}.",
            param="limit",
            code="integer_out_of_range",
        )
    order = query.get("order", ["desc"])[0]
    if order not in ("asc", "desc"):
        raise ApiError(
            f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.",
            param="order",
            code="invalid_value",
        )
    values = list(values) if order == "asc" else list(reversed(values))
    if after := query.get("after"):
        values = values[_place_of(values, "after", after[0]) + 1 :]
    if before := query.get("before"):
        values = values[: _place_of(values, "before", before[0])]
        page = values[-wanted:] if not after else values[:wanted]
    else:
        page = values[:wanted]
    return json_told(
        {
            "object": "list",
            "data": [value for _, value in page],
            "first_id": page[0][0] if page else None,
            "last_id": page[-1][0] if page else None,
            "has_more": len(values) > len(page),
            **more,
        }
    )


def _place_of(values: Sequence[tuple[str, Any]], name: str, object_id: str) -> int:
    for place, (own_id, _) in enumerate(values):
        if own_id == object_id:
            return place
    raise ApiError(f"No object found with id '{object_id}'.", status=404, param=name)


def check_metadata(name: str, value: Any) -> None:
    """Up to 16 texts by name.

    Raises:
        ApiError: in the words of the API.
    """
    if not isinstance(value, dict) or len(value) > METADATA_MAX:
        raise ApiError(
            f"Invalid '{name}': expected an object with at most {METADATA_MAX} properties.",
            param=name,
            code="invalid_type",
        )
    for key, text in value.items():
        if not isinstance(text, str):
            raise ApiError(
                f"Invalid type for '{name}.{key}': expected a string.",
                param=f"{name}.{key}",
                code="invalid_type",
            )


def sse(kind: str, value: Any) -> bytes:
    """One event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(value))
