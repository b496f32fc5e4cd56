"""Where clients put their key: three headers and a query parameter, any of them on any route.

A key in a URL must not get into a log: access logs have the path only, and what a client wrote
into the path by mistake is cut out of it here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import parse_qsl

from engine.admission.keys import KEY_PREFIX
from engine.errors import InvalidRequestError

_KEY_HEADERS = ("x-api-key", "x-goog-api-key")
KEY_FIELD = "key"
"""Of a URL: what it says is for the gateway alone."""
_QUERY_FIELDS_MAX = 1_000

# A query that has become part of the path, its `?`, `&` or `=` encoded once or often.
_QUERY_IN_PATH = re.compile(r"(?i)(\?|%(?:25)*3f|key=|key%(?:25)*3d).*", re.DOTALL)


class Fields(Protocol):
    """Header fields."""

    def getlist(self, name: str, /) -> list[str]:
        """All values of a field, in their order; its name is in lower case."""


def read_key(headers: Fields, query_string: bytes) -> str | None:
    """The key of a request; None if it has none.

    Raises:
        InvalidRequestError: two keys that differ, or a query nobody could mean.
    """
    keys = {key for key in _keys(headers, query_string) if key}
    if len(keys) > 1:
        raise InvalidRequestError(
            "The request has two API keys that differ. Send one of: 'Authorization: Bearer', "
            "'x-api-key', 'x-goog-api-key', or '?key=' in the URL."
        )
    return keys.pop() if keys else None


def _keys(headers: Fields, query_string: bytes) -> Iterator[str]:
    for value in headers.getlist("authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    for name in _KEY_HEADERS:
        for value in headers.getlist(name):
            yield value.strip()
    for field, value in read_query(query_string):
        if field == KEY_FIELD:
            yield value.strip()


def read_query(query_string: bytes) -> list[tuple[str, str]]:
    """The fields of a query, decoded, in their order. Raises InvalidRequestError: too many."""
    if not query_string:
        return []
    try:
        return parse_qsl(
            query_string.decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=_QUERY_FIELDS_MAX,
        )
    except ValueError:
        raise InvalidRequestError("The URL has too many parameters.") from None


def without_key(path: str, prefixes: tuple[str, ...] = (KEY_PREFIX,)) -> str:
    """A path as it may be logged; `prefixes` are what our keys begin with.

    >>> without_key("/v1/models?key=sk-1&x=2"), without_key("/v1/models/sk-parshall-abc")
    ('/v1/models?[redacted]', '/v1/models/sk-parshall-[redacted]')
    """
    return _own_key(prefixes).sub(r"\1[redacted]", _QUERY_IN_PATH.sub(r"\1[redacted]", path))


@functools.lru_cache(maxsize=8)
def _own_key(prefixes: tuple[str, ...]) -> re.Pattern[str]:
    """The longest of them first: one may begin with another."""
    either = "|".join(map(re.escape, sorted(prefixes, key=len, reverse=True)))
    return re.compile(f"({either})[A-Za-z0-9_-]+")
