"""Reading JSON that may be anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def dicts(value: object) -> Iterator[dict[str, Any]]:
    """The objects in a list; nothing if it is no list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))
