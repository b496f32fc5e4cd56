"""Closed schemas as functions: a shape checks a JSON value and gives it back, normalised.

What is wrong is a `Violation`; the protocol that reads the request puts it in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

Path = tuple[str | int, ...]
Shape = Callable[[Path, Any], Any]
Problem = Literal[
    "missing", "extra", "type", "value", "range", "pattern", "prefix", "short", "long"
]

DEPTH_MAX: Final = 200


class Violation(Exception):  # noqa: N818
    """A value that does not fit. `expected` says what would have, for people."""

    def __init__(self, path: Path, problem: Problem, expected: str, value: Any = None) -> None:
        super().__init__(f"{path}: {problem}, expected {expected}")
        self.path = path
        self.problem = problem
        self.expected = expected
        self.value = value


def anything(path: Path, value: Any) -> Any:
    """Taken as it is."""
    if len(path) > DEPTH_MAX:
        raise Violation(path, "value", f"at most {DEPTH_MAX} levels")
    return value


def typed(expected: str, *types: type) -> Shape:
    """A JSON type."""

    def check(path: Path, value: Any) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise Violation(path, "type", expected, value)
        return value

    return check


BOOLEAN: Final = typed("boolean", bool)
MAPPING: Final = typed("object", dict)
TEXT: Final = typed("string", str)


def text(pattern: str = "", *, low: int = 0, high: int | None = None) -> Shape:
    """A string, of a pattern (of all of it), of a length."""
    compiled = re.compile(pattern) if pattern else None

    def check(path: Path, value: Any) -> Any:
        TEXT(path, value)
        if len(value) < low:
            raise Violation(path, "short", f"at least {low} character", value)
        if high is not None and len(value) > high:
            raise Violation(path, "long", f"at most {high} characters", value)
        if compiled is not None and compiled.fullmatch(value) is None:
            raise Violation(path, "pattern", f"^{pattern}$", value)
        return value

    return check


def number(low: float | None = None, high: float | None = None, *, whole: bool = False) -> Shape:
    """A number within bounds, both included; `whole`: an integer."""
    check_type = typed("integer", int) if whole else typed("number", int, float)
    bounds = "..".join("" if bound is None else str(bound) for bound in (low, high))

    def check(path: Path, value: Any) -> Any:
        check_type(path, value)
        if (low is not None and value < low) or (high is not None and value > high):
            raise Violation(path, "range", bounds, value)
        return value

    return check


def integer(low: int | None = None, high: int | None = None) -> Shape:
    """An integer within bounds."""
    return number(low, high, whole=True)


def literal(*values: str, lowered: bool = False) -> Shape:
    """One of these strings; `lowered`: in any case, given back as it is listed."""
    listed = " or ".join(f"'{value}'" for value in values)
    known = {value.lower() if lowered else value: value for value in values}

    def check(path: Path, value: Any) -> Any:
        TEXT(path, value)
        found = known.get(value.lower() if lowered else value)
        if found is None:
            raise Violation(path, "value", listed, value)
        return found

    return check


def nullable(shape: Shape) -> Shape:
    """The shape or null."""
    return lambda path, value: None if value is None else shape(path, value)


def array(item: Shape, *, low: int = 0, high: int | None = None) -> Shape:
    """A list."""

    def check(path: Path, value: Any) -> Any:
        if not isinstance(value, list):
            raise Violation(path, "type", "array", value)
        if len(value) < low:
            raise Violation(path, "short", f"at least {low} item", value)
        if high is not None and len(value) > high:
            raise Violation(path, "long", f"at most {high} items", value)
        return [item((*path, index), one) for index, one in enumerate(value)]

    return check


def table(item: Shape) -> Shape:
    """An object with any keys, whose values have one shape."""

    def check(path: Path, value: Any) -> Any:
        MAPPING(path, value)
        return {key: item((*path, key), one) for key, one in value.items()}

    return check


def record(
    fields: Mapping[str, Shape], *required: str, spelled: Callable[[str], str] | None = None
) -> Shape:
    """An object with these keys and no others. `spelled` gives the listed name of a key.

    Null is the same as absent for a key that is not required.
    """

    def check(path: Path, value: Any) -> Any:
        MAPPING(path, value)
        if len(path) > DEPTH_MAX:
            raise Violation(path, "value", f"at most {DEPTH_MAX} levels")
        made: dict[str, Any] = {}
        for key, one in value.items():
            name = spelled(key) if spelled is not None else key
            shape = fields.get(name)
            if shape is None:
                raise Violation((*path, key), "extra", "nothing", one)
            if one is not None or name in required:
                made[name] = shape((*path, name), one)
        for name in required:
            if name not in made:
                raise Violation((*path, name), "missing", "a value")
        return made

    return check


def tagged(key: str, shapes: Mapping[str, Shape], *, default: str | None = None) -> Shape:
    """An object whose `key` says which of the shapes it has."""
    listed = ", ".join(f"'{name}'" for name in shapes)

    def check(path: Path, value: Any) -> Any:
        MAPPING(path, value)
        tag = value.get(key) or default
        if tag is None:
            raise Violation((*path, key), "missing", "a value")
        shape = shapes.get(tag) if isinstance(tag, str) else None
        if shape is None:
            raise Violation((*path, key), "value", listed, tag)
        return shape(path, value)

    return check


def either(**shapes: Shape) -> Shape:
    """By JSON type: `string`, `array`, `object`, `number` → a shape."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "array": list,
        "object": dict,
        "number": (int, float),
    }

    def check(path: Path, value: Any) -> Any:
        for name, shape in shapes.items():
            if isinstance(value, kinds[name]):
                return shape(path, value)
        raise Violation(path, "type", " or ".join(shapes), value)

    return check
