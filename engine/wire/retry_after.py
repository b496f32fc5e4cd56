"""How long a server asks to be left alone: `Retry-After`, and what others say instead."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Final

from engine.wire.http import Headers

_MAX_S: Final = 86_400.0
"""Receipts keep it, and clients are told it in a header."""
_CHARS_MAX: Final = 64
_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def retry_after_s(headers: Headers, now_s: float) -> float | None:
    """Seconds to wait, at most a day; None where the answer does not say, or not what can be read.

    `retry-after-ms` is OpenAI's and goes before; `Retry-After` is seconds, by some with a fraction,
    or a date (RFC 9110 section 10.2.3), which is read against the answer's own `Date` or else
    against `now_s`, in seconds since 1970.

    >>> retry_after_s([(b"retry-after", b"2.5")], 0.0)
    2.5
    >>> retry_after_s([(b"retry-after", b"7"), (b"retry-after-ms", b"50")], 0.0)
    0.05
    >>> retry_after_s([(b"retry-after", b"Thu, 01 Jan 1970 00:01:00 GMT")], 20.0)
    40.0
    """
    said = {name: value.decode("latin-1").strip() for name, value in reversed(headers)}
    if (ms := _number(said.get(b"retry-after-ms", ""))) is not None:
        return min(ms / 1_000, _MAX_S)
    value = said.get(b"retry-after", "")
    if (seconds := _number(value)) is not None:
        return min(seconds, _MAX_S)
    if (at_s := _date(value)) is None:
        return None
    sent_at_s = _date(said.get(b"date", ""))
    return min(max(0.0, at_s - (now_s if sent_at_s is None else sent_at_s)), _MAX_S)


def _number(value: str) -> float | None:
    return float(value) if _NUMBER.fullmatch(value) else None


def _date(value: str) -> float | None:
    """Seconds since 1970."""
    if not value or len(value) > _CHARS_MAX:
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
