"""What paths and queries say that no protocol owns; the date of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import formatdate
from urllib.parse import unquote

from bench.simulate.errors import ApiError
from bench.simulate.gemini_dialect import gemini_model


def listed_model(path: str) -> str | None:
    """The model a path of a model list names, empty for all of them; None for another path."""
    if (found := gemini_model(path)) is not None:
        return found
    if path == "/v1/models":
        return ""
    return unquote(path[11:]) if path.startswith("/v1/models/") else None


def number_of(query: Mapping[str, Sequence[str]], name: str, default: int) -> int:
    """A whole number of a query.

    Raises:
        ApiError: it is none.
    """
    text = query.get(name, [str(default)])[0]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ApiError(f"'{name}' must be a whole number, not {text[:50]!r}.", param=name)
    return int(text)


def http_date() -> bytes:
    """Now, as a `date` header."""
    return formatdate(usegmt=True).encode()
