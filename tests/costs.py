"""What the gateway adds to the usage of answers, and answers without it."""

from __future__ import annotations

import re
from decimal import Decimal

_SHOWN = re.compile(rb',?"cost":(\d+(?:\.\d+)?),"credits":(\d+(?:\.\d+)?)')
_COST = re.compile(rb',\s*"cost":\s*[\d.eE+-]+(?:,"credits":[\d.]+)?|(?<=\{)"cost":\s*[\d.eE+-]+,')


def shown_in(body: bytes) -> tuple[Decimal, Decimal] | None:
    """Dollars and credits as an answer says them, once; None if it says none."""
    said = _SHOWN.findall(body)
    assert len(said) <= 1, said
    return (Decimal(said[0][0].decode()), Decimal(said[0][1].decode())) if said else None


def without_cost(body: bytes) -> bytes:
    """An answer without its cost, every other byte as it was: without the gateway's own, or
    OpenRouter's, whose place that takes."""
    return _COST.sub(b"", body)
