"""Members of a JSON object that an account has written, each checked as it is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from engine.errors import InvalidRequestError

_SCHEMA_MAX_BYTES = 32 * 1024
_DEPTH_MAX = 32
_TEXT_OF_LIST_MAX_CHARS = 256


def wrong(path: str, problem: str) -> InvalidRequestError:
    """To be raised."""
    return InvalidRequestError(f"'{path}' {problem}.", param=path)


def check_known(document: Mapping[str, Any], known: Collection[str], path: str) -> None:
    """Raises InvalidRequestError: it has a member that nobody knows."""
    for name in document:
        if name not in known:
            where = f"{path}.{name[:100]}" if path else name[:100]
            raise wrong(where, "is not known here")


def mapping(value: object, path: str) -> dict[str, Any]:
    """An object that is kept as it is. Raises InvalidRequestError: none, or too large or deep."""
    if not isinstance(value, dict) or _depth(value) > _DEPTH_MAX:
        raise wrong(path, f"is an object, nested {_DEPTH_MAX} deep at most")
    if len(orjson.dumps(value)) > _SCHEMA_MAX_BYTES:
        raise wrong(path, f"has {_SCHEMA_MAX_BYTES:,} bytes at most")
    return value


def objects(value: object, path: str, most: int) -> list[dict[str, Any]]:
    """A list of objects. Raises InvalidRequestError."""
    found = [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise wrong(path, "is a list of objects")
    if len(found) > most:
        raise wrong(path, f"has {most:,} members at most")
    return found


def texts(value: object, path: str, most: int) -> list[str]:
    """A list of short texts. Raises InvalidRequestError."""
    found = [] if value is None else value
    if not isinstance(found, list) or len(found) > most:
        raise wrong(path, f"is a list of {most:,} texts at most")
    for each in found:
        if not isinstance(each, str) or not 0 < len(each) <= _TEXT_OF_LIST_MAX_CHARS:
            raise wrong(path, f"has texts of 1 to {_TEXT_OF_LIST_MAX_CHARS} characters")
    return found


class Fields:
    """The members of one object, at a path.

    Attributes:
        document: it.
    """

    def __init__(self, document: Mapping[str, Any], path: str) -> None:
        self.document = document
        self._path = path

    def path(self, name: str) -> str:
        """Of a member."""
        return f"{self._path}.{name}" if self._path else name

    def get(self, name: str) -> Any:
        """Whatever it is; None: nothing is said."""
        return self.document.get(name)

    def fields(self, name: str) -> Fields:
        """Of an object in it; without one, of an empty one. Raises InvalidRequestError."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, dict):
            raise wrong(self.path(name), "is an object")
        return Fields(value or {}, self.path(name))

    def text(self, name: str, max_chars: int) -> str | None:
        """Raises InvalidRequestError: it is none, or too long."""
        value = self.document.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= max_chars):
            raise wrong(self.path(name), f"is a text of {max_chars:,} characters at most")
        return value

    def integer(self, name: str, least: int, most: int) -> int | None:
        """Raises InvalidRequestError: it is none within these bounds."""
        value = self.document.get(name)
        if value is not None and not (type(value) is int and least <= value <= most):
            raise wrong(self.path(name), f"is an integer from {least:,} to {most:,}")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """Raises InvalidRequestError: it is none within these bounds."""
        value = self.document.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not least <= value <= most or math.isnan(value):
            raise wrong(self.path(name), f"is a number from {least:g} to {most:g}")
        return float(value)


def _depth(value: object) -> int:
    """How deep it is nested, as far as that matters; by a stack of its own."""
    deepest, left = 0, [(value, 1)]
    while left:
        each, depth = left.pop()
        deepest = max(deepest, depth)
        if deepest > _DEPTH_MAX:
            break
        if isinstance(each, dict):
            left += [(inner, depth + 1) for inner in each.values()]
        elif isinstance(each, list):
            left += [(inner, depth + 1) for inner in each]
    return deepest
