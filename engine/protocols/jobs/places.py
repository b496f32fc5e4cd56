"""Places in JSON, as a `JobSpec` names them: names and indexes with dots between, `*` for each of a
list (`response.samples.*.video.uri`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

PLACE_MAX_CHARS: Final = 200
_VALUES_MAX: Final = 64
_INDEX_MAX: Final = 15
_is_place = re.compile(r"(?:[\w$@:-]+|\*)(?:\.(?:[\w$@:-]+|\*))*").fullmatch


def is_place(text: str, *, several: bool = False) -> bool:
    """Whether a text is a place; of `several` values, where it has a `*`.

    >>> is_place("data.0.url"), is_place("data.*.url"), is_place("data.*.url", several=True)
    (True, False, True)
    """
    if len(text) > PLACE_MAX_CHARS or not _is_place(text):
        return False
    parts = text.split(".")
    return (several or "*" not in parts) and all(
        int(part) <= _INDEX_MAX for part in parts if part.isdecimal() and part.isascii()
    )


def values_at(document: Any, place: str) -> Iterator[Any]:
    """What stands at a place, null left out; at most 64 values.

    >>> list(values_at({"data": [{"url": "a"}, {"url": "b"}]}, "data.*.url"))
    ['a', 'b']
    """
    found = [document]
    for part in place.split("."):
        found = [value for each in found for value in _inside(each, part)][:_VALUES_MAX]
    return (value for value in found if value is not None)


def value_at(document: Any, place: str | None) -> Any:
    """The first value at a place; None: there is none."""
    return None if place is None else next(values_at(document, place), None)


def put_at(document: dict[str, Any], place: str, value: Any) -> None:
    """Write a value at a place, with the objects and lists around it that are not there yet.

    >>> body = {}
    >>> put_at(body, "instances.0.prompt", "a cat")
    >>> body
    {'instances': [{'prompt': 'a cat'}]}

    Raises:
        ValueError: something else stands in its way.
    """
    parts = place.split(".")
    inside: Any = document
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        fresh: Any = value if following is None else [] if _is_index(following) else {}
        if isinstance(inside, list) and _is_index(part):
            index = int(part)
            inside.extend({} for _ in range(len(inside), index))
            if index == len(inside):
                inside.append(fresh)
            elif following is None:
                inside[index] = fresh
            inside = inside[index]
        elif isinstance(inside, dict):
            inside[part] = fresh if following is None else inside.get(part, fresh)
            inside = inside[part]
        else:
            raise ValueError(f"'{place}' leads through what is no object")


def _inside(value: Any, part: str) -> list[Any]:
    if isinstance(value, list):
        if part == "*":
            return value
        return [value[int(part)]] if _is_index(part) and int(part) < len(value) else []
    if isinstance(value, dict) and part in value:
        return [value[part]]
    return []


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdecimal()
