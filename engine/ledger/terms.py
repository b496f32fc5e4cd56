"""What keys, plans and names may look like as they are stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from engine.ledger.receipt_lists import PAGE_MAX
from engine.ledger.records import TermsRow
from engine.ledger.transfers import TEXT_MAX

NAME_MAX_CHARS = 100
JSON_MAX_BYTES = 65_536
PATTERNS_MAX = 1_000
FIGURE_MAX = 10**12
"""More than anybody can want of a limit."""
MOMENT_MAX_MS = 253_402_300_799_999
"""The last one of the year 9999: later ones cannot be written as dates."""


def check_name(name: str) -> str:
    """The name without the space around it.

    Raises:
        ValueError: it has not 1 to 100 printable characters.
    """
    stripped = name.strip()
    if not 1 <= len(stripped) <= NAME_MAX_CHARS or not stripped.isprintable():
        raise ValueError(f"a name has 1 to {NAME_MAX_CHARS} printable characters")
    return stripped


def check_reason(reason: str) -> str:
    """The reason without the space around it; there need not be one.

    Raises:
        ValueError: it is too long, or not printable.
    """
    stripped = reason.strip()
    if len(stripped) > TEXT_MAX or not stripped.isprintable():
        raise ValueError(f"a reason has at most {TEXT_MAX} printable characters")
    return stripped


def check_page(limit: int) -> int:
    """The limit of a page. Raises ValueError: it is not 1 to 200."""
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"a page has 1 to {PAGE_MAX} rows")
    return limit


def check_json(body: Mapping[str, Any]) -> str:
    """As it is stored. Raises ValueError: it is no JSON, or too much."""
    try:
        text = orjson.dumps(dict(body))
    except TypeError as error:
        raise ValueError(f"it cannot be stored as JSON: {error}") from error
    if len(text) > JSON_MAX_BYTES:
        raise ValueError(f"it has more than {JSON_MAX_BYTES} bytes")
    return text.decode()


def check_terms(terms: TermsRow) -> TermsRow:
    """The terms, with their name stripped.

    Raises:
        ValueError: no such name; too many scopes or models, or absurd ones; a limit that is no
            positive number; a moment before 1970 or after the year 9999.
    """
    for texts in (terms.scopes, terms.models or ()):
        if len(texts) > PATTERNS_MAX or not all(map(_is_short_text, texts)):
            raise ValueError(f"more than {PATTERNS_MAX} scopes or models, or one that is no name")
    for name, figure in terms.limits.items():
        if not name.isidentifier() or not 1 <= figure <= FIGURE_MAX:
            raise ValueError(f"{name} is not limited to {figure}")
    expires_at_ms = terms.expires_at_ms
    if expires_at_ms is not None and not 0 <= expires_at_ms <= MOMENT_MAX_MS:
        raise ValueError("a key does not expire then")
    return TermsRow(
        check_name(terms.name),
        tuple(terms.scopes),
        None if terms.models is None else tuple(terms.models),
        dict(terms.limits),
        expires_at_ms,
        terms.replaced_by,
    )


def _is_short_text(text: str) -> bool:
    return 1 <= len(text) <= 256 and text.isprintable()


def in_both(first: TermsRow, second: TermsRow) -> TermsRow:
    """What both allow, and nothing else; the name is the second's."""
    return TermsRow(
        name=second.name,
        scopes=tuple(scope for scope in first.scopes if scope in second.scopes),
        models=_patterns_in_both(first.models, second.models),
        limits={
            name: min(limits[name] for limits in (first.limits, second.limits) if name in limits)
            for name in (*first.limits, *second.limits)
        },
        expires_at_ms=min(
            (at for at in (first.expires_at_ms, second.expires_at_ms) if at is not None),
            default=None,
        ),
        replaced_by=second.replaced_by,
    )


def _patterns_in_both(
    first: tuple[str, ...] | None, second: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return (
        *(pattern for pattern in first if _is_covered(pattern, second)),
        *(pattern for pattern in second if pattern not in first and _is_covered(pattern, first)),
    )


def _is_covered(pattern: str, others: Iterable[str]) -> bool:
    """Whether all that a name, or a beginning and `*`, can be is in one of the others."""
    return any(
        pattern == other or (other.endswith("*") and pattern.startswith(other[:-1]))
        for other in others
    )
