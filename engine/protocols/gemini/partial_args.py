"""Arguments that arrive path by path (`partialArgs`), as one JSON text that grows.

Gemini streams `{"jsonPath": "$.a.b[0]", "stringValue": "…", "willContinue": true}` in the order of
the document. The text comes out as the pieces come in, so that it can be metered and passed on.
"""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

_STEP = re.compile(
    r"\.([^.\[\]]+)|\[(\d{1,9})\]|\[\"((?:[^\"\\]|\\.)*)\"\]|\['((?:[^'\\]|\\.)*)'\]"
)
_DEPTH_MAX = 64

Step = str | int


def read_path(path: str) -> tuple[Step, ...]:
    """The steps of a JSON path, names and indexes.

    Raises:
        ValueError: it is none, or too deep.

    >>> read_path('$.cities[0].name')
    ('cities', 0, 'name')
    """
    steps: list[Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            break
        name, index, double, single = match.groups()
        steps.append(int(index) if index is not None else name or double or single or "")
        at = match.end()
    if not path.startswith("$") or at != len(path) or not 0 < len(steps) <= _DEPTH_MAX:
        raise ValueError("a piece of arguments has no JSON path")
    return tuple(steps)


class ArgumentWriter:
    """JSON text of one call's arguments, piece by piece."""

    def __init__(self) -> None:
        self._path: tuple[Step, ...] = ()
        """Of the value written last: what encloses it is open."""
        self._open_string = False

    def write(self, piece: dict[str, Any]) -> str:
        """The text that a piece adds.

        Raises:
            ValueError: it is not in the order of the document, or is no piece of arguments.
        """
        path = read_path(piece["jsonPath"] if isinstance(piece.get("jsonPath"), str) else "")
        continues = piece.get("willContinue") is True
        text = piece.get("stringValue")
        if not isinstance(text, str):
            return self._move(path) + _scalar(piece)
        inner = orjson.dumps(text).decode()[1:-1]
        opening = "" if self._open_string and path == self._path else self._move(path) + '"'
        self._open_string = continues
        return opening + inner + ("" if continues else '"')

    def _move(self, path: tuple[Step, ...]) -> str:
        """Close what does not enclose the new value, and open what does."""
        out = ['"' if self._open_string else ""]
        self._open_string = False
        old = self._path
        same = 0
        while same < min(len(old), len(path)) and old[same] == path[same]:
            same += 1
        if old and same in (len(old), len(path)):
            raise ValueError("a piece of arguments is not in the order of the document")
        out += ["]" if isinstance(step, int) else "}" for step in reversed(old[same + 1 :])]
        for depth in range(same, len(path)):
            step = path[depth]
            first = depth > same or not old
            if not first and isinstance(step, int) != isinstance(old[depth], int):
                raise ValueError("a piece of arguments is of a list and of an object")
            expected = 0 if first else _next_index(old[depth])
            if isinstance(step, int) and step != expected:
                raise ValueError("a piece of arguments leaves out an item")
            out.append(("[" if isinstance(step, int) else "{") if first else ",")
            if isinstance(step, str):
                out.append(orjson.dumps(step).decode() + ":")
        self._path = path
        return "".join(out)

    def close(self) -> str:
        """The text that ends the arguments."""
        if not self._path:
            return "{}"
        quote = '"' if self._open_string else ""
        return quote + "".join("]" if isinstance(step, int) else "}" for step in self._path[::-1])


def _next_index(step: Step) -> int:
    return step + 1 if isinstance(step, int) else 0


def _scalar(piece: dict[str, Any]) -> str:
    number, truth = piece.get("numberValue"), piece.get("boolValue")
    if isinstance(truth, bool):
        return "true" if truth else "false"
    if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
        whole = isinstance(number, float) and number.is_integer() and abs(number) < 2**53
        return orjson.dumps(int(number) if whole else number).decode()
    if "nullValue" in piece:
        return "null"
    raise ValueError("a piece of arguments has no value")
