"""What a client is told of its costs: two or three members more in the usage of an answer.

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
_SAID = re.compile(rb'"(?:cost|credits|savings)"')
_OPENING = re.compile(rb"\s*:\s*\{")
_BACKSLASH = 0x5C
_CANDIDATES_MAX = 8
# The ending of a stream is smaller.
_BEHIND_MAX_BYTES = 1024 * 1024
# Usage is a dozen figures; whatever is larger is none.
_USAGE_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ShownCost:
    """What a client paid. All are JSON numbers, exact: `usd` dollars, `credits` credits; `savings`
    dollars that the model savings are told against would have cost more, negative where it would
    have cost less. None: there is no such model."""

    usd: str
    credits: str
    savings: str | None = None

    def members(self) -> dict[bytes, bytes]:
        """What is said, by its name, both as JSON."""
        said = {b'"cost"': self.usd.encode(), b'"credits"': self.credits.encode()}
        if self.savings is not None:
            said[b'"savings"'] = self.savings.encode()
        return said


def add_cost(ending: bytes, cost: ShownCost, name: bytes, depth: int = 1) -> bytes:
    """The end of an answer, or all of it, with `cost`, `credits` and, where there are, `savings` in
    its last usage.

    That is the object called `name` that stands in `depth` objects and arrays; without one nothing
    changes. Members of these names that a provider wrote are replaced: they are its own figures.

    >>> add_cost(b'{"usage": {"n": 1 }}', ShownCost("0.002", "2"), b"usage")
    b'{"usage": {"n": 1,"cost":0.002,"credits":2 }}'
    """
    start = _last_object(ending, name, depth)
    if start is None:
        return ending
    members = cost.members()
    own = b",".join([b"%b:%b" % (each, members[each]) for each in members])
    if (closing := _closing(ending, start)) is None:
        return ending
    inside = ending[start:closing]
    filled = len(inside.rstrip())
    if _SAID.search(inside) is not None:
        names = tuple(members)
        said = [member for member in _members(inside) if member.strip()]
        kept = b",".join(member for member in said if not member.lstrip().startswith(names))
    else:
        kept = inside[:filled]
    comma = b"," if kept.strip() else b""
    view = memoryview(ending)  # an answer may be tens of megabytes: it is copied once
    return b"".join((view[:start], kept.rstrip(), comma, own, view[start + filled :]))


def find_object(text: bytes, name: bytes, depth: int = 1) -> bytes | None:
    """The last object called `name` that stands in `depth` objects and arrays, as its JSON; None:
    there is none, or it is too large to be usage. Nothing else of the text is parsed.

    >>> find_object(b'{"data": [0.5, {"usage": {}}], "usage": {"n": 1}}', b"usage")
    b'{"n": 1}'
    """
    start = _last_object(text, name, depth)
    closing = None if start is None else _closing(text, start)
    return None if closing is None else b"{" + text[start:closing] + b"}"


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
        return -closed_in(text[:at])
    return closed_in(text[start:]) - 1


def closed_in(text: bytes) -> int:
    """How many more objects and arrays are closed than opened, outside of strings."""
    bare = _STRINGS.sub(b"", text)
    return bare.count(b"}") + bare.count(b"]") - bare.count(b"{") - bare.count(b"[")


def _closing(text: bytes, start: int) -> int | None:
    """Where the object that begins here is closed; None if it is too large."""
    first = text.find(b"}", start, start + _USAGE_MAX_BYTES)
    if first >= 0 and _is_flat(text[start:first]):
        return first
    depth = 1
    for match in _BRACES.finditer(text, start, start + _USAGE_MAX_BYTES):
        token = match.group()
        if len(token) == 1:
            depth += 1 if token in b"{[" else -1
            if depth == 0:
                return match.start()
    return None


def _is_flat(inside: bytes) -> bool:
    """Whether nothing is opened here, and no string is left open; most usage is of such members."""
    return not (b"{" in inside or b"[" in inside or b"\\" in inside or inside.count(b'"') & 1)


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
