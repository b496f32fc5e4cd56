"""Whose name the gateway's own headers carry: `x-parshall-cost`, or an operator's brand in it.

Inside, headers have our name everywhere; they are renamed on their way out, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

OWN_BRAND: Final = "parshall"
_OWN_PREFIX: Final = b"x-parshall-"


def branded(headers: Iterable[tuple[bytes, bytes]], brand: str) -> list[tuple[bytes, bytes]]:
    """The headers as clients of this brand get them.

    >>> branded([(b"x-parshall-cost", b"0.1"), (b"x-model-used", b"m")], "KairosRoute")
    [(b'x-kairosroute-cost', b'0.1'), (b'x-model-used', b'm')]
    """
    prefix = _prefix(brand)
    if prefix == _OWN_PREFIX:
        return list(headers)
    own = len(_OWN_PREFIX)
    return [
        (prefix + name[own:].lower() if name[:own].lower() == _OWN_PREFIX else name, value)
        for name, value in headers
    ]


@lru_cache(maxsize=16)
def _prefix(brand: str) -> bytes:
    return b"x-%b-" % brand.lower().encode("ascii")
