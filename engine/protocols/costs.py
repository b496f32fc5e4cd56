"""What a client is told of its costs: two members more in the usage of an answer.

They are spliced into the bytes of the answer's end; no other byte is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRINGS = re.compile(_STRING, re.DOTALL)
_TOKENS = re.compile(_STRING + rb"|[{}\[\],]", re.DOTALL)
_BRACES = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_OWN_NAMES = (b'"cost"', b'"credits"')
_NAME = re.compile(rb'\s*"([^"\\]*)"')
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
    if not any(name in inside for name in _OWN_NAMES):
        filled = len(inside.rstrip())
        comma = b"," if inside[:filled].strip() else b""
        return b"".join((ending[: start + filled], comma, own, ending[start + filled :]))
    members = _members(ending, start)
    end = members[-1][1]
    last = ending[members[-1][0] : end]
    blank = last[len(last.rstrip()) :]
    said = [ending[at:after] for at, after in members]
    kept = [member for member in said if member.strip() and not _is_own(member)]
    if kept:
        kept[-1] = kept[-1].rstrip()
    return ending[:start] + b",".join([*kept, own]) + blank + ending[end:]


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


def _members(text: bytes, start: int) -> list[tuple[int, int]]:
    """Where the members of the object that begins here stand, each up to its comma or the
    brace."""
    members: list[tuple[int, int]] = []
    begun, depth = start, 1
    for token, at in _tokens(text, start):
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        if (token == b"," and depth == 1) or depth == 0:
            members.append((begun, at))
            begun = at + 1
        if depth == 0:
            return members
    return []


def _tokens(text: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """Brackets and commas outside of strings."""
    for match in _TOKENS.finditer(text, start, start + _USAGE_MAX_BYTES):
        if len(token := match.group()) == 1:
            yield token, match.start()


def _is_own(member: bytes) -> bool:
    name = _NAME.match(member)
    return name is not None and name.group(1) in (b"cost", b"credits")
