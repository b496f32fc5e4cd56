"""Consistent hashing: which deployment a prompt belongs to, while others come and go.

Whoever is added or taken away moves only the prompts that are or were its own (Karger and others,
1997); a deployment has points on the ring in proportion to its weight.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 8
_POINTS_A_WEIGHT: Final = 64
"""Shares are within some 12 % of what weights say, where there are few deployments."""
_POINTS_MAX: Final = 4_096
"""Of all deployments together, but for `_POINTS_MIN` of each."""
_POINTS_MIN: Final = 2


@dataclass(frozen=True, slots=True)
class Ring:
    """Points in order of their hashes, each with whose it is: an index into a tier's deployments.

    Attributes:
        hashes: unsigned 64-bit integers, ascending.
        owners: as long as `hashes`.
    """

    hashes: array[int]
    owners: array[int]

    def walk(self, digest: bytes) -> Iterator[int]:
        """Owners from the point of a digest onwards, once around; the same one many times.

        >>> ring = build_ring((("near/small", 1), ("far/small", 1)))
        >>> set(ring.walk(digest_of("a prompt"))) == {0, 1}
        True
        """
        owners = self.owners
        at = bisect_left(self.hashes, int.from_bytes(digest[:DIGEST_BYTES], "big"))
        for index in range(at, len(owners)):
            yield owners[index]
        for index in range(at):
            yield owners[index]


def digest_of(text: str) -> bytes:
    """Where a prompt, or a session, stands on every ring: eight bytes that do not tell it."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


@lru_cache(maxsize=64)
def build_ring(rows: tuple[tuple[str, int], ...]) -> Ring:
    """A ring of deployments, by path and weight: the same for the same ones in any process. Kept,
    since models whose prices depend on the day are built anew each minute."""
    shift = 0  # not a share of the total: who comes or goes is to move nobody else's points
    while sum(weight for _, weight in rows) * _POINTS_A_WEIGHT >> shift > _POINTS_MAX:
        shift += 1
    points: list[tuple[int, int]] = []
    for owner, (path, weight) in enumerate(rows):
        if weight:
            for number in range(max(_POINTS_MIN, weight * _POINTS_A_WEIGHT >> shift)):
                at = int.from_bytes(digest_of(f"{path}#{number}"), "big")
                points.append((at, owner))
    points.sort()
    return Ring(array("Q", (at for at, _ in points)), array("I", (owner for _, owner in points)))
