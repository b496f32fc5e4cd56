"""What a client is told of its costs: two members more in the usage of an answer.

They are spliced into the bytes of the answer's end; no other byte is touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRINGS = re.compile(_STRING, re.DOTALL)
_TOKENS = re.compile(_STRING + rb"|[{}\[\],]", re.DOTALL)
_BRACES = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_OWN_NAMES = (b'"cost"', b'"credits"')
_OPENING = re.compile(rb"\s*:\s*\{")
_BACKSLASH = 0x5C
_CANDIDATES_MAX = 8
# The ending of a stream is smaller.
_BEHIND_MAX_BYTES = 1024 * 1024
# Usage is a dozen figures; whatever is larger is none.
_USAGE_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ShownCost:
    """What a client paid. Both are JSON numbers, exact: `usd` dollars, `credits` credits."""

    usd: str
    credits: str


def add_cost(ending: bytes, cost: ShownCost, name: bytes, depth: int = 1) -> bytes:
    """The end of an answer, or all of it, with `cost` and `credits` in its last usage.

    That is the object called `name` that stands in `depth` objects and arrays; without one nothing
    changes. Members of these names that a provider wrote are replaced: they are its own figures.

    >>> add_cost(b'{"usage": {"n": 1 }}', ShownCost("0.002", "2"), b"usage")
    b'{"usage": {"n": 1,"cost":0.002,"credits":2 }}'
    """
    start = _last_object(ending, name, depth)
    if start is None:
        return ending
    own = b'"cost":%b,"credits":%b' % (cost.usd.encode(), cost.credits.encode())
    if (closing := _closing(ending, start)) is None:
        return ending
    inside = ending[start:closing]
    filled = len(inside.rstrip())
    if any(each in inside for each in _OWN_NAMES):
        said = [member for member in _members(inside) if member.strip()]
        kept = b",".join(member for member in said if not member.lstrip().startswith(_OWN_NAMES))
    else:
        kept = inside[:filled]
    comma = b"," if kept.strip() else b""
    return b"".join((ending[:start], kept.rstrip(), comma, own, ending[start + filled :]))


def _last_object(text: bytes, name: bytes, depth: int) -> int | None:
    """Where the last object called `name` at this depth begins, behind its brace."""
    # A key is followed by a colon, and inside a string its quotes would be escaped.
    key, at = b'"%b"' % name, len(text)
    for _ in range(_CANDIDATES_MAX):
        at = text.rfind(key, 0, at)
        if at < 0:
            return None
        opening = _OPENING.match(text, at + len(key))
        if opening is not None and text[at - 1] != _BACKSLASH:
            start = opening.end()
            if _depth_at(text, at, start) == depth:
                return start
    return None


def _depth_at(text: bytes, at: int, start: int) -> int:
    """How many objects and arrays a key at `at` is in, whose own object begins at `start`.

    What closes behind it tells. Where that is much, the answer is whole, and what opens before it
    tells the same.
    """
    if len(text) - start > _BEHIND_MAX_BYTES and at < len(text) - start:
        return -_closed_in(text[:at])
    return _closed_in(text[start:]) - 1


def _closed_in(text: bytes) -> int:
    """How many more objects and arrays are closed than opened, outside of strings."""
    bare = _STRINGS.sub(b"", text)
    return bare.count(b"}") + bare.count(b"]") - bare.count(b"{") - bare.count(b"[")


def _closing(text: bytes, start: int) -> int | None:
    """Where the object that begins here is closed; None if it is too large."""
    depth = 1
    for match in _BRACES.finditer(text, start, start + _USAGE_MAX_BYTES):
        token = match.group()
        if len(token) == 1:
            depth += 1 if token in b"{[" else -1
            if depth == 0:
                return match.start()
    return None


def _members(inside: bytes) -> list[bytes]:
    """The members of an object, of what stands between its braces; at least one, maybe blank."""
    cuts, depth = [-1], 0
    for match in _TOKENS.finditer(inside):
        token = match.group()
        if token == b",":
            if depth == 0:
                cuts.append(match.start())
        elif len(token) == 1:
            depth += 1 if token in b"{[" else -1
    cuts.append(len(inside))
    return [inside[before + 1 : at] for before, at in pairwise(cuts)]
