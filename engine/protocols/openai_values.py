"""Reading the plain values of a request, as all of OpenAI's protocols read and refuse them."""

from __future__ import annotations

from typing import Any

from engine.errors import InvalidRequestError


def wrong(path: str, problem: str) -> InvalidRequestError:
    """What to raise: `problem` says what the value at `path` has to be."""
    return InvalidRequestError(f"'{path}' {problem}.", param=path)


def flag(document: dict[str, Any], name: str) -> bool:
    """A boolean; left out, it is false."""
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise wrong(name, "must be true or false")


def whole(
    document: dict[str, Any], name: str, least: int | None = None, most: int | None = None
) -> int | None:
    """A whole number, within bounds where both are given."""
    value = document.get(name)
    if value is None:
        return None
    floor, ceiling = value if least is None else least, value if most is None else most
    if isinstance(value, bool) or not isinstance(value, int) or not floor <= value <= ceiling:
        bounds = "" if least is None or most is None else f" from {least} to {most}"
        raise wrong(name, f"must be a whole number{bounds}")
    return value


def number(document: dict[str, Any], name: str, least: float, most: float) -> float | None:
    """A number within bounds."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise wrong(name, f"must be a number from {least} to {most}")
    return value


def string(document: dict[str, Any], name: str) -> str | None:
    """A string; an empty one is none."""
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(name, "must be a string")
    return value or None


def stop_of(value: object) -> tuple[str, ...]:
    """Stop sequences: one, or an array of them."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise wrong("stop", "must be a string or an array of strings")
