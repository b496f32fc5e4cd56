"""The `date` of answers (RFC 9110 section 6.6.1), made once a second."""

from __future__ import annotations

import time
from email.utils import formatdate

_latest = (0, b"")


def http_date() -> bytes:
    """Now, as a field value."""
    global _latest  # noqa: PLW0603  (a cache of one)
    now_s = int(time.time())
    if _latest[0] != now_s:
        _latest = (now_s, formatdate(now_s, usegmt=True).encode())
    return _latest[1]
