"""What the gateway offers of routes that are passed through and cost nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.parts import Parts
from engine.passing.answers import Ended
from engine.passing.asked import Asked
from engine.passing.files import PassedFiles
from engine.passing.forward import Forwarder, Passed, SettleFirst
from engine.passing.lists import Lister
from engine.passing.places import check_family, place_of
from engine.passing.table import ROUTES, Route
from engine.protocols.registry import knows_operation
from engine.rules import Admitted


class Passing:
    """Of one gateway."""

    def __init__(self, parts: Parts, settle_first: SettleFirst) -> None:
        self._parts = parts
        self._forwarder = Forwarder(parts, settle_first)
        self._lister = Lister(parts, self._forwarder)

    @property
    def files(self) -> PassedFiles:
        """What files are called on both sides."""
        return self._forwarder.files

    @property
    def under_way(self) -> int:
        """How many requests are forwarded now."""
        return self._forwarder.under_way

    def follow(self, listener: Ended) -> None:
        """Call this with each job that an answer says to have ended."""
        self._forwarder.follow(listener)

    def check(self, admitted: Admitted, route: Route) -> None:
        """Whether what a route leads to is there, for who was admitted. Raises as `check_family`,
        `place_of`."""
        check_family(self._parts, admitted, route.family)
        place_of(self._parts, None)

    @asynccontextmanager
    async def open(self, admitted: Admitted, asked: Asked) -> AsyncIterator[Passed]:
        """The answer to a request of who was admitted, for the block, in one of its slots: a list
        is one request, however many are asked for what is on it. Raises as `Forwarder.open`,
        `Lister.open`; ConcurrencyLimitedError: the key or the account has as many as it may."""
        opener = self._lister if asked.route.lists_account else self._forwarder
        async with (
            self._parts.limiter.slot(admitted.demand),
            opener.open(admitted, asked) as passed,
        ):
            yield passed


def served_routes() -> list[Route]:
    """Those of the table that are answered: an exchange needs a codec for its operation."""
    return [
        route
        for route in ROUTES.values()
        if route.operation is None or knows_operation("openai", route.operation)
    ]
