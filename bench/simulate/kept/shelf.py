"""Objects with an id, an owner and perhaps a parent, in memory and bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NamedTuple

KEPT_MAX: Final = 50_000
CALLS_MAX: Final = 20_000


class Call(NamedTuple):
    """A request that came to what is kept."""

    method: str
    path: str
    query: str
    body: bytes


@dataclass(slots=True)
class Kept:
    """One object.

    Attributes:
        value: as the API shows it.
        more: what is known of it besides; the desk of its kind says what that is.
    """

    kind: str
    object_id: str
    key: str
    parent: str | None
    value: dict[str, Any]
    more: Any = None
    created_at: int = field(default_factory=lambda: int(time.time()))

    def to_json(self) -> dict[str, Any]:
        """As `GET /_kept` shows it."""
        return {
            "kind": self.kind,
            "id": self.object_id,
            "key": self.key,
            "parent": self.parent,
            "value": self.value,
        }


class Shelf:
    """The objects of a simulator.

    Attributes:
        lax: an object is found whatever parent is named with it, as no provider should.
        calls: the last requests that came.
    """

    def __init__(self, instance: str, *, lax: bool = False) -> None:
        self.lax = lax
        self.calls: deque[Call] = deque(maxlen=CALLS_MAX)
        self._instance = instance
        self._numbers = count(1)
        self._kept: dict[tuple[str, str], Kept] = {}
        self._below: dict[tuple[str, str, str | None], dict[str, Kept]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        """In the order they came."""
        return iter(tuple(self._kept.values()))

    def new_id(self, prefix: str) -> str:
        """An id that nobody else has: the prefix and 24 hex digits."""
        return f"{prefix}{self._instance[:12]}{next(self._numbers):012x}"

    def add(
        self,
        kind: str,
        key: str,
        value: dict[str, Any],
        *,
        parent: str | None = None,
        more: Any = None,
        object_id: str = "",
    ) -> Kept:
        """Keep one more; `value` has its id, unless it is kept by another.

        The oldest is forgotten when there are too many.
        """
        kept = Kept(kind, object_id or value["id"], key, parent, value, more)
        self._kept[kind, kept.object_id] = kept
        self._below.setdefault((kind, key, parent), {})[kept.object_id] = kept
        if len(self._kept) > KEPT_MAX:
            self.drop(next(iter(self._kept.values())))
        return kept

    def find(self, kind: str, key: str, object_id: str, parent: str | None = None) -> Kept | None:
        """The object of this key, below this parent; None: unknown, another's, or elsewhere."""
        kept = self._kept.get((kind, object_id))
        if kept is None or kept.key != key or (kept.parent != parent and not self.lax):
            return None
        return kept

    def any(self, kind: str, object_id: str) -> Kept | None:
        """An object of anybody's, wherever it is."""
        return self._kept.get((kind, object_id))

    def of(self, kind: str, key: str, parent: str | None = None) -> list[Kept]:
        """All of a key below a parent, in the order they came."""
        return list(self._below.get((kind, key, parent), {}).values())

    def drop(self, kept: Kept) -> None:
        """Forget it."""
        if self._kept.pop((kept.kind, kept.object_id), None) is None:
            return
        siblings = self._below[kept.kind, kept.key, kept.parent]
        del siblings[kept.object_id]
        if not siblings:
            del self._below[kept.kind, kept.key, kept.parent]
