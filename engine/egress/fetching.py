"""One fetch: what a URL leads to, as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.egress.downloading import open_download
from engine.egress.errors import EgressRefusedError
from engine.egress.policy import EgressPolicy


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL leads to; `content_type` is one of the policy's."""

    data: bytes = field(repr=False)
    content_type: str


def _any_weight(size_bytes: int) -> None:
    """Nobody else bounds it."""


async def fetch(
    url: str, policy: EgressPolicy, weigh: Callable[[int], None] = _any_weight
) -> Fetched:
    """Get what is at a URL that a user has named.

    Args:
        weigh: called with the size of each piece of the body, for a bound on several; what it
            raises ends the fetch.

    Raises:
        EgressRefusedError: the policy refuses it, where it leads, or what is there.
        EgressFailedError: nothing came, in time or at all.
    """
    parts: list[bytes] = []
    async with open_download(url, policy) as download:
        while (piece := await download.receive()) is not None:
            weigh(len(piece))
            parts.append(piece)
        if not parts:
            raise EgressRefusedError("There is nothing at the URL.")
        return Fetched(b"".join(parts), download.content_type)
