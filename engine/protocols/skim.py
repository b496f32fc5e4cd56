"""Reading a figure out of a whole answer without parsing the rest: megabytes of numbers."""

from __future__ import annotations

import re
from typing import Any, Final

from engine.protocols.costs import closed_in, find_object
from engine.protocols.fields import load_object

PARSED_MAX_BYTES: Final = 64 * 1024
"""An answer without the figure is parsed where it is no larger: it may be an error."""
_begins = re.compile(rb"\s*\{").match
_LISTS_MAX: Final = 16


def skim(body: bytes, name: str, holds: str) -> dict[str, Any] | None:
    """The object called `name` in an answer that `holds` a member of that other name: an object
    that has no other member. None: the whole has to be parsed.

    Raises:
        ValueError: it is no such answer, and too large to be parsed for more.
    """
    found = find_object(body, name.encode())
    if found is None and len(body) <= PARSED_MAX_BYTES:
        return None
    # Providers that take their time send white space meanwhile.
    whole = _begins(body) is not None and body.rstrip().endswith(b"}")
    if not whole or b'"%b"' % holds.encode() not in body:
        raise ValueError("not such an answer")
    return {} if found is None else {name: load_object(found)}


def around_list(body: bytes, name: str) -> tuple[int, int]:
    """Where the inside of the list called `name` begins and ends, a member of an answer that has
    but few and small ones behind it. Raises ValueError: there is none."""
    opening = re.search(rb'"%b"\s*:\s*\[' % name.encode(), body)
    if opening is None or closed_in(body[: opening.start()]) != -1:
        raise ValueError(f"no list of {name}")
    first, at, end = max(opening.end(), len(body) - PARSED_MAX_BYTES), len(body), -1
    for _ in range(_LISTS_MAX):
        at = body.rfind(b"]", first, at)
        if at < 0:
            break
        if closed_in(body[at + 1 :]) == 1:
            end = at  # or a list behind it; in it there is none but in objects
    if end < 0:
        raise ValueError(f"no list of {name}")
    return opening.end(), end


def members_beside(body: bytes, name: str) -> dict[str, Any]:
    """The members of an answer, but for that list, which is empty. Raises ValueError."""
    start, end = around_list(body, name)
    return load_object(body[:start] + body[end:])
