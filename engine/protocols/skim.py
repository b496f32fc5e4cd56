"""Reading a figure out of a whole answer without parsing the rest: megabytes of numbers."""

from __future__ import annotations

from typing import Any, Final

from engine.protocols.costs import find_object
from engine.protocols.fields import load_object

PARSED_MAX_BYTES: Final = 64 * 1024
"""An answer without the figure is parsed where it is no larger: it may be an error."""
_ENDS_BYTES: Final = 64


def skim(body: bytes, name: str, holds: str) -> dict[str, Any] | None:
    """The object called `name` in an answer that `holds` a member of that other name: an object
    that has no other member. None: the whole has to be parsed.

    Raises:
        ValueError: it is no such answer, and too large to be parsed for more.
    """
    found = find_object(body, name.encode())
    if found is None and len(body) <= PARSED_MAX_BYTES:
        return None
    first, last = body[:_ENDS_BYTES].lstrip()[:1], body[-_ENDS_BYTES:].rstrip()[-1:]
    if (first, last) != (b"{", b"}") or b'"%b"' % holds.encode() not in body:
        raise ValueError("not such an answer")
    return {} if found is None else {name: load_object(found)}
