"""In which order the deployments of one priority are tried.

Every strategy gives what may serve now, the first to be tried first, and no more than there is
`room` for. Few deployments are looked at one by one; of many some are drawn, and all are looked at
only where the draws have met too few that may serve.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, islice
from math import ceil, inf
from typing import Any, Final

from engine.routing.health import NO_KEY, HealthBook
from engine.routing.values import Deployment, Strategy, Tier

_FEW_BY_WEIGHT: Final = 8
_FEW: Final = 32
_DRAWS: Final = 8
"""For each place in a plan."""
_RING_POINTS_MAX: Final = 64
_LOAD_SHARE: Final = 1.25
"""A sticky deployment has this much of its share of all attempts under way at most (bounded loads:
Mirrokni, Thorup and Zadimoghaddam, 2016); what is more goes on along the ring."""
_LOAD_MIN: Final = 8
"""So few at once are no load."""


class Field:
    """One tier as a plan sees it: which of its deployments may serve, by index, found out once.

    Attributes:
        keys: by index, the key that an attempt would take; `NO_KEY` of one that may not serve.
    """

    __slots__ = ("_free_key", "book", "draw", "keys", "now", "tier")

    def __init__(
        self,
        tier: Tier[Any],
        book: HealthBook,
        now: float,
        draw: Callable[[], float],
        free_key: Callable[[Deployment[Any]], int],
    ) -> None:
        self.tier = tier
        self.book = book
        self.now = now
        self.draw = draw
        self.keys: dict[int, int] = {}
        self._free_key = free_key

    def may_serve(self, index: int) -> bool:
        """Whether this one may."""
        key = self.keys.get(index)
        if key is None:
            key = self.keys[index] = self._free_key(self.tier.deployments[index])
        return key != NO_KEY

    def all_but(self, picked: Sequence[int]) -> list[int]:
        """All that may serve, but for those that are picked."""
        keys, free_key = self.keys, self._free_key
        found = []
        for index, deployment in enumerate(self.tier.deployments):
            key = keys.get(index)
            if key is None:
                key = keys[index] = free_key(deployment)
            if key != NO_KEY and index not in picked:
                found.append(index)
        return found

    def drawn(self, wanted: int, room: int) -> list[int]:
        """So many that may serve, each as likely as the others; of few all. Fewer only where there
        are not so many as there is room for."""
        count = len(self.tier.deployments)
        if count <= _FEW:
            return self.all_but(())
        found: list[int] = []
        for _ in range(_DRAWS * room):
            index = int(self.draw() * count)
            if index not in found and self.may_serve(index):
                found.append(index)
                if len(found) == wanted:
                    return found
        return found if len(found) >= room else found + self.all_but(found)


def weighted(field: Field, room: int) -> list[int]:
    """By chance, each in proportion to its weight among those that are left."""
    weights, draw = field.tier.weights, field.draw
    picked: list[int] = []
    if len(weights) > _FEW_BY_WEIGHT and weights[-1]:
        total = weights[-1]
        for _ in range(_DRAWS * room):
            index = bisect_right(weights, draw() * total)
            if index not in picked and field.may_serve(index):
                picked.append(index)
                if len(picked) == room:
                    return picked
    left = field.all_but(picked)
    deployments = field.tier.deployments
    while left and len(picked) < room:
        at = 0
        if len(left) > 1:
            sums: Sequence[int] = weights
            if len(left) < len(weights):
                sums = list(accumulate([deployments[index].weight for index in left]))
            at = bisect_right(sums, draw() * sums[-1]) if sums[-1] else int(draw() * len(left))
        picked.append(left.pop(at))
    return picked


def least_busy(field: Field, room: int) -> list[int]:
    """The fewest attempts under way for its weight first; of many the least busy of eight."""
    deployments, of = field.tier.deployments, field.book.of
    count = len(deployments)
    first = int(field.draw() * count)  # of equal ones any
    ranks = []
    for index in field.drawn(max(_DRAWS, room), room):
        deployment = deployments[index]
        busy = of(deployment).busy + 1
        load = busy / deployment.weight if deployment.weight else inf
        ranks.append((load, (index - first) % count, index))
    ranks.sort()
    return [index for _, _, index in ranks[:room]]


def by_latency(field: Field, room: int) -> list[int]:
    """The better of two, again and again: the one that would answer first, by how late its first
    tokens are and how many wait for one. The best of all would have all requests until it is the
    worst."""
    draw, left = field.draw, field.drawn(room + 1, room)
    picked: list[int] = []
    while left and len(picked) < room:
        at = int(draw() * len(left))
        if len(left) > 1:
            other = (at + 1 + int(draw() * (len(left) - 1))) % len(left)
            if _first_token_s(field, left[other]) < _first_token_s(field, left[at]):
                at = other
        picked.append(left.pop(at))
    return picked


def _first_token_s(field: Field, index: int) -> float:
    health = field.book.of(field.tier.deployments[index])
    return health.latency.cost(field.now, health.busy)


def cheapest(field: Field, room: int) -> list[int]:
    """By what their providers charge."""
    return list(islice(filter(field.may_serve, field.tier.by_cost), room))


STRATEGIES: Final[Mapping[Strategy, tuple[Callable[[Field, int], list[int]], str]]] = {
    "weighted": (weighted, "drawn by weight"),
    "least-busy": (least_busy, "least busy"),
    "latency": (by_latency, "lowest latency"),
    "cheapest": (cheapest, "cheapest"),
}
"""How each orders, and the words for it."""


def owner(field: Field, digest: bytes) -> int | None:
    """Whose a session or a prefix is; None where nobody near has room for it."""
    ring, deployments = field.tier.ring, field.tier.deployments
    if ring is None:
        return None
    all_busy: float | None = None
    for index in islice(ring.walk(digest), _RING_POINTS_MAX):
        if not field.may_serve(index):
            continue
        deployment = deployments[index]
        busy = field.book.of(deployment).busy
        if busy < _LOAD_MIN:
            return index
        if all_busy is None:
            all_busy = _busy(field)
        share = deployment.weight / field.tier.weights[-1]
        if busy < ceil(_LOAD_SHARE * (all_busy + 1) * share):
            return index
    return None


def _busy(field: Field) -> float:
    """Attempts under way in the whole tier; of many deployments as some of them suggest."""
    deployments, book = field.tier.deployments, field.book
    count = len(deployments)
    if count <= _FEW:
        return sum(book.of(deployment).busy for deployment in deployments)
    looked_at = 2 * _DRAWS
    drawn = (deployments[int(field.draw() * count)] for _ in range(looked_at))
    return sum(book.of(deployment).busy for deployment in drawn) * count / looked_at
