"""Members of a client's JSON, checked as they are read; a wrong one is a 400 that names its path.

Null is taken as not said, as the API does for optional members.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from engine.conversation import CacheHint
from engine.errors import InvalidRequestError


def refuse(path: str, problem: str) -> NoReturn:
    """Raises InvalidRequestError in the words of the API."""
    raise InvalidRequestError(f"{path}: {problem}.", param=path)


class Members:
    """The members of one object at `path`."""

    __slots__ = ("_document", "path")

    def __init__(self, document: object, path: str) -> None:
        if not isinstance(document, dict):
            refuse(path, "must be an object")
        self._document: dict[str, Any] = document
        self.path = path

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def get(self, name: str) -> Any:
        """A member as it is; None if it is missing or null."""
        return self._document.get(name)

    def rest(self, *known: str) -> dict[str, Any]:
        """What is said beside the members that are known."""
        return {
            name: value
            for name, value in self._document.items()
            if name not in known and value is not None
        }

    def text(self, name: str) -> str:
        """A string that has to be there."""
        value = self.optional_text(name)
        if value is None:
            refuse(self.at(name), "Field required")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, str):
            refuse(self.at(name), "must be a string")
        return value

    def flag(self, name: str) -> bool | None:
        """True, false or None."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, bool):
            refuse(self.at(name), "must be true or false")
        return value

    def whole(self, name: str, least: int) -> int | None:
        """A whole number of at least `least`, or None."""
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            refuse(self.at(name), f"must be a whole number of at least {least}")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within a range, or None."""
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            refuse(self.at(name), "must be a number")
        if not least <= value <= most:
            refuse(self.at(name), f"range: {least:g}..{most:g}")
        return float(value)

    def choice(self, name: str, values: Iterable[str]) -> str | None:
        """One of some words, or None."""
        value = self._document.get(name)
        if value is not None and value not in tuple(values):
            refuse(self.at(name), f"must be one of {', '.join(values)}")
        found: str | None = value
        return found

    def object(self, name: str) -> dict[str, Any] | None:
        """An object, or None."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, dict):
            refuse(self.at(name), "must be an object")
        return value

    def members(self, name: str) -> Members | None:
        """The members of an object, or None."""
        value = self._document.get(name)
        return None if value is None else Members(value, self.at(name))

    def items(self, name: str) -> list[Any]:
        """An array; an empty one if it is missing or null."""
        value = self._document.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            refuse(self.at(name), "must be an array")
        return value

    def objects(self, name: str) -> list[Members]:
        """The objects of an array."""
        return [
            Members(item, f"{self.at(name)}[{index}]")
            for index, item in enumerate(self.items(name))
        ]

    def strings(self, name: str) -> tuple[str, ...]:
        """The strings of an array."""
        items = self.items(name)
        for index, item in enumerate(items):
            if not isinstance(item, str):
                refuse(f"{self.at(name)}[{index}]", "must be a string")
        return tuple(items)

    def cache(self) -> CacheHint | None:
        """The member `cache_control`."""
        control = self.members("cache_control")
        if control is None:
            return None
        if control.text("type") != "ephemeral":
            refuse(control.at("type"), "must be ephemeral")
        return CacheHint(control.choice("ttl", ("5m", "1h")))
